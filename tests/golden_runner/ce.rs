//! `ce/<case>`: the loss of a large vocabulary and its gradient by the hidden states, through the
//! head that training runs. Weights come from the portable generator that `ce.json` describes.

use super::devices::{self, Device};
use super::hash::hash_uniform;
use super::judge::{Case, Judge, Outcome, largest_difference, relative_norm, worse, wrong};
use super::set::{File, Set};
use pollster::block_on;
use serde_json::Value;
use wgpu_lora::gpu::Gpu;
use wgpu_lora::kernels::{Dense, Matrix};
use wgpu_lora::model::{HeadLoss, Shard};
use wgpu_lora::quant::dynamic8_code;

/// Gradients by the hidden states: relative norm of the difference.
const GRADIENT: f64 = 5e-5;

const ABOUT: &str = "ce.json";

pub fn cases(set: &Set) -> Outcome<Vec<Case>> {
    let about = set.json(&format!("ce/{ABOUT}"))?;
    let mut cases = Vec::new();
    for name in set.folders("ce")? {
        cases.push(Case::broken(&format!("ce/{name}"), "an unknown folder"));
    }
    for file in set.files("ce")?.into_iter().filter(|file| file != ABOUT) {
        let name = file.trim_end_matches(".safetensors");
        let (set, title, case) = (set.clone(), format!("ce/{name}"), about["cases"][name].clone());
        cases.push(Case::new(title, move |judge| match case.is_null() {
            true => wrong("ce.json does not describe it"),
            false => run(judge, &set.open(&format!("ce/{file}"))?, &case),
        }));
    }
    Ok(cases)
}

/// A case: `(L, D)` hidden states, labels, and the head's weight `(V, D)`.
struct Head {
    l: usize,
    d: usize,
    v: usize,
    hidden: Vec<f32>,
    labels: Vec<i32>,
    weight: Vec<f32>,
}

fn run(judge: &mut Judge, file: &File, case: &Value) -> Outcome {
    let number = |key: &str| case[key].as_f64().ok_or_else(|| format!("ce.json: no `{key}`"));
    let &[l, d] = file.shape("hidden")? else { return wrong("`hidden` is no matrix") };
    let v = number("vocab")? as usize;
    let scale = number("weight_scale")? as f32;
    let mut weight = hash_uniform(v * d, number("weight_stream")? as u64);
    weight.iter_mut().for_each(|w| *w *= scale);
    let (hidden, labels) = (file.f32("hidden")?, file.i32("labels_i32")?);
    for (name, part) in [("weight_first8rows", 0..8 * d), ("weight_last2rows", (v - 2) * d..v * d)]
    {
        if file.has(name) {
            let error = largest_difference(&weight[part], &file.f32(name)?);
            judge.compare(&format!("{name} of the generator"), error, 0.0);
        }
    }
    let head = Head { l, d, v, hidden, labels, weight };
    devices::each(judge, |judge, device| {
        // Cut as loading cuts it where rows are short, and as it does where they are long.
        let most = wgpu_lora::gpu::SHARD_ROWS;
        for rows in [most, most.min(v) / 3 * 2] {
            head.compare(judge, device, file, rows)?;
        }
        Ok(())
    })
}

impl Head {
    fn shards(&self, gpu: &Gpu, most: usize) -> Outcome<Vec<Shard>> {
        let table = gpu.table("scale values", &dynamic8_code(true))?;
        let mut shards = Vec::new();
        for first in (0..self.v).step_by(most) {
            let rows = most.min(self.v - first);
            let values = &self.weight[first * self.d..][..rows * self.d];
            let w = gpu.upload("head", &[rows * self.d], values)?;
            let matrix = Matrix::dense(rows, self.d, Dense::F32, w, table.clone());
            shards.push(Shard { first, matrix });
        }
        Ok(shards)
    }

