//! GGUF files: ids of texts, tokens that end a generation, and logits are llama.cpp's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use serde::Deserialize;
use wgpu_lora::Result;
use wgpu_lora::format::{ModelFiles, Special};
use wgpu_lora::model::Quant;

use super::case::{Case, Verdict};
use super::model;

/// Of the largest logit. Both sides have the same weights, those of block types rounded to 16 bits
/// (that their values are gguf's, bit for bit, is a golden test: `gguf/blocks`), and sum f32 in an
/// order of their own. A product of up to 256 terms is off by `√256 · 2⁻²⁴`, 1e-6 of its size;
/// attention takes the exponential of scores that reach some hundred here, which makes it 1e-4 of a
/// head's output, and a block adds a few of these.
const BOUND: f32 = 1e-3;

/// What `kinds/gguf.py` gives beside the file's head.
#[derive(Deserialize)]
struct Input {
    seed: u64,
    /// Name, element type, shape, place behind the head.
    tensors: Vec<(String, String, Vec<usize>, usize)>,
    /// Values of `rope_freqs.weight`.
    factors: Option<Vec<f32>>,
    ids: Vec<u32>,
    texts: Vec<String>,
    /// Whether the file is to be split.
    split: bool,
}

#[derive(Deserialize)]
struct Expect {
    /// Of each text with special tokens added, and without.
    ids: Vec<Vec<u32>>,
    ends: Vec<u32>,
    best: usize,
    logits: BTreeMap<usize, f32>,
    scale: f32,
}

/// Of a block type: values, bytes, where its f16 scales lie, and a small number.
fn block(kind: &str) -> Option<(usize, usize, &'static [usize], f32)> {
    let two = |power: i32| 2f32.powi(power);
    Some(match kind {
        "Q4_0" => (32, 18, &[0], two(-5)),
        "Q4_1" => (32, 20, &[0, 2], two(-5)),
        "Q5_0" => (32, 22, &[0], two(-6)),
        "Q5_1" => (32, 24, &[0, 2], two(-6)),
        "Q8_0" => (32, 34, &[0], two(-9)),
        "Q4_K" => (256, 144, &[0, 2], two(-10)),
        "Q5_K" => (256, 176, &[0, 2], two(-11)),
        "Q6_K" => (256, 210, &[208], two(-14)),
        _ => return None,
    })
}

/// The bytes of a tensor; `pieces` of `kinds/gguf.py` has the rule.
fn bytes(seed: u64, name: &str, kind: &str, shape: &[usize]) -> Vec<u8> {
    let Some((values, size, scales, small)) = block(kind) else {
        let values = model::values(seed, name, shape).into_iter();
        return match kind {
            "F16" => values.flat_map(|v| f16::from_f32(v).to_le_bytes()).collect(),
            "BF16" => values.flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect(),
            _ => values.flat_map(f32::to_le_bytes).collect(),
        };
    };
    let n = shape.iter().product::<usize>() / values * size;
    let drawn: Vec<u32> = model::drawn(n, seed, name);
    let mut raw: Vec<u8> = drawn.iter().map(|z| *z as u8).collect();
    for (at, block) in raw.chunks_exact_mut(size).enumerate() {
        for (place, from) in scales.iter().enumerate() {
            let base = small * if place == 0 { 1.0 } else { 0.5 };
            let mut scale = (0.5 + (drawn[at * size + from] >> 8 & 255) as f32 / 512.0) * base;
            if place == 1 && kind.ends_with("_1") {
                scale *= -16.0;
            }
            block[*from..from + 2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
        }
    }
    raw
}

/// Writes the file, or two parts of it, and gives the path of the first.
fn write(case: &Case, input: &Input) -> PathBuf {
    let head = fs::read(case.path("head.bin")).expect("the file's head");
    let mut file = head.clone();
    for (name, kind, shape, at) in &input.tensors {
        file.resize(head.len() + at, 0);
        match &input.factors {
            Some(factors) if name == "rope_freqs.weight" => {
                file.extend(factors.iter().flat_map(|v| v.to_le_bytes()));
            }
            _ => file.extend(bytes(input.seed, name, kind, shape)),
        }
    }
    let path = case.path("model.gguf");
    fs::write(&path, &file).expect("a folder to write to");
    match input.split {
        true => split(&path, &file),
        false => path,
    }
}

/// Splits a file as `llama-gguf-split` does: the first part has all metadata and no tensors.
fn split(path: &Path, file: &[u8]) -> PathBuf {
    let number = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("8 bytes"));
    let (tensors, fields) = (number(8), number(16));
    let part = |no: u16| path.with_file_name(format!("model-0000{}-of-00002.gguf", no + 1));
    let keys = |no: u16| {
        let mut keys = Vec::new();
        for (key, value) in [("split.no", no), ("split.count", 2)] {
            keys.extend((key.len() as u64).to_le_bytes());
            keys.extend(key.as_bytes());
            keys.extend(2u32.to_le_bytes());
            keys.extend(value.to_le_bytes());
        }
        let key = "split.tensors.count";
        keys.extend((key.len() as u64).to_le_bytes());
        keys.extend(key.as_bytes());
        keys.extend(5u32.to_le_bytes());
        keys.extend((tensors as i32).to_le_bytes());
        keys
    };
    let table = table_start(file, fields);
    let mut first = file[..table].to_vec();
    first[8..16].fill(0);
    first[16..24].copy_from_slice(&(fields + 3).to_le_bytes());
    first.extend(keys(0));
    first.resize(first.len().next_multiple_of(32), 0);
    fs::write(part(0), first).expect("a folder to write to");
    let (end, start) = table_end(file, table, tensors);
    let mut second = file[..16].to_vec();
    second.extend(3u64.to_le_bytes());
    second.extend(keys(1));
    second.extend(&file[table..end]);
    second.resize(second.len().next_multiple_of(32), 0);
    second.extend(&file[start..]);
    fs::write(part(1), second).expect("a folder to write to");
    fs::remove_file(path).expect("the whole file");
    part(0)
}

