//! Bad input: a message that says what, where and what next; exit code 1; never a panic.

use std::fs;

use crate::program::{Done, Place, edit_json};
use crate::tiny;

fn logits(place: &Place) -> Done {
    place.run(&["logits", "--json", "--model", "model", "--ids", "1,2"])
}

#[test]
fn damaged_checkpoints() {
    let place = Place::new();
    let path = place.path("model/model.safetensors");
    let good = fs::read(&path).unwrap();
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    logits(&place).fails_saying(&["model.safetensors", "truncated"]);
    fs::write(&path, &good[..5]).unwrap();
    logits(&place).fails_saying(&["model.safetensors"]);
    let mut corrupt = good.clone();
    corrupt[8..48].fill(b"{"[0]);
    fs::write(&path, &corrupt).unwrap();
    logits(&place).fails_saying(&["model.safetensors", "header"]);
    let mut long = good.clone();
    long[7] = 0xff;
    fs::write(&path, &long).unwrap();
    logits(&place).fails_saying(&["model.safetensors"]);
    // Another name in the header: nobody reads that tensor, and one is missing.
    let text = String::from_utf8_lossy(&good).into_owned();
    let at = text.find("layers.1.mlp.up_proj").unwrap();
    let mut renamed = good.clone();
    renamed[at..at + 8].copy_from_slice(b"layers.9");
    fs::write(&path, &renamed).unwrap();
    logits(&place).fails_saying(&["model.lalayers.9lp.up_proj.weight", "LlamaForCausalLM"]);
    fs::remove_file(&path).unwrap();
    logits(&place).fails_saying(&["holds neither model.safetensors nor"]);
}

#[test]
fn configurations_that_do_not_fit() {
    let place = Place::new();
    let path = place.path("model/config.json");
    let good = fs::read(&path).unwrap();
    edit_json(&path, |c| c["intermediate_size"] = 200.into());
    logits(&place).fails_saying(&["mlp", "[192, 64]", "[200, 64]", "config.json"]);
    fs::write(&path, &good).unwrap();
    edit_json(&path, |c| c["architectures"] = serde_json::json!(["MambaForCausalLM"]));
    logits(&place).fails_saying(&["MambaForCausalLM", "Qwen2ForCausalLM work"]);
    fs::write(&path, b"{").unwrap();
    logits(&place).fails_saying(&["config.json"]);
    fs::remove_file(&path).unwrap();
    logits(&place).fails_saying(&["config.json"]);
}

#[test]
fn models_that_are_no_folder() {
    let place = Place::new();
    let of = |model: &str| place.run(&["logits", "--model", model, "--ids", "1"]);
    of("x.gguf").fails_saying(&["x.gguf", "no such", "model.safetensors"]);
    of("nowhere").fails_saying(&["nowhere", "no such folder or file", "tokenizer.json"]);
    of("train.jsonl").fails_saying(&["train.jsonl", "is a file"]);
    fs::remove_file(place.path("model/tokenizer.json")).unwrap();
    let generate = place.run(&["generate", "--model", "model", "--prompt", "a"]);
    generate.fails_saying(&["tokenizer.json"]);
    // Ids need no tokenizer.
    assert_eq!(logits(&place).lines()[0]["top"][0]["token"], serde_json::Value::Null);
}

#[test]
fn ids_outside_the_vocabulary() {
    let place = Place::new();
    let done = place.run(&["logits", "--model", "model", "--ids", "1,512"]);
    done.fails_saying(&["id 512", "position 1", "vocabulary of 512"]);
    let args = ["generate", "--model", "model", "--prompt", "a", "--max-new-tokens"];
    place.run(&[&args[..], &["99999999999999"]].concat()).fails_saying(&["sequence length"]);
    // In training rows: a tokenizer of another model.
    edit_json(&place.path("model/tokenizer.json"), |t| {
        t["added_tokens"][2]["id"] = 700.into();
        t["model"]["vocab"]["</s>"] = 700.into();
        t["model"]["vocab"]["$"] = 600.into();
    });
    let done = Done::of(place.train("run", "--max-steps 1").output().unwrap());
    done.fails_saying(&["train.jsonl:1", "600", "vocabulary of 512"]);
    assert!(!place.path("run/run.toml").exists(), "a run that cannot begin leaves no run");
}

