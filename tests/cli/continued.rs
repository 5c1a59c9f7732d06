//! `--init-adapter`: training goes on from what PEFT or an earlier run has saved.

use crate::program::{Done, Place};
use crate::tiny;

fn adapter(place: &Place, run: &str) -> Vec<u8> {
    place.bytes(&format!("{run}/adapter/adapter_model.safetensors"))
}

#[test]
fn a_step_from_a_saved_adapter_is_the_step_from_that_adapter() {
    let place = Place::new();
    let shape = "--max-steps 1 --target-modules all-linear --use-dora --lora-alpha 8 --eval-data eval.jsonl";
    let run = |out: &str, more: &str| Done::of(place.train(out, more).output().unwrap()).lines();
    // A rate of 0 saves the adapter that every run begins with.
    run("start", &format!("{shape} --learning-rate 0"));
    let whole = run("whole", shape);
    let continued = "--max-steps 1 --eval-data eval.jsonl --init-adapter start/adapter";
    assert_ne!(adapter(&place, "start"), adapter(&place, "whole"));
    run("continued", continued);
    assert!(adapter(&place, "continued") == adapter(&place, "whole"));
    let settings = place.read("continued/run.toml");
    for part in
        ["use_dora = true", "lora_alpha = 8.0", "up_proj", "init_adapter = \"start/adapter\""]
    {
        assert!(settings.contains(part), "{settings}");
    }
    // What the first run ended with is what the second one begins with, and a resumed one keeps.
    let next = run(
        "next",
        "--max-steps 2 --save-steps 1 --eval-data eval.jsonl --init-adapter whole/adapter",
    );
    let losses = |lines: &[serde_json::Value]| -> Vec<f64> {
        lines.iter().filter_map(|line| line["eval_loss"].as_f64()).collect()
    };
    assert_eq!(losses(&whole).last(), losses(&next).first());
    let end = adapter(&place, "next");
    std::fs::remove_dir_all(place.path("next/checkpoints/step-2")).unwrap();
    std::fs::remove_dir_all(place.path("whole")).unwrap();
    run("next", "--max-steps 2 --save-steps 1 --eval-data eval.jsonl --resume");
    assert!(adapter(&place, "next") == end);
}

#[test]
fn adapters_of_peft_are_trained_on() {
    let place = Place::new();
    for name in ["qv_r8", "qv_r8_dora", "all_r16_rslora"] {
        let folder = tiny::golden("lora").join(name).display().to_string();
        let mut command = place.command(&[
            "train",
            "--json",
            "--model",
            "model",
            "--data",
            "train.jsonl",
            "--max-steps",
            "2",
            "--out",
            name,
            "--init-adapter",
            &folder,
        ]);
        let lines = Done::of(command.output().unwrap()).lines();
        assert_eq!(lines.len(), 2, "{name}");
        assert_ne!(
            adapter(&place, name),
            std::fs::read(format!("{folder}/adapter_model.safetensors")).unwrap()
        );
        let config = |path: &str| -> serde_json::Value {
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
        };
        let ours = config(
            &place.path(&format!("{name}/adapter/adapter_config.json")).display().to_string(),
        );
        let theirs = config(&format!("{folder}/adapter_config.json"));
        for key in ["r", "lora_alpha", "use_dora", "use_rslora"] {
            assert_eq!(ours[key].as_f64(), theirs[key].as_f64(), "{name}: {key}");
            assert_eq!(ours[key].as_bool(), theirs[key].as_bool(), "{name}: {key}");
        }
    }
}

#[test]
fn adapters_that_do_not_fit_are_refused() {
    let place = Place::new();
    let refused = |more: &str| {
        Done::of(place.train("run", &format!("--max-steps 1 {more}")).output().unwrap())
    };
    let folder = tiny::golden("lora").join("qv_r8").display().to_string();
    let given = format!("--init-adapter {folder}");
    // `Place::train` asks for rank 4.
    refused(&given).fails_saying(&["rank 8, the settings say 4", "init_adapter"]);
    refused(&format!("{given} --rank 8 --lora-alpha 2")).fails_saying(&["the scale"]);
    refused("--init-adapter nowhere").fails_saying(&["--init-adapter", "nowhere"]);
    refused("--init-adapter model")
        .fails_saying(&["--init-adapter", "adapter_model.safetensors is missing"]);
    assert!(!place.path("run").exists());
}
