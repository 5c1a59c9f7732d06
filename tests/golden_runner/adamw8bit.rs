//! `train/adamw8bit`: bitsandbytes' AdamW8bit on recorded gradients. One tensor is large enough for
//! states of 8 bits, the other keeps 32.

use super::devices::{self, Device};
use super::judge::{Judge, Outcome, largest_difference, wrong};
use super::set::File;
use pollster::block_on;
use serde_json::Value;
use wgpu_lora::gpu::{Elem, Tensor};
use wgpu_lora::kernels::{AdamW, AdamW8bit, AdamWStep};

/// Largest difference of a parameter from bitsandbytes'.
const PARAMETER: f64 = 2e-5;
/// The same where all states have 32 bits.
const SMALL: f64 = 1e-6;

struct Hyper {
    lr: f64,
    betas: (f64, f64),
    eps: f64,
    weight_decay: f64,
}

impl Hyper {
    fn of(json: &Value) -> Outcome<Hyper> {
        let number = |value: &Value, key: &str| {
            value.as_f64().ok_or_else(|| format!("train.json: `hyper` has no `{key}`"))
        };
        Ok(Hyper {
            lr: number(&json["lr"], "lr")?,
            betas: (number(&json["betas"][0], "betas")?, number(&json["betas"][1], "betas")?),
            eps: number(&json["eps"], "eps")?,
            weight_decay: number(&json["weight_decay"], "weight_decay")?,
        })
    }

    fn step(&self, t: i32) -> AdamWStep {
        AdamWStep {
            lr: self.lr,
            beta1: self.betas.0,
            beta2: self.betas.1,
            eps: self.eps,
            weight_decay: self.weight_decay,
            bias1: 1.0 - self.betas.0.powi(t),
            bias2: 1.0 - self.betas.1.powi(t),
        }
    }
}

/// The set does not say whose hyperparameters the stream was made with: those of the section, or of
/// one of its runs. The first step of the 32-bit tensor, which no code rounds, tells.
fn hyper(file: &File, about: &Value) -> Outcome<Hyper> {
    let runs = about["runs"].as_object().into_iter().flatten().map(|(_, run)| &run["hyper"]);
    let all = [&about["hyper"], &about["adamw8bit"]["hyper"]].into_iter().chain(runs);
    let (p, g) = (file.f32("small0")?, file.f32("gs0")?);
    let want = file.f32("small_after1")?;
    let mut best: Option<(f64, Hyper)> = None;
    for hyper in all.filter(|json| !json.is_null()) {
        let hyper = Hyper::of(hyper)?;
        let step = |(p, g): (&f32, &f32)| {
            let (p, g) = (f64::from(*p), f64::from(*g));
            (p * (1.0 - hyper.lr * hyper.weight_decay) - hyper.lr * g / (g.abs() + hyper.eps))
                as f32
        };
        let got: Vec<f32> = p.iter().zip(&g).map(step).collect();
        let error = largest_difference(&got, &want);
        if best.as_ref().is_none_or(|(least, _)| error < *least) {
            best = Some((error, hyper));
        }
    }
    best.map(|(_, hyper)| hyper).ok_or_else(|| "train.json has no hyperparameters".into())
}

pub fn judge(judge: &mut Judge, file: &File, about: &Value) -> Outcome {
    let hyper = hyper(file, about)?;
    devices::each(judge, |judge, device| run(judge, device, file, &hyper))
}

fn run(judge: &mut Judge, device: &Device, file: &File, hyper: &Hyper) -> Outcome {
    let gpu = &device.gpu;
    let (p0, small0) = (file.f32("p0")?, file.f32("small0")?);
    let n = p0.len();
    if !n.is_multiple_of(AdamW8bit::BLOCK) {
        return wrong(format!("`p0` has {n} elements, no multiple of {}", AdamW8bit::BLOCK));
    }
    let up = |name: &str, values: &[f32]| gpu.upload(name, &[values.len()], values);
    let (p, small) = (up("p", &p0)?, up("small", &small0)?);
    let (m, v) = (gpu.zeros("m", &[small0.len()])?, gpu.zeros("v", &[small0.len()])?);
    let coded = |name: &str| gpu.tensor(name, &[n / 4], Elem::Codes);
    let (m8, v8) = (coded("m codes")?, coded("v codes")?);
    let scales = gpu.zeros("scales", &[n / AdamW8bit::BLOCK, 2])?;
    let codes = gpu.table("codes", &AdamW8bit::codes())?;
    // A norm of 1 and no clipping.
    let stats = up("stats", &[1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])?;
    for t in 1.. {
        let key = format!("g{}", t - 1);
        if !file.has(&key) {
            break;
        }
        let (g, gs) = (up("g", &file.f32(&key)?)?, up("gs", &file.f32(&format!("gs{}", t - 1))?)?);
        let step = hyper.step(t);
        let mut rec = gpu.recorder("golden");
        rec.record(&AdamW8bit {
            g: &g,
            p: &p,
            m: &m8,
            v: &v8,
            scales: &scales,
            stats: &stats,
            codes: &codes,
            step,
        })?;
        rec.record(&AdamW { g: &gs, p: &small, m: &m, v: &v, stats: &stats, step })?;
        block_on(rec.finish())?;
        for (name, tensor, bound) in [("p", &p, PARAMETER), ("small", &small, SMALL)] {
            let key = format!("{name}_after{t}");
            if file.has(&key) {
                judge.largest(&key, &block_on(gpu.read(tensor))?, &file.f32(&key)?, bound);
            }
        }
    }
    states(judge, device, file, &m8, &v8, &scales)
}

/// Share of the codes that may differ: a value half-way between two hangs on its last bit.
const CODES: f64 = 0.01;

fn states(
    judge: &mut Judge,
    device: &Device,
    file: &File,
    m: &Tensor,
    v: &Tensor,
    scales: &Tensor,
) -> Outcome {
    for (tensor, key) in [(m, "state.state1_u8"), (v, "state.state2_u8")] {
        if file.has(key) {
            let words = block_on(device.gpu.read_words(tensor))?;
            let (got, want) = (bytemuck::cast_slice::<u32, u8>(&words), file.bytes(key)?);
            if got.len() != want.len() {
                return wrong(format!("`{key}` has {} codes, not {}", want.len(), got.len()));
            }
            let differ = got.iter().zip(&want).filter(|(a, b)| a != b).count();
            let share = differ as f64 / want.len() as f64;
            judge.compare(&format!("{key}, share of other codes"), share, CODES);
        }
    }
    let scales = block_on(device.gpu.read(scales))?;
    for (which, key) in ["state.absmax1", "state.absmax2"].into_iter().enumerate() {
        if file.has(key) {
            let got: Vec<f32> = scales.iter().skip(which).step_by(2).copied().collect();
            let want = file.f32(key)?;
            let largest = want.iter().fold(0f64, |most, x| most.max(f64::from(x.abs())));
            judge.largest(key, &got, &want, 1e-5 * largest);
        }
    }
    Ok(())
}