#[test]
fn rows_that_cannot_be_trained_on() {
    let place = Place::new();
    let train = |more: &str| Done::of(place.train("run", more).output().unwrap());
    place.write("train.jsonl", "");
    train("").fails_saying(&["train.jsonl", "no rows"]);
    place.write("train.jsonl", "{\"text\": \"a\"}\nnonsense\n");
    train("").fails_saying(&["train.jsonl", "line 2", "JSON"]);
    place.write("train.jsonl", "{\"question\": \"a\"}\n");
    train("").fails_saying(&["line 1", "question", "prompt"]);
    place.write("train.jsonl", &crate::program::rows(0, 9));
    train("--max-length 4").fails_saying(&["none of the 9 rows", "--max-length"]);
    let done = train("--data nothing.jsonl");
    done.fails_saying(&["nothing.jsonl"]);
    assert_eq!(done.err.matches("No such file").count(), 1, "each cause once: {}", done.err);
    assert!(!done.err.contains("os error"), "{}", done.err);
    train("--rank 0").fails_saying(&["rank", "at least 1"]);
    train("--target-modules q_proj,wrong").fails_saying(&["wrong", "all-linear"]);
    train("--optim sgd").fails_saying(&["optim", "adamw"]);
    train("--preset course").fails_saying(&["course", "pricer-lite"]);
    place.write("bad.toml", "rnak = 3\n");
    train("--config bad.toml").fails_saying(&["bad.toml", "rnak", "did you mean `rank`"]);
    // Rows that are cut are counted, and the rest is trained on.
    let done = train("--max-length 16 --max-steps 1");
    assert!(done.err.contains("of 9 rows are cut to --max-length 16"), "{}", done.err);
    done.lines();
}

#[test]
fn adapters_of_another_model() {
    let place = Place::new();
    tiny::write_model(&place.path("other"), "tiny_b");
    let train = Done::of(place.train("run", "--max-steps 1").output().unwrap());
    train.lines();
    let ask = |adapter: &str, more: &[&str]| {
        let args = ["generate", "--model", "other", "--prompt", "a", "--adapter", adapter];
        place.run(&[&args[..], more].concat())
    };
    ask("run/adapter", &[]).fails_saying(&["run/adapter", "another model", "base_model_name"]);
    ask("nowhere", &[]).fails_saying(&["nowhere"]);
    ask("model", &[]).fails_saying(&["adapter_model.safetensors is missing"]);
    let args = ["generate", "--model", "model", "--prompt", "a", "--use", "x"];
    place
        .run(&[&args[..], &["--adapter", "y=run/adapter"]].concat())
        .fails_saying(&["none called `x`", "y"]);
}

#[test]
fn no_graphics_adapter() {
    let place = Place::new();
    for args in [&["info"][..], &["logits", "--model", "model", "--ids", "1"]] {
        let mut command = place.command(args);
        command.env("VK_DRIVER_FILES", "/nonexistent").env("VK_ICD_FILENAMES", "/nonexistent");
        command.env("WGPU_BACKEND", "vulkan");
        Done::of(command.output().unwrap())
            .fails_saying(&["no usable graphics adapter", "mesa-vulkan-drivers"]);
    }
    place.run(&["info", "--device", "no such gpu"]).fails_saying(&["no such gpu", "there are:"]);
}

/// A file with holes: a terabyte of weights that takes no room.
#[cfg(target_os = "linux")]
#[test]
fn a_model_larger_than_the_device_is_refused_before_allocating() {
    let place = Place::new();
    let (v, d) = (1u64 << 26, 4096u64);
    edit_json(&place.path("model/config.json"), |c| {
        c["vocab_size"] = v.into();
        c["hidden_size"] = d.into();
    });
    let header = format!(
        "{{\"model.embed_tokens.weight\":{{\"dtype\":\"F32\",\"shape\":[{v},{d}],\"data_offsets\":[0,{}]}}}}",
        v * d * 4
    );
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    let path = place.path("model/model.safetensors");
    fs::write(&path, &bytes).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(bytes.len() as u64 + v * d * 4).unwrap();
    logits(&place).fails_saying(&["the model's weights needs", "too many", "smaller model"]);
}

#[test]
fn a_loss_that_is_not_finite_names_step_and_rows() {
    let place = Place::new();
    let more = "--max-steps 30 --lr-scheduler-type constant --learning-rate 1e38 --max-grad-norm 0";
    let done = Done::of(place.train("run", more).output().unwrap());
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(done.err.contains("is not finite (rows train.jsonl:"), "{}", done.err);
    assert!(done.err.contains("step "), "{}", done.err);
}

/// A program without MPI that is started several times would do all of the work each time.
#[test]
#[cfg(not(feature = "mpi"))]
fn one_of_several_processes() {
    let place = Place::new();
    for variable in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"] {
        let mut command = place.command(&["train", "--out", "run"]);
        let done = Done::of(command.env(variable, "2").output().unwrap());
        done.fails_saying(&[variable, "2 processes", "cargo xtask mpi", "docs/cluster.md"]);
    }
    assert!(!place.path("run").exists());
}
