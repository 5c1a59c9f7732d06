//! Twelve mistakes of newcomers, each with the message that it gets: what is wrong, where, and what
//! to do.

use crate::program::{Done, Place};

/// A command line (words between spaces), and what has to be in the message.
type Mistake = (&'static str, &'static [&'static str]);

const MISTAKES: [Mistake; 12] = [
    // mlx-lm's folder of data.
    ("train -m model --data data --out x", &["data", "is a folder", "data/train.jsonl"]),
    // A letter too many.
    ("train -m model --data trian.jsonl --out x", &["trian.jsonl", "did you mean `train.jsonl`"]),
    // A model's name without its owner.
    ("train -m modle --data train.jsonl --out x", &["modle", "did you mean `model`"]),
    // mlx-lm's layers, and half precision.
    (
        "train -m model --data train.jsonl --out x --num-layers 8",
        &["num_layers", "--layers-to-transform"],
    ),
    ("train -m model --data train.jsonl --out x --bf16", &["bf16", "--precision mixed"]),
    // One setting by two names.
    (
        "train -m model --data train.jsonl --out x --lora_r 8 --rank 16",
        &["lora_r", "--rank", "one of them"],
    ),
    // Nothing to go on with.
    (
        "train -m model --data train.jsonl --out x --resume",
        &["x", "no run.toml", "leave --resume out"],
    ),
    // Steps of an evaluation without rows.
    (
        "train -m model --data train.jsonl --out x --eval-steps 5",
        &["--eval-data", "--eval-split 0.1"],
    ),
    // A preset that there is not.
    ("train -m model --data train.jsonl --out x --preset price", &["price", "pricer-lite"]),
    // The model in place of the adapter.
    ("generate -m model --adapter model -p hi", &["model", "adapter_model.safetensors is missing"]),
    // A temperature below zero.
    ("generate -m model -p hi --temperature -1", &["temperature", "-1", "0 is greedy"]),
    // A base model asked to chat.
    ("chat -m model", &["without a chat template", "instruct model"]),
];

#[test]
fn newcomers_are_told_what_to_do() {
    let place = Place::new();
    std::fs::create_dir(place.path("data")).unwrap();
    place.write("data/train.jsonl", &place.read("train.jsonl"));
    place.write("data/valid.jsonl", &place.read("eval.jsonl"));
    for (line, words) in MISTAKES {
        let args = Vec::from_iter(line.split_whitespace());
        let done =
            Done::of(place.command(&args).stdin(std::process::Stdio::null()).output().unwrap());
        assert!(!done.err.contains("os error"), "{line}: {}", done.err);
        println!("{line}\n  {}", done.err.trim_end().lines().last().unwrap_or_default());
        done.fails_saying(words);
        assert!(!place.path("x").exists(), "{line} began a run");
    }
    // Numbers that are none, and one below zero, are usage.
    for (args, word) in [
        (["generate", "-m", "model", "-p", "a", "--top-k", "-1"], "whole number from 0"),
        (["generate", "-m", "model", "-p", "a", "--seed", "-1"], "-1"),
    ] {
        let done = place.run(&args);
        assert!(done.code == Some(2) && done.err.contains(word), "{args:?}: {}", done.err);
    }
    // No other file is meant by a name that is far from all.
    let done = place.run(&["train", "-m", "model", "--data", "rows.jsonl", "--out", "x"]);
    assert!(!done.err.contains("did you mean"), "{}", done.err);
    done.fails_saying(&["rows.jsonl", "No such file"]);
}
