//! `number/`: losses that know which tokens are numbers: loss and gradient through a head, and runs
//! of twenty steps. Soft targets are the formula of `make_number.py`.

use super::devices;
use super::hash::hash_uniform;
use super::judge::{Case, Outcome, relative_norm, wrong};
use super::set::Set;
use super::train;
use pollster::block_on;
use serde_json::Value;
use wgpu_lora::data::soft::SoftRow;
use wgpu_lora::data::{Batch, SoftTargets, Target};
use wgpu_lora::kernels::{Dense, Matrix};
use wgpu_lora::model::{HeadLoss, Shard, SoftRows};
use wgpu_lora::quant::dynamic8_code;

/// Loss, and gradients by the hidden states: relative norm of the difference.
const LOSS: f64 = 1e-5;
const GRADIENT: f64 = 5e-5;

const ABOUT: &str = "number/number.json";

/// Entries five to each side of every third label, seven tokens apart.
pub fn soft(kind: &str, targets: &[Target], vocab: usize) -> Outcome<SoftTargets> {
    let ranked = match kind {
        "soft" => false,
        "crps" => true,
        other => return wrong(format!("`{other}` is no known loss of numbers")),
    };
    let mut soft = SoftTargets { ranked, ..SoftTargets::default() };
    for (k, target) in targets.iter().enumerate().step_by(3) {
        let token = |j: i64| (j, i64::from(target.label) + 7 * j);
        let inside = |(_, token): &(i64, i64)| (0..vocab as i64).contains(token);
        let near: Vec<(i64, i64)> = (-5..=5).map(token).filter(inside).collect();
        let share = |j: i64| (-((j * j) as f64) / 8.0).exp();
        let sum: f64 = near.iter().map(|(j, _)| share(*j)).sum();
        soft.entries.extend(near.iter().map(|&(j, token)| {
            let q = if ranked { f64::from(u8::from(j == 0)) } else { share(j) / sum };
            (token as u32, q as f32)
        }));
        let weight = if k % 2 == 0 { 0.5 } else { 0.25 };
        let weight = if ranked { weight / 4.0 } else { weight };
        soft.rows.push(SoftRow { target: k, weight, end: soft.entries.len() });
    }
    Ok(soft)
}

pub fn cases(set: &Set) -> Outcome<Vec<Case>> {
    let about = set.json(ABOUT)?;
    let mut cases = Vec::new();
    for (kind, values) in about["values"].as_object().into_iter().flatten() {
        let (kind, head, values) = (kind.clone(), about["head"].clone(), values.clone());
        cases.push(Case::new(format!("number/{kind}"), move |judge| {
            devices::each(judge, |judge, device| {
                let number = |key: &str| {
                    head[key].as_f64().ok_or_else(|| format!("number.json: no `{key}`"))
                };
                let (l, d) = (number("rows")? as usize, number("hidden")? as usize);
                let v = number("vocab")? as usize;
                let scale = number("weight_scale")? as f32;
                let mut weight = hash_uniform(v * d, number("weight_stream")? as u64);
                weight.iter_mut().for_each(|w| *w *= scale);
                let hidden = hash_uniform(l * d, number("hidden_stream")? as u64);
                let label = |(i, label): (usize, &Value)| Target {
                    row: i as u32,
                    label: label.as_u64().unwrap_or(u64::MAX) as u32,
                };
                let labels = values["labels"].as_array().into_iter().flatten();
                let targets: Vec<Target> = labels.enumerate().map(label).collect();
                let soft = soft(&kind, &targets, v)?;
                let batch = Batch { targets, soft, ..Batch::default() };
                let gpu = &device.gpu;
                let table = gpu.table("scale values", &dynamic8_code(true))?;
                let w = gpu.upload("head", &[v * d], &weight)?;
                let shards =
                    [Shard { first: 0, matrix: Matrix::dense(v, d, Dense::F32, w, table) }];
                let labels: Vec<u32> = batch.targets.iter().map(|target| target.label).collect();
                let (nll, dh) = (gpu.zeros("nll", &[l])?, gpu.zeros("dh", &[l, d])?);
                let mut kept = None;
                let loss = HeadLoss {
                    h: &gpu.upload("h", &[l, d], &hidden)?,
                    labels: &gpu.upload_words("labels", &[l], &labels)?,
                    logits: &gpu.zeros("logits", &[64, v])?,
                    nll: &nll,
                    gradient: Some((1.0 / l as f32, &dh)),
                    soft: Some(SoftRows::holding(&mut kept, gpu, &batch)?),
                    half: false,
                };
                let mut rec = gpu.recorder("golden");
                loss.record(&mut rec, &shards)?;
                rec.submit()?;
                let (nll, dh) = (block_on(gpu.read(&nll))?, block_on(gpu.read(&dh))?);
                let mean = nll.iter().map(|&v| f64::from(v)).sum::<f64>() / l as f64;
                let want = values["loss"].as_f64().ok_or("number.json: no `loss`")?;
                judge.compare("loss", (mean - want).abs(), LOSS);
                let gradient = values["grad_hidden"].as_array().into_iter().flatten();
                let gradient: Vec<f32> =
                    gradient.filter_map(Value::as_f64).map(|v| v as f32).collect();
                judge.compare("gradient, relative", relative_norm(&dh, &gradient), GRADIENT);
                Ok(())
            })
        }));
    }
    for (name, run) in about["runs"].as_object().into_iter().flatten() {
        let (set, name, run) = (set.clone(), name.clone(), run.clone());
        cases.push(Case::new(format!("number/{name} run"), move |judge| {
            train::Run::new(&set, &format!("number/{name}"), run.clone())?.judge(judge)
        }));
    }
    Ok(cases)
}
