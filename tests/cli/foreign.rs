//! Products that are foreign to what an adapter was trained on, from `train` to `predict`, on the
//! model and the diamonds of the repository.

use std::path::Path;

use serde_json::{Value, json};

use crate::program::{Done, Place};

fn run(place: &Place, words: &str, more: &[&str]) -> Done {
    place.run(&[&words.split_whitespace().collect::<Vec<_>>()[..], more].concat())
}

#[test]
fn a_paperclip_is_foreign_to_an_adapter_of_diamonds_and_a_diamond_is_not() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let (model, diamonds) = (assets.join("model"), assets.join("diamonds/diamonds.csv"));
    let (model, diamonds) = (model.to_str().unwrap(), diamonds.to_str().unwrap());
    let place = Place::new();
    let prepare = ["--model", model, "--split", "0.9,0.02,0.08", "--out", "data", diamonds];
    run(&place, "prepare --json", &prepare).lines();
    let train = "train --json --data data/train.jsonl --out run --rank 2 --batch-size 1 \
                 --gradient-accumulation-steps 1 --max-steps 1 --max-length 64";
    let done = run(&place, train, &["--model", model]);
    assert!(done.err.contains("training_texts.json goes with the adapter"), "{}", done.err);
    done.lines();
    // As the page's model of the same stones, which JavaScript has made.
    let kept: Value = serde_json::from_str(&place.read("run/adapter/training_texts.json")).unwrap();
    let page = assets.join("adapter-diamonds/training_texts.json");
    let page: Value = serde_json::from_slice(&std::fs::read(page).unwrap()).unwrap();
    for key in ["texts", "low", "high", "limit", "single", "next"] {
        let same = match (kept[key].as_f64(), page[key].as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => kept[key] == page[key],
        };
        assert!(same, "{key}: {} and {}", kept[key], page[key]);
    }

    let predict = |adapter: &str, text: &str| {
        let done = run(&place, "predict --json", &["--model", model, "--adapter", adapter, text]);
        let warned = done.err.contains("do not trust this price");
        let words = done.err.clone();
        (done.lines().remove(0)["foreign"].clone(), warned, words)
    };
    let (foreign, warned, words) = predict("run", "Title: A paperclip of steel");
    assert_eq!((foreign, warned), (json!(true), true));
    assert!(words.contains("“paperclip”, “of”, “steel”"), "{words}");
    let held_out = place.read("data/test.jsonl");
    let stone: Value = serde_json::from_str(held_out.lines().next().unwrap()).unwrap();
    let (foreign, warned, _) = predict("run/adapter", stone["prompt"].as_str().unwrap());
    assert_eq!((foreign, warned), (json!(false), false));
    let merge = run(&place, "merge --adapter run/adapter --out merged", &["--model", model]);
    assert!(merge.err.contains("training_texts.json copied"), "{}", merge.err);
    let merged = place.bytes("merged/training_texts.json");
    assert_eq!(merged, place.bytes("run/adapter/training_texts.json"));
    // Rows that are no products teach no words.
    let done = Done::of(place.train("other", "--max-steps 1").output().unwrap());
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(!place.path("other/adapter/training_texts.json").exists());
    // What nobody has kept is not known.
    std::fs::remove_file(place.path("run/adapter/training_texts.json")).unwrap();
    let (foreign, warned, _) = predict("run/adapter", "Title: A paperclip of steel");
    assert_eq!((foreign, warned), (Value::Null, false));
}
