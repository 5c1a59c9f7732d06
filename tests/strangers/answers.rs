//! Answers: greedy ids and text with stop texts, and what decoding gives all at once, piece by
//! piece and behind a prompt.

use super::case::{Case, Verdict};
use super::model;
use serde::Deserialize;
use serde_json::Value;
use std::fs;
use wgpu_lora::format::{DecodeStream, ModelFiles, Special, Tokenizer};
use wgpu_lora::generate::{GenerateOptions, Generator, samples};
use wgpu_lora::model::Quant;

#[derive(Deserialize)]
struct Input {
    model: Value,
    prompt: String,
    stop: Vec<String>,
    max_new_tokens: usize,
}

#[derive(Deserialize, PartialEq, Debug)]
struct Expected {
    prompt: Vec<u32>,
    ids: Vec<u32>,
    text: String,
    finish: String,
}

#[derive(Deserialize)]
struct Decode {
    decode: Vec<Vec<u32>>,
    prompt: Vec<u32>,
    skip_special: bool,
}

#[derive(Deserialize, PartialEq, Debug)]
struct Decoded {
    texts: Vec<String>,
    behind: Vec<String>,
}

/// Judges one case.
pub fn judge(case: &Case) -> Verdict {
    let verdict = match case.input.get("decode") {
        Some(_) => decoded(case),
        None => answered(case),
    };
    verdict.unwrap_or_else(|e| case.refused(&e))
}

fn compare<T: PartialEq + std::fmt::Debug>(got: &T, expected: &T, beside: &str) -> Verdict {
    match got == expected {
        true => Verdict::Agreed,
        false => Verdict::Disagreed(format!("{got:?} instead of {expected:?}{beside}")),
    }
}

fn parsed<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).expect("a case as its generator writes it")
}

fn answered(case: &Case) -> wgpu_lora::Result<Verdict> {
    let (input, expected): (Input, Expected) = (parsed(&case.input), parsed(&case.expect));
    let folder = case.path("");
    match &input.model {
        Value::String(_) => {
            for name in ["config.json", "tokenizer.json", "model.safetensors"] {
                fs::copy(model::embedded().join(name), folder.join(name)).expect("the model");
            }
        }
        recipe => model::write_weights(&folder, recipe).expect("weights"),
    }
    let files = ModelFiles::open(&folder)?;
    let tokenizer = files.tokenizer()?;
    let model = model::load(&files, Quant::None, 256)?;
    let options = GenerateOptions {
        max_new_tokens: input.max_new_tokens,
        stop: input.stop.clone(),
        ..GenerateOptions::default()
    };
    let mut generator = Generator::new(&model, &tokenizer, &input.prompt, options.clone())?;
    let mut text = String::new();
    while let Some(token) = pollster::block_on(generator.next())? {
        text += &token.text;
    }
    let finish = generator.finish().map_or("", |f| f.name()).to_owned();
    let prompt = generator.prompt().to_vec();
    let got = Expected { prompt, ids: generator.ids().to_vec(), text, finish };
    if got == expected {
        // Two answers in one batch are the same one twice.
        let both = samples(&model, &tokenizer, &expected.prompt, &options, 2);
        for sample in pollster::block_on(both)?.0 {
            let finish = sample.finish.name().to_owned();
            let prompt = expected.prompt.clone();
            let got = Expected { prompt, ids: sample.ids, text: sample.text, finish };
            if got != expected {
                return Ok(compare(&got, &expected, ", of two answers"));
            }
        }
    }
    Ok(compare(&got, &expected, &format!(", stops {:?}", input.stop)))
}

fn decoded(case: &Case) -> wgpu_lora::Result<Verdict> {
    let (input, expected): (Decode, Decoded) = (parsed(&case.input), parsed(&case.expect));
    let tokenizer = Tokenizer::from_file(case.path(""))?;
    let pieces = |mut stream: DecodeStream, ids: &[u32]| -> wgpu_lora::Result<String> {
        let mut text = String::new();
        for &id in ids {
            text += &stream.step(&tokenizer, id)?.unwrap_or_default();
        }
        Ok(text + &stream.finish(&tokenizer)?)
    };
    let special = if input.skip_special { Special::Without } else { Special::With };
    let (mut at_once, mut texts, mut behind) = (Vec::new(), Vec::new(), Vec::new());
    for ids in &input.decode {
        at_once.push(tokenizer.decode(ids, special)?);
        texts.push(pieces(DecodeStream::new(special), ids)?);
        let after = DecodeStream::after(&tokenizer, &input.prompt, special)?;
        behind.push(pieces(after, ids)?);
    }
    if at_once != expected.texts {
        return Ok(compare(&at_once, &expected.texts, ", at once"));
    }
    Ok(compare(&Decoded { texts, behind }, &expected, ", piece by piece"))
}