    fn compare(&self, judge: &mut Judge, device: &Device, file: &File, most: usize) -> Outcome {
        let (gpu, &Head { l, d, v, .. }) = (&device.gpu, self);
        let shards = self.shards(gpu, most)?;
        let h = gpu.upload("h", &[l, d], &self.hidden)?;
        // -100 becomes a label outside the vocabulary.
        let labels: Vec<u32> = self.labels.iter().map(|&label| label as u32).collect();
        let labels = gpu.upload_words("labels", &[l], &labels)?;
        let targets = self.labels.iter().filter(|label| **label >= 0).count();
        // All logits at once to read them; those of the gradient in chunks as training has them.
        let logits = gpu.zeros("logits", &[l.next_multiple_of(64), v])?;
        let (nll, dh) = (gpu.zeros("nll", &[l])?, gpu.zeros("dh", &[l, d])?);
        let scale = 1.0 / targets as f32;
        let mut loss = HeadLoss {
            h: &h,
            labels: &labels,
            logits: &logits,
            nll: &nll,
            gradient: None,
            soft: None,
            half: false,
        };
        let mut rec = gpu.recorder("golden");
        loss.record(&mut rec, &shards)?;
        rec.submit()?;
        let values = block_on(gpu.read(&logits.view(&[l, v])?))?;
        let chunk = logits.view(&[l.min(64), v])?;
        loss.logits = &chunk;
        loss.gradient = Some((scale, &dh));
        let mut rec = gpu.recorder("golden");
        loss.record(&mut rec, &shards)?;
        rec.submit()?;
        let (nll, dh) = (block_on(gpu.read(&nll))?, block_on(gpu.read(&dh))?);
        let mean = nll.iter().map(|&v| f64::from(v)).sum::<f64>() / targets as f64;
        let largest = values.iter().fold(0f32, |m, v| m.max(v.abs()));
        let bound = 1e-5 + 2e-7 * f64::from(largest);
        let what = |name: &str| format!("{name}, {} shards", shards.len());
        for name in file.names() {
            let part = name.rsplit_once('.').map_or(name, |(_, part)| part);
            // Where the results of a rerun in f64 are stored, those of f32 have an error of their
            // own.
            let exact = format!("f64.{part}_f64");
            if name != exact && file.has(&exact) {
                continue;
            }
            match part.trim_end_matches("_f64") {
                "loss" => judge.compare(&what(name), (mean - file.number(name)?).abs(), bound),
                "nll" => judge.compare(&what(name), difference(&nll, file, name)?, bound),
                "grad_hidden" => {
                    let want: Vec<f32> = numbers(file, name)?.iter().map(|&v| v as f32).collect();
                    judge.compare(&what(name), relative_norm(&dh, &want), GRADIENT);
                }
                "logits_max" => {
                    let rows = values.chunks(v).map(|row| row.iter().copied());
                    let got: Vec<f32> =
                        rows.map(|row| row.fold(f32::NEG_INFINITY, f32::max)).collect();
                    judge.compare(&what(name), difference(&got, file, name)?, bound);
                }
                "logits_head" => {
                    let &[_, columns] = file.shape(name)? else { continue };
                    let got: Vec<f32> =
                        values.chunks(v).flat_map(|row| row[..columns].to_vec()).collect();
                    judge.compare(&what(name), difference(&got, file, name)?, bound);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// F32 or F64 values.
fn numbers(file: &File, name: &str) -> Outcome<Vec<f64>> {
    match name.ends_with("_f64") {
        true => file.f64(name),
        false => Ok(file.f32(name)?.iter().map(|&v| f64::from(v)).collect()),
    }
}

fn difference(got: &[f32], file: &File, name: &str) -> Outcome<f64> {
    let want = numbers(file, name)?;
    if got.len() != want.len() {
        return wrong(format!("`{name}` has {} values, not {}", want.len(), got.len()));
    }
    let errors = got.iter().zip(&want).map(|(got, want)| (f64::from(*got) - want).abs());
    Ok(errors.fold(0.0, worse))
}
