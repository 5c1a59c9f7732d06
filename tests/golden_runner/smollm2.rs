//! `smollm2`: a real pretrained model: logits, token losses, greedy tokens, NF4 weights, and six
//! QLoRA steps. The model comes from `cargo xtask models`. On software adapters the baseline runs
//! the prompts alone: the rest would take many minutes.

use super::judge::{Case, Judge, Outcome, largest_difference, wrong};
use super::set::Set;
use super::smollm2_train::train;
use super::{base, devices, models};
use pollster::block_on;
use serde::Deserialize;
use serde_json::Value;
use std::path::PathBuf;
use wgpu_lora::data::Batch;
use wgpu_lora::format::Checkpoint;
use wgpu_lora::gpu::Gpu;
use wgpu_lora::model::{KvCache, Model, Module, Pass, Quant};

/// Largest difference of a logit.
const LOGITS: f64 = 1e-3;
/// Largest difference of a token's loss.
const TOKEN_NLL: f64 = 5e-4;
/// Difference of a text's mean loss.
pub const MEAN_NLL: f64 = 1e-4;
/// Greedy tokens are compared up to the first whose lead over the second is smaller.
const MARGIN: f64 = 1e-2;

/// Tokens of a prompt and its continuation.
const LONGEST_PROMPT: usize = 512;

const FILE: &str = "smollm2/smollm2.json";

pub fn cases(set: &Set) -> Outcome<Vec<Case>> {
    let mut cases = Vec::new();
    for file in set.files("smollm2")? {
        if format!("smollm2/{file}") != FILE {
            cases.push(Case::broken(&format!("smollm2/{file}"), "an unknown file"));
        }
    }
    for name in set.folders("smollm2")? {
        cases.push(Case::broken(&format!("smollm2/{name}"), "an unknown folder"));
    }
    let golden = set.json(FILE)?;
    let Some(variants) = golden["variants"].as_object() else {
        return wrong(format!("{FILE} has no `variants`"));
    };
    for (variant, results) in variants {
        let (golden, variant, results) = (golden.clone(), variant.clone(), results.clone());
        cases.push(Case::new(format!("smollm2/{variant}"), move |judge| {
            forward(judge, &Site::new(&golden)?, base::quant(&variant)?, &results)
        }));
    }
    if golden["nf4_weight_checksums"].is_object() {
        let golden = golden.clone();
        cases.push(Case::new("smollm2/nf4_weight_checksums", move |judge| {
            checksums(judge, &Site::new(&golden)?, &golden["nf4_weight_checksums"])
        }));
    }
    if golden["train"].is_object() {
        cases.push(Case::new("smollm2/train", move |judge| {
            train(judge, &Site::new(&golden)?, &golden)
        }));
    }
    Ok(cases)
}

/// The model's folder.
pub struct Site {
    folder: PathBuf,
    pub text: Vec<u32>,
}

impl Site {
    fn new(golden: &Value) -> Outcome<Site> {
        // "smollm2-135m (bf16 safetensors -> f32)"
        let name = golden["model"].as_str().and_then(|m| m.split_whitespace().next());
        let name = name.ok_or("the file names no `model`")?;
        let text = serde_json::from_value(golden["text_ids"].clone())?;
        Ok(Site { folder: models::path(name)?, text })
    }

    fn checkpoint(&self) -> Outcome<Checkpoint> {
        Ok(Checkpoint::open(&self.folder)?)
    }

    pub fn load(&self, gpu: &Gpu, quant: Quant, tokens: usize) -> Outcome<Model> {
        let config = base::config(&self.folder.join("config.json"))?;
        base::load(gpu, &self.checkpoint()?, &config, quant, tokens)
    }

    /// The whole text with loss on all tokens.
    pub fn text_batch(&self) -> Outcome<Batch> {
        batch_of(&self.text)
    }
}

/// The file's whole text with loss on all tokens.
pub fn whole_text(golden: &Value) -> Outcome<Batch> {
    batch_of(&serde_json::from_value::<Vec<u32>>(golden["text_ids"].clone())?)
}

fn batch_of(text: &[u32]) -> Outcome<Batch> {
    let mut batch = Batch::default();
    batch.push(0, text, 0..text.len());
    Ok(batch)
}

/// A pass over one sequence with loss on all tokens.
pub fn sequence(t: usize) -> Pass {
    Pass { batch: 1, queries: t, targets: t }
}

