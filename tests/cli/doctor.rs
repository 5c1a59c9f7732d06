//! `doctor` on this machine's adapter, whole and with faults planted in its stages.

use std::fs;

use serde_json::Value;

use crate::program::{Done, Place};

/// Runs it with few kernels and a tiny model; the exit code, doctor.json and what went to stderr.
fn doctor(place: &Place, more: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = place.command(&[&["--json", "doctor", "--quick", "--brief"], more].concat());
    // Enough for one product.
    let done = Done::of(command.env("WGPU_LORA_TUNE_SECONDS", "3").output().unwrap());
    let told: Value = serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("{}", done.err));
    (done.code, told, done.err)
}

fn stage<'a>(doctor: &'a Value, name: &str) -> &'a Value {
    let stages = doctor["stages"].as_array().unwrap();
    stages.iter().find(|stage| stage["name"] == name).unwrap()
}

fn message<'a>(doctor: &'a Value, name: &str) -> &'a str {
    stage(doctor, name)["message"].as_str().unwrap()
}

#[test]
fn a_good_adapter_is_told_to_be_one() {
    let place = Place::new();
    let (code, told, err) = doctor(&place, &["--out", "found"]);
    assert_eq!(code, Some(0), "{err}");
    let written: Value = serde_json::from_str(&place.read("found/doctor.json")).unwrap();
    assert_eq!(written, told);
    for name in ["adapter", "kernels", "training", "variants", "speed"] {
        let stage = stage(&told, name);
        assert_eq!(stage["ok"], true, "{stage}");
        assert!(stage["seconds"].as_f64().unwrap() > 0.0, "{stage}");
        assert!(err.contains(&format!("{name}: right")), "{err}");
    }
    for name in ["version", "adapter", "driver", "system", "verdict"] {
        assert!(told[name].is_string(), "{name}: {}", told[name]);
    }
    assert!(told["verdict"].as_str().unwrap().contains("everything that was tried is right"));
    for name in ["seconds", "planned_bytes", "measured_bytes"] {
        assert!(told[name].as_f64().unwrap() > 0.0, "{name}: {}", told[name]);
    }
    for name in ["copy_gbps", "fma_gflops"] {
        assert!(told["ceilings"][name].as_f64().unwrap() > 0.0, "{}", told["ceilings"]);
    }
    for name in ["fma_f16_gflops", "matrix_gflops"] {
        assert!(told["ceilings"].get(name).is_some(), "{}", told["ceilings"]);
    }
    assert!(told["choices"].is_object() && told.get("longest_submission_ms").is_some());
    for (name, called) in [("step", "train_step"), ("prefill", "prefill"), ("decode", "decode")] {
        assert_eq!(told[name]["name"], called);
        for field in ["ms", "tokens_per_second"] {
            assert!(told[name][field].as_f64().unwrap() > 0.0, "{}", told[name]);
        }
    }
    let kernels = told["kernels"].as_array().unwrap();
    let checked =
        |row: &&Value| row["ok"] == true && row["error"].as_f64() <= row["bound"].as_f64();
    let timed =
        |row: &&Value| row["percent_of_ceiling"].as_f64() > Some(0.0) && row["gflops"].is_number();
    assert!(kernels.iter().any(|row| checked(&row) && timed(&row)), "{kernels:?}");
    let is_fwd = |row: &Value| {
        let shape = row["shape"].as_str().unwrap_or_default();
        row["name"] == "linear_fwd" && shape.ends_with("x128x64") && row["variant"].is_string()
    };
    assert!(kernels.iter().any(is_fwd), "{kernels:?}");

    // What is pasted says who made the adapter, not whose machine it is.
    let page = place.read("found/doctor.md");
    assert!(page.contains(told["verdict"].as_str().unwrap()), "{page}");
    let folder = place.path("").display().to_string();
    let user = std::env::var("HOME").unwrap_or(folder.clone());
    for text in [page, place.read("found/doctor.json")] {
        assert!(!text.contains(&folder) && (user == "/" || !text.contains(&user)), "{text}");
    }
}

#[test]
fn what_goes_wrong_in_a_stage_is_named_and_spoils_no_other() {
    let place = Place::new();
    let plant = ["kernels=wrong", "training=lost", "variants=hang", "speed=crash"];
    let flags: Vec<&str> = plant.iter().flat_map(|fault| ["--plant", fault]).collect();
    let (code, told, err) = doctor(&place, &flags);
    assert_eq!(code, Some(1), "{err}");
    assert_eq!(stage(&told, "adapter")["ok"], true);
    for (name, words) in [
        ("kernels", "attention_fwd[baseline] differs from its CPU twin"),
        ("training", "the device was given up"),
        ("variants", "hung: ended after 2 s"),
        ("speed", "crashed"),
    ] {
        assert_eq!(stage(&told, name)["ok"], false, "{told}");
        assert!(message(&told, name).contains(words), "{told}");
        assert!(err.contains(words), "{err}");
    }
    let wrong = |row: &&Value| row["ok"] == false;
    let kernels = told["kernels"].as_array().unwrap();
    assert_eq!(kernels.iter().filter(wrong).count(), 1, "{kernels:?}");
    assert!(kernels.len() > 1, "the others were checked, too");
    assert!(err.contains("error: 4 things are wrong on "), "{err}");
    assert!(fs::exists(place.path("doctor/doctor.md")).unwrap());
}

#[test]
fn random_weights_of_a_shape_are_measured_without_a_model() {
    let place = Place::new();
    let shape = ["--json", "--no-tune", "--model-shape", "tiny"];
    for (what, more) in
        [("step", ["--steps", "1"]), ("prefill", ["--tokens", "8"]), ("decode", ["--tokens", "2"])]
    {
        let row = &place.run(&[&["bench", what], &shape[..], &more[..]].concat()).lines()[0];
        assert!(row["tokens_per_second"].as_f64().unwrap() > 0.0, "{row}");
    }
    let both = place.run(&["bench", "step", "--model", "model", "--model-shape", "tiny"]);
    assert_eq!(both.code, Some(2));
    assert!(
        both.err.contains("--model-shape") && both.err.contains("cannot be used"),
        "{}",
        both.err
    );
    let neither = place.run(&["bench", "decode"]);
    assert_eq!(neither.code, Some(2));
    assert!(neither.err.contains("--model"), "{}", neither.err);
}
