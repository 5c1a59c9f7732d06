//! `merge`, `export`, `adapters`, and models that are one GGUF file.

use std::fs;

use crate::program::Place;
use crate::tiny;

fn adapter(name: &str) -> String {
    tiny::golden("lora").join(name).display().to_string()
}

#[test]
fn merged_logits_are_those_of_the_adapter() {
    let place = Place::new();
    let adapter = adapter("all_r16_rslora");
    let merged = place.run(&[
        "merge",
        "--json",
        "--model",
        "model",
        "--adapter",
        &adapter,
        "--out",
        "merged",
    ]);
    let said = &merged.lines()[0];
    let number = |key: &str| said[key].as_f64().unwrap();
    assert_eq!(said["layers"], 21);
    // The weights are f32: rounding alone is between them, and quantization beside 4-bit weights.
    assert!(number("max_logit_difference_16bit") < 2e-4, "{said}");
    assert!(number("max_logit_difference_nf4") > 1e-2, "{said}");
    let logits = |model: &str, more: &[&str]| {
        let mut args =
            vec!["logits", "--json", "--quant", "none", "--ids", "5,9,300", "--model", model];
        args.extend(more);
        place.run(&args).lines()[0]["top"].clone()
    };
    let (inside, beside) = (logits("merged", &[]), logits("model", &["--adapter", &adapter]));
    for (a, b) in inside.as_array().unwrap().iter().zip(beside.as_array().unwrap()) {
        assert!((a["logit"].as_f64().unwrap() - b["logit"].as_f64().unwrap()).abs() < 2e-4);
    }
    let again = place.run(&["merge", "--model", "model", "--adapter", &adapter, "--out", "merged"]);
    again.fails_saying(&["merged", "holds a model already"]);
    let other = place.path("other");
    tiny::write_model(&other, "tiny_b");
    let other = place.run(&["merge", "--model", "other", "--adapter", &adapter, "--out", "x"]);
    other.fails_saying(&["lora_A", "values, expected [R, 224]"]);
    assert!(!place.path("x").exists(), "nothing is left behind");
}

#[test]
fn a_gguf_file_serves_everywhere() {
    let place = Place::new();
    let adapter = adapter("qv_r8");
    let done = place.run(&["export", "--gguf", "--model", "model", "--out", "m.gguf", "--json"]);
    assert_eq!(done.lines()[0]["bytes"], fs::metadata(place.path("m.gguf")).unwrap().len());
    let logits = |model: &str, more: &[&str]| {
        let mut args = vec!["logits", "--json", "--ids", "5,9,300", "--model", model];
        args.extend(more);
        place.run(&args).lines()
    };
    assert_eq!(logits("m.gguf", &[]), logits("model", &[]), "the weights are f32: bit for bit");
    assert_eq!(
        logits("m.gguf", &["--adapter", &adapter]),
        logits("model", &["--adapter", &adapter])
    );
    let generate = |model: &str| place.run(&["generate", "--model", model, "--prompt", "a"]).out;
    assert_eq!(generate("m.gguf"), generate("model"));
    let merged =
        ["export", "--gguf", "--model", "m.gguf", "--adapter", &adapter, "--out", "merged.gguf"];
    assert_eq!(place.run(&merged).code, Some(0));
    let none = ["--quant", "none"];
    let (inside, beside) = (
        logits("merged.gguf", &none),
        logits("model", &["--quant", "none", "--adapter", &adapter]),
    );
    let top = |lines: &[serde_json::Value]| lines[0]["top"][0]["logit"].as_f64().unwrap();
    assert!((top(&inside) - top(&beside)).abs() < 2e-4);
    let alone = [
        "export",
        "--gguf",
        "--model",
        "m.gguf",
        "--adapter",
        &adapter,
        "--lora-only",
        "--out",
        "l.gguf",
    ];
    assert_eq!(place.run(&alone).code, Some(0));
    let lora = place.run(&["logits", "--model", "l.gguf", "--ids", "1"]);
    lora.fails_saying(&["l.gguf"]);
    let mut train = place.train("run", "--max-steps 1 --save-steps 1");
    train.args(["--model", "m.gguf"]);
    assert!(train.output().unwrap().status.success());
    let wrong = place.run(&["export", "--gguf", "--model", "model", "--out", "m.bin"]);
    wrong.fails_saying(&["m.bin", ".gguf"]);
    assert_eq!(place.run(&["export", "--model", "model", "--out", "m.gguf"]).code, Some(2));
}

#[test]
fn adapters_are_listed_and_compared() {
    let place = Place::new();
    let folder = tiny::golden("lora").display().to_string();
    let lines = place.run(&["adapters", "--json", &folder]).lines();
    let (listed, compared): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|line| line["path"].is_string());
    assert_eq!((listed.len(), compared.len()), (3, 3));
    assert_eq!((&listed[1]["rank"], &listed[1]["parameters"]), (&8.into(), &5376.into()));
    assert!(listed.iter().all(|a| a["norm"].as_f64().unwrap() > 0.0));
    let first = adapter("qv_r8");
    let twice = place.run(&["adapters", "--json", &first, &first]).lines();
    assert!((twice[2]["cosine"].as_f64().unwrap() - 1.0).abs() < 1e-9);
    assert_eq!(twice[2]["differences"], serde_json::json!({}));
    let table = place.run(&["adapters", &first]).out;
    assert!(table.contains("q_proj,v_proj") && table.contains("LoRA"), "{table}");
    place
        .run(&["adapters", "model"])
        .fails_saying(&["model", "adapter_model.safetensors is missing"]);
}