fn forward(judge: &mut Judge, site: &Site, quant: Quant, results: &Value) -> Outcome {
    let prompts: Vec<Prompt> = serde_json::from_value(results["prompts"].clone())?;
    let whole: Option<f64> = results["mean_nll"].as_f64();
    devices::each_affordable(judge, |judge, device| {
        let model = site.load(&device.gpu, quant, LONGEST_PROMPT)?;
        for (i, prompt) in prompts.iter().enumerate() {
            prompt.judge(judge, i, &model)?;
        }
        Ok(())
    })?;
    let Some(whole) = whole else { return Ok(()) };
    devices::each_affordable(judge, |judge, device| {
        let model = site.load(&device.gpu, quant, site.text.len())?;
        let space = model.workspace(sequence(site.text.len()), None)?;
        let nll = block_on(model.token_nll(&space, &site.text_batch()?))?;
        let mean = nll.iter().map(|&v| f64::from(v)).sum::<f64>() / nll.len() as f64;
        if let Ok(want) = serde_json::from_value::<Vec<f32>>(results["token_nll"].clone()) {
            judge.largest("token losses of the text", &nll, &want, TOKEN_NLL);
        }
        judge.compare("mean loss of the text", (mean - whole).abs(), MEAN_NLL);
        Ok(())
    })
}

/// A prompt, the best next tokens, and the greedy continuation.
#[derive(Deserialize)]
struct Prompt {
    ids: Vec<u32>,
    top20_ids: Vec<usize>,
    top20_logits: Vec<f32>,
    #[serde(default)]
    greedy_ids: Vec<u32>,
    #[serde(default)]
    greedy_top1_logit: Vec<f32>,
    #[serde(default)]
    greedy_top1_minus_top2: Vec<f64>,
}

fn best(logits: &[f32]) -> (usize, f32) {
    logits
        .iter()
        .copied()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (i, v)| if v > best.1 { (i, v) } else { best })
}

impl Prompt {
    /// The next token's logits without a cache, then the continuation with one.
    fn judge(&self, judge: &mut Judge, number: usize, model: &Model) -> Outcome {
        let (t, steps) = (self.ids.len(), self.greedy_ids.len());
        let space = model.workspace(Pass { batch: 1, queries: t, targets: 1 }, None)?;
        let logits = block_on(model.logits(&space, &self.ids, 1, &[t as u32 - 1]))?;
        let got: Vec<f32> =
            self.top20_ids.iter().filter_map(|&id| logits.get(id).copied()).collect();
        let what = format!("prompt {number}, top {} logits", got.len());
        judge.largest(&what, &got, &self.top20_logits, LOGITS);
        let mut cache = KvCache::new(model.gpu(), model.config(), 1, t + steps)?;
        let mut logits = block_on(model.extend(&space, &mut cache, &self.ids))?;
        let (mut others, mut worst, mut compared) = (0, 0f64, 0);
        for (i, &want) in self.greedy_ids.iter().enumerate() {
            if self.greedy_top1_minus_top2.get(i).is_some_and(|margin| *margin < MARGIN) {
                break;
            }
            let (id, logit) = best(&logits);
            others += usize::from(id as u32 != want);
            if let Some(want) = self.greedy_top1_logit.get(i) {
                worst = worst.max(largest_difference(&[logit], &[*want]));
            }
            compared += 1;
            logits = block_on(model.extend(&space, &mut cache, &[want]))?;
        }
        let what = format!("prompt {number}, {compared} greedy tokens");
        judge.compare(&format!("{what}, others chosen"), f64::from(others as u32), 0.0);
        if !self.greedy_top1_logit.is_empty() {
            judge.compare(&format!("{what}, their logits"), worst, LOGITS);
        }
        Ok(())
    }
}

/// Sums of dequantized weights, and their first values.
fn checksums(judge: &mut Judge, site: &Site, golden: &Value) -> Outcome {
    let checkpoint = site.checkpoint()?;
    let config = base::config(&site.folder.join("config.json"))?;
    for (path, want) in golden.as_object().into_iter().flatten() {
        let all = (0..config.num_hidden_layers).flat_map(|l| Module::ALL.map(|m| (l, m)));
        let Some((layer, module)) = all.into_iter().find(|(l, m)| m.path(*l) == *path) else {
            return wrong(format!("`{path}` is no linear layer of the model"));
        };
        let weight = base::linear(&checkpoint, &config, layer, module, Quant::Nf4)?;
        let sum = |value: fn(f32) -> f64| weight.iter().map(|&v| value(v)).sum::<f64>();
        let total = sum(|v| f64::from(v.abs()));
        for (key, got) in [("sum_f64", sum(f64::from)), ("abs_sum_f64", total)] {
            if let Some(want) = want[key].as_f64() {
                // The order of the sum is not ours.
                judge.compare(&format!("{path}, {key}"), (got - want).abs() / total, 1e-12);
            }
        }
        if let Ok(first) = serde_json::from_value::<Vec<f32>>(want["first8"].clone()) {
            let got = &weight[..first.len().min(weight.len())];
            judge.largest(&format!("{path}, first values"), got, &first, 0.0);
        }
    }
    Ok(())
}