fn u64_at(file: &[u8], at: usize) -> usize {
    u64::from_le_bytes(file[at..at + 8].try_into().expect("8 bytes")) as usize
}

fn u32_at(file: &[u8], at: usize) -> usize {
    u32::from_le_bytes(file[at..at + 4].try_into().expect("4 bytes")) as usize
}

/// Where the table of tensors begins: behind that many keys.
fn table_start(file: &[u8], fields: u64) -> usize {
    let size = |kind: usize| [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8][kind];
    let mut at = 24;
    for _ in 0..fields {
        at += 8 + u64_at(file, at);
        let kind = u32_at(file, at);
        at += 4;
        match kind {
            8 => at += 8 + u64_at(file, at),
            9 => {
                let (kind, n) = (u32_at(file, at), u64_at(file, at + 4));
                at += 12;
                match kind {
                    8 => (0..n).for_each(|_| at += 8 + u64_at(file, at)),
                    kind => at += n * size(kind),
                }
            }
            kind => at += size(kind),
        }
    }
    at
}

/// Where the table ends, and where the first tensor begins.
fn table_end(file: &[u8], start: usize, tensors: u64) -> (usize, usize) {
    let mut at = start;
    for _ in 0..tensors {
        at += 8 + u64_at(file, at);
        at += 4 + 8 * u32_at(file, at) + 4 + 8;
    }
    (at, at.next_multiple_of(32))
}

/// What the program makes of the file.
fn judged(path: &Path, input: &Input, expect: &Expect) -> Result<Option<String>> {
    let files = ModelFiles::open(path)?;
    let tokenizer = files.tokenizer()?;
    for (i, text) in input.texts.iter().enumerate() {
        for (j, special) in [Special::With, Special::Without].into_iter().enumerate() {
            let (got, want) = (tokenizer.encode(text, special)?, &expect.ids[2 * i + j]);
            if got != *want {
                return Ok(Some(format!("{text:?}, special {special:?}: {got:?}, want {want:?}")));
            }
        }
    }
    let mut ends = files.config.eos_token_ids.clone();
    ends.sort_unstable();
    if ends != expect.ends {
        return Ok(Some(format!("ends with {ends:?}, want {:?}", expect.ends)));
    }
    let model = model::load(&files, Quant::None, 64)?;
    let logits = model::logits(&model, &input.ids)?;
    let last = &logits[logits.len() - files.config.vocab_size..];
    let bound = expect.scale * BOUND;
    for (id, want) in &expect.logits {
        if (last[*id] - want).abs() > bound {
            return Ok(Some(format!("logit {id}: {}, want {want} ± {bound}", last[*id])));
        }
    }
    let above = last.iter().any(|v| *v > expect.logits[&expect.best] + 2.0 * bound);
    Ok(above.then(|| "another token is the best".to_owned()))
}

/// Judges one case.
pub fn judge(case: &Case) -> Verdict {
    let input = Input::deserialize(&case.input).expect("the input of a GGUF case");
    let expect = Expect::deserialize(&case.expect).expect("what llama.cpp gives");
    match judged(&write(case, &input), &input, &expect) {
        Ok(None) => Verdict::Agreed,
        Ok(Some(how)) => Verdict::Disagreed(how),
        Err(error) => case.refused(&error),
    }
}
