//! `tokenizer/<name>.json`: strings to ids and back.

use super::judge::{Case, Judge, Outcome, wrong};
use super::models;
use super::set::Set;
use serde_json::Value;
use wgpu_lora::format::{Special, Tokenizer};

pub fn cases(set: &Set) -> Outcome<Vec<Case>> {
    let mut cases = Vec::new();
    for name in set.folders("tokenizer")? {
        cases.push(Case::broken(&format!("tokenizer/{name}"), "an unknown folder"));
    }
    for file in set.files("tokenizer")? {
        let path = format!("tokenizer/{file}");
        let Some(title) = path.strip_suffix(".json").map(str::to_owned) else {
            cases.push(Case::broken(&path, "an unknown file"));
            continue;
        };
        let set = set.clone();
        cases.push(Case::new(title, move |judge| run(judge, &set.json(&path)?)));
    }
    Ok(cases)
}

fn ids(value: &Value) -> Outcome<Vec<u32>> {
    Ok(serde_json::from_value(value.clone())?)
}

fn run(with: &mut Judge, golden: &Value) -> Outcome {
    let path = golden["tokenizer"].as_str().ok_or("the file names no `tokenizer`")?;
    judge(with, &Tokenizer::from_file(models::path(path)?)?, golden)
}

/// Compares a tokenizer with the texts and ids of a file.
pub fn judge(judge: &mut Judge, tokenizer: &Tokenizer, golden: &Value) -> Outcome {
    let special = match golden["add_special_tokens"].as_bool() {
        Some(true) => Special::With,
        Some(false) | None => Special::Without,
    };
    let Some(cases) = golden["cases"].as_array().filter(|cases| !cases.is_empty()) else {
        return wrong("the file holds no `cases`");
    };
    let (mut encoded, mut decoded) = (Vec::new(), Vec::new());
    for case in cases {
        let text = case["text"].as_str().ok_or("a case without `text`")?;
        let want = ids(&case["ids"])?;
        if tokenizer.encode(text, special)? != want {
            encoded.push(text);
        }
        let whole = case["decoded"].as_str();
        if whole.is_some_and(|whole| {
            tokenizer.decode(&want, Special::With).ok().as_deref() != Some(whole)
        }) {
            decoded.push(text);
        }
    }
    judge.note(&format!("{} texts", cases.len()));
    for (what, bad) in [("texts with other ids", &encoded), ("texts decoded otherwise", &decoded)] {
        if let Some(first) = bad.first() {
            judge.note(&format!("{what}, the first: {first:?}"));
        }
        judge.compare(what, bad.len() as f64, 0.0);
    }
    if let Some(size) = golden["vocab_size"].as_u64() {
        let error = (tokenizer.vocab_size() as f64 - size as f64).abs();
        judge.compare("size of the vocabulary", error, 0.0);
    }
    let special = &golden["with_special"];
    if let Some(text) = special["text"].as_str() {
        let wrong = tokenizer.encode(text, Special::With)? != ids(&special["ids"])?;
        judge.compare("a text with special tokens", f64::from(u8::from(wrong)), 0.0);
    }
    Ok(())
}
