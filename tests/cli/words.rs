//! Help, usage errors, streams and exit codes.

use std::process::Stdio;

use crate::program::Place;

#[test]
fn help_names_every_flag_of_the_contract() {
    let place = Place::new();
    let top = place.run(&["--help"]);
    assert_eq!(top.code, Some(0));
    for command in ["info", "train", "generate", "chat", "logits", "bench", "man"] {
        assert!(top.out.contains(&format!("\n  {command}")), "{command} is not in: {}", top.out);
    }
    assert!(!top.out.contains("shaders"), "hidden commands stay hidden");
    let flags = "--model --data --out --eval-data --preset --config --resume --quant --rank \
         --lora-alpha --lora-dropout --target-modules --use-rslora --use-dora --num-train-epochs \
         --max-steps --eval-split --sample-prompts --set --batch-size --gradient-accumulation-steps --max-length --group-by-length \
         --learning-rate --lr-scheduler-type --warmup-ratio --warmup-steps --weight-decay \
         --max-grad-norm --optim --seed --logging-steps --eval-steps --save-steps \
         --save-total-limit --early-stopping-patience --gradient-checkpointing --precision --loss \
         --json --device --verify --profile";
    let train = place.run(&["train", "--help"]);
    for flag in flags.split_whitespace() {
        assert!(train.out.contains(flag), "{flag}");
    }
    let generate = place.run(&["generate", "--help"]).out;
    for flag in
        "--adapter --use --prompt --max-new-tokens --temperature --top-k --top-p --seed --stop"
            .split_whitespace()
    {
        assert!(generate.contains(flag), "{flag}");
    }
    let logits = place.run(&["logits", "--help"]).out;
    for flag in ["--quant", "--ids", "--prompt", "--top", "--out"] {
        assert!(logits.contains(flag), "{flag}");
    }
}

#[test]
fn usage_errors_are_exit_code_2() {
    let place = Place::new();
    for args in [
        &["frobnicate"][..],
        &["train", "--out", "x", "--learning-rat", "1"],
        &["train", "--out", "x", "--rank", "many"],
        &["logits", "--model", "model"],
        &["logits", "--model", "model", "--prompt", "a", "--ids", "1"],
        &["generate", "--model", "model"],
    ] {
        let done = place.run(args);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{args:?}: {}", done.err);
        assert!(done.err.contains("error:"), "{args:?}: {}", done.err);
    }
}

#[test]
fn info_lists_adapters_and_the_variant_of_every_kernel() {
    let place = Place::new();
    let lines = place.run(&["info", "--json"]).lines();
    assert_eq!(lines.len(), 1);
    assert!(!lines[0]["adapters"].as_array().unwrap().is_empty());
    assert!(lines[0]["adapters"][0]["max_binding_bytes"].as_u64().unwrap() >= 128 << 20);
    let variants = lines[0]["variants"].as_object().unwrap();
    for kernel in wgpu_lora::kernels::ALL {
        assert!(variants.keys().any(|key| key.split(' ').next() == Some(kernel.name)));
    }
    let text = place.run(&["info", "-v"]);
    assert!(text.out.contains("adapters, best first") && text.out.contains("linear_fwd"));
    // Without asking for more it fits a screen, and says what a software adapter means.
    let short = place.run(&["info"]).out;
    assert!(short.lines().count() <= 24 && !short.contains("linear_fwd"), "{short}");
    assert_eq!(short.contains("software driver: slow"), lines[0]["software"] == true, "{short}");
    // The baseline can be forced.
    let mut baseline = place.command(&["info", "--json"]);
    let output = baseline.env("WGPU_LORA_VARIANT", "baseline").output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("\"policy\":\"baseline\""));
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let place = Place::new();
    for args in [&["info"][..], &["--help"]] {
        let mut command = place.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{err}");
        assert!(!err.contains("panicked") && !err.contains("roken pipe"), "{err}");
    }
}

#[test]
fn every_shader_variant_is_written_for_both_compilers() {
    let place = Place::new();
    // No driver is needed for it.
    let mut command = place.command(&["shaders", "--out", "s"]);
    assert!(command.env("VK_DRIVER_FILES", "/nonexistent").output().unwrap().status.success());
    let manifest: Vec<serde_json::Value> =
        serde_json::from_str(&place.read("s/manifest.json")).unwrap();
    for kernel in wgpu_lora::kernels::ALL {
        for target in ["native", "browser"] {
            let mut rows =
                manifest.iter().filter(|r| r["kernel"] == kernel.name && r["target"] == target);
            let row = rows.next().expect(kernel.name);
            let text = place.read(&format!("s/{}", row["file"].as_str().unwrap()));
            assert!(text.contains(&format!("fn {}(", kernel.name)));
        }
    }
    let of = |file: &str| manifest.iter().find(|r| r["file"] == file).expect(file);
    let nf4 = of("native/linear_fwd-baseline+weight_nf4.wgsl");
    assert_eq!(nf4["capabilities"], serde_json::json!([]));
    let subgroup = of("browser/reduce_sum-baseline+reduce_subgroup.wgsl");
    assert_eq!(subgroup["capabilities"], serde_json::json!(["subgroups"]));
    let text = place.read("s/browser/reduce_sum-baseline+reduce_subgroup.wgsl");
    assert!(text.starts_with("enable subgroups;"));
    // A table look-up has no scales to read.
    assert!(
        !manifest
            .iter()
            .any(|r| r["file"].as_str().unwrap().contains("embed_fwd-baseline+weight_nf4"))
    );
}
