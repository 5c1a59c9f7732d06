//! Configurations: logits of tiny models whose `config.json`, tensor names and files are as
//! strangers bring them, against transformers' logits of the same folder. Weights are made on both
//! sides by `hash_uniform`; quantized ones lie in the case.

use std::collections::BTreeMap;

use pollster::block_on;
use serde::Deserialize;
use serde_json::Value;
use wgpu_lora::Error;
use wgpu_lora::format::{DType, ModelFiles, TensorData, write_safetensors};
use wgpu_lora::model::{LoadOptions, Model, Pass, Quant};

use super::case::{Case, Verdict};
use super::model::gpu;
use super::model::hash::hash_uniform;

/// Largest difference of a logit, for logits up to 1 and relative to the largest above: both sides
/// compute in f32.
const EXACT: f64 = 2e-4;

#[derive(Deserialize)]
struct Input {
    ids: Vec<u32>,
    tensors: Vec<Made>,
    quant: String,
}

/// A tensor that both sides make: `u · scale + offset` in f32, rounded to the type.
#[derive(Deserialize)]
struct Made {
    name: String,
    file: String,
    shape: Vec<usize>,
    dtype: String,
    stream: u64,
    scale: f32,
    offset: f32,
}

impl Made {
    fn bytes(&self) -> (DType, Vec<u8>) {
        let values = hash_uniform(self.shape.iter().product(), self.stream);
        let values = values.iter().map(|u| u * self.scale + self.offset);
        match self.dtype.as_str() {
            "BF16" => {
                (DType::BF16, values.flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect())
            }
            "F16" => {
                (DType::F16, values.flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect())
            }
            _ => (DType::F32, values.flat_map(f32::to_le_bytes).collect()),
        }
    }
}

/// Judges one case.
pub fn judge(case: &Case) -> Verdict {
    match compare(case) {
        Ok(None) => Verdict::Agreed,
        Ok(Some(how)) => Verdict::Disagreed(how),
        Err(error @ (Error::Unsupported { .. } | Error::Format { .. })) => case.refused(&error),
        Err(other) => Verdict::Disagreed(other.to_string()),
    }
}

fn compare(case: &Case) -> Result<Option<String>, Error> {
    let input: Input = match serde_json::from_value(case.input.clone()) {
        Ok(input) => input,
        Err(e) => return Ok(Some(format!("the case is no case: {e}"))),
    };
    let mut files = BTreeMap::<&str, Vec<(&Made, DType, Vec<u8>)>>::new();
    for made in &input.tensors {
        let (dtype, bytes) = made.bytes();
        files.entry(&made.file).or_default().push((made, dtype, bytes));
    }
    for (file, tensors) in &files {
        let tensors: Vec<_> = tensors
            .iter()
            .map(|(made, dtype, bytes)| TensorData {
                name: &made.name,
                dtype: *dtype,
                shape: &made.shape,
                bytes,
            })
            .collect();
        write_safetensors(case.path(file), &tensors, &[("format", "pt")])?;
    }
    let files = ModelFiles::open(case.path(""))?;
    let quant = if input.quant == "nf4" { Quant::Nf4 } else { Quant::None };
    let t = input.ids.len();
    let options = LoadOptions { quant, max_positions: t };
    let model =
        block_on(Model::load(gpu(), &files.checkpoint, &files.config, options, &mut |_, _| {}))?;
    let rows = [0, t as u32 / 2, t as u32 - 1];
    let space = model.workspace(Pass { batch: 1, queries: t, targets: rows.len() }, None)?;
    let got = block_on(model.logits(&space, &input.ids, 1, &rows))?;
    let want: Vec<f64> = case
        .expect
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|row| row.as_array().into_iter().flatten().filter_map(Value::as_f64))
        .collect();
    if got.len() != want.len() {
        return Ok(Some(format!("{} logits, not {}", got.len(), want.len())));
    }
    let largest = want.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let allowed = EXACT * largest.max(1.0);
    let error = got.iter().zip(&want).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    Ok((error.is_nan() || error > allowed).then(|| {
        format!("a logit differs by {error:.3e}, allowed {allowed:.3e} (of {largest:.2})")
    }))
}
