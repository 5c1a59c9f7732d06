//! Twenty QLoRA steps of a tiny model, whose losses PyTorch has computed, too.
//!
//! **Source** `probe.json`, which `tests/golden/make_probe.py` made of the same formulas with
//! transformers and PEFT.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Result;
use crate::data::Batch;
use crate::error::Error;
use crate::format::{
    AdapterConfig, AdapterFile, Checkpoint, ModelConfig, ModelShape, TargetModules,
};
use crate::gpu::Gpu;
use crate::model::{Keep, LoadOptions, Model, Module, Pass, Precision, Quant};
use crate::random::{Fnv, word_at};
use crate::train::config::Optim;
use crate::train::optimizer::OptimizerState;
use crate::train::schedule::{Schedule, SchedulerType};
use crate::train::trainer::{LossNormalisation, Trainer, TrainerOptions};

/// What PyTorch found.
const EXPECTED: &str = include_str!("probe.json");

const SHAPE: &str = "tiny";
const STEPS: u64 = 20;
const WARMUP: u64 = 2;
const LEARNING_RATE: f64 = 5e-3;
const RANK: usize = 8;
/// Micro-batches of a step; their rows come round after [`WINDOWS`] steps.
const ACCUMULATION: usize = 2;
const WINDOWS: usize = 4;
/// Tokens of a micro-batch's rows, and how many of them are a prompt, without loss.
const ROWS: [(usize, usize); 2] = [(24, 1), (17, 6)];

/// Relative differences that two ways of rounding f32 explain: those of the golden runs, ten times
/// what PyTorch's f32 is off from its f64. `make_probe.py` holds its own run to a tenth of them.
const LOSS: f64 = 2e-5;
const NORM: f64 = 1e-5;

/// The largest relative difference from PyTorch over the steps.
#[derive(Clone, Copy, Debug, Deserialize, serde::Serialize)]
pub struct Deviation {
    /// How large it is.
    pub error: f64,
    /// What rounding explains.
    pub bound: f64,
}

impl Deviation {
    fn of(pairs: impl Iterator<Item = (f64, f64)>, bound: f64) -> Deviation {
        let relative = |(got, want): (f64, f64)| (got - want).abs() / want.abs();
        // A NaN is no maximum.
        let worse = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) };
        Deviation { error: pairs.map(relative).fold(0.0, worse), bound }
    }

    /// Whether rounding explains it.
    pub fn ok(&self) -> bool {
        self.error <= self.bound
    }
}

/// What twenty steps show.
#[derive(Clone, Debug, Deserialize, serde::Serialize)]
pub struct Probe {
    /// The losses.
    pub losses: Vec<f64>,
    /// Of the losses.
    pub loss: Deviation,
    /// Of the gradients' norms.
    pub grad_norm: Deviation,
    /// Whether a second run ended with the same bytes of adapter and optimizer.
    pub repeats: bool,
    /// Whether a run that went on in the middle with what the first one was then did.
    pub resumes: bool,
}

#[derive(Deserialize)]
struct Expected {
    steps: Vec<ExpectedStep>,
}

#[derive(Deserialize)]
struct ExpectedStep {
    loss: f64,
    grad_norm: f64,
}

/// Parameters and optimizer state.
type Snapshot = (AdapterFile, OptimizerState);

/// Trains the tiny model on `gpu` three times: as a whole, again, and from the middle on.
///
/// **Errors** [`Error::Device`] and [`Error::NonFinite`]; numbers that differ are no error.
pub async fn training(gpu: &Gpu) -> Result<Probe> {
    let bad = |e: serde_json::Error| Error::format("probe.json", "content", e);
    let expected: Expected = serde_json::from_str(EXPECTED).map_err(bad)?;
    let first = run(gpu, None).await?;
    let second = run(gpu, None).await?;
    let resumed = run(gpu, Some(&first.middle)).await?;
    let against = |got: &[f64], of: fn(&ExpectedStep) -> f64, bound| {
        Deviation::of(got.iter().copied().zip(expected.steps.iter().map(of)), bound)
    };
    Ok(Probe {
        loss: against(&first.losses, |step| step.loss, LOSS),
        grad_norm: against(&first.norms, |step| step.grad_norm, NORM),
        repeats: same(&first.end, &second.end),
        resumes: same(&first.end, &resumed.end),
        losses: first.losses,
    })
}

/// Whether all bits are equal; a NaN is like another of the same bits.
fn same(a: &Snapshot, b: &Snapshot) -> bool {
    let bits = |(file, state): &Snapshot| {
        let words = |values: &Vec<f32>| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let parameters: Vec<_> =
            file.tensors.iter().map(|(k, v)| (k.clone(), words(&v.1))).collect();
        (parameters, format!("{state:?}"))
    };
    bits(a) == bits(b)
}

struct Ran {
    losses: Vec<f64>,
    norms: Vec<f64>,
    middle: Snapshot,
    end: Snapshot,
}

/// The steps, or those from the middle on.
async fn run(gpu: &Gpu, from: Option<&Snapshot>) -> Result<Ran> {
    let mut trainer = trainer(gpu).await?;
    let mut middle = None;
    if let Some((file, state)) = from {
        trainer.restore(STEPS / 2, &file.tensors, state).await?;
    }
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    while trainer.steps_done() < STEPS {
        if trainer.steps_done() == STEPS / 2 {
            middle = Some(trainer.snapshot().await?);
        }
        let report = trainer.step(&window(trainer.steps_done() as usize)).await?;
        losses.push(report.loss);
        norms.push(report.grad_norm);
    }
    let end = trainer.snapshot().await?;
    Ok(Ran { losses, norms, middle: middle.unwrap_or_else(|| end.clone()), end })
}

async fn trainer(gpu: &Gpu) -> Result<Trainer> {
    let config = ModelShape::named(SHAPE)?.config();
    let checkpoint = Checkpoint::random(SHAPE, &config, true)?;
    let options = LoadOptions { quant: Quant::Nf4, max_positions: ROWS[0].0 };
    let mut model = Model::load(gpu, &checkpoint, &config, options, &mut |_, _| {}).await?;
    model.add_trainable_adapter("probe", &adapter(&config)).await?;
    let schedule = Schedule::new(SchedulerType::Cosine, LEARNING_RATE, WARMUP, STEPS)?;
    let options = TrainerOptions {
        optim: Optim::Adamw,
        betas: (0.9, 0.999),
        eps: 1e-8,
        weight_decay: 0.01,
        max_grad_norm: 1.0,
        normalisation: LossNormalisation::Tokens,
        seed: 0,
        keep: Keep::Full,
        precision: Precision::F32,
    };
    let (queries, batch) = (ROWS[0].0, ROWS.len());
    let largest = Pass { batch, queries, targets: batch * queries };
    Trainer::new(model, schedule, options, largest)
}

/// `u = ⌊word / 2⁴⁰⌋ · 2⁻²³ − 1` of word `i` under `name`, in [−1, 1).
fn uniform(name: &str, i: usize) -> f32 {
    (word_at(Fnv::of(name.as_bytes()), i as u64) >> 40) as f32 / 8_388_608.0 - 1.0
}

/// A = u/√K as PEFT's, B = u/20, under the tensors' names.
fn adapter(config: &ModelConfig) -> AdapterFile {
    let settings = AdapterConfig {
        rank: RANK,
        alpha: 2.0 * RANK as f64,
        dropout: 0.0,
        target_modules: TargetModules::AllLinear,
        ..AdapterConfig::default()
    };
    let mut tensors = BTreeMap::new();
    for layer in 0..config.num_hidden_layers {
        for module in Module::ALL {
            let (outputs, inputs) = module.shape(config);
            let mut add = |part: &str, shape: [usize; 2], divisor: f32| {
                let key = format!("base_model.model.{}.{part}.weight", module.path(layer));
                let n = shape[0] * shape[1];
                let values = (0..n).map(|i| uniform(&key, i) / divisor).collect();
                tensors.insert(key, (shape.to_vec(), values));
            };
            add("lora_A", [RANK, inputs], (inputs as f32).sqrt());
            add("lora_B", [outputs, RANK], 20.0);
        }
    }
    AdapterFile { config: settings, tensors }
}

/// The micro-batches of a step: ids are random bits under `ids`, 64 a row.
fn window(step: usize) -> Vec<Batch> {
    let first = step % WINDOWS * ACCUMULATION;
    let micro = |number: usize| {
        let mut batch = Batch::default();
        for (row, (length, prompt)) in ROWS.into_iter().enumerate() {
            let at = (number * ROWS.len() + row) as u64 * 64;
            let id = |i: usize| (word_at(Fnv::of(b"ids"), at + i as u64) >> 56) as u32;
            let ids: Vec<u32> = (0..length).map(id).collect();
            batch.push(row, &ids, prompt..length);
        }
        batch
    };
    (first..first + ACCUMULATION).map(micro).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_device_trains_as_pytorch_does() {
        let adapter = std::env::var("WGPU_LORA_DEVICE").ok();
        let options = crate::gpu::GpuOptions { adapter, ..Default::default() };
        let gpu = pollster::block_on(Gpu::with(options)).unwrap();
        let probe = pollster::block_on(training(&gpu)).unwrap();
        assert!(probe.loss.ok() && probe.grad_norm.ok(), "{probe:?}");
        assert!(probe.repeats && probe.resumes, "{probe:?}");
    }

    #[test]
    fn a_deviation_is_the_largest_and_a_nan_is_none_that_rounding_explains() {
        let of = |pairs: &[(f64, f64)]| Deviation::of(pairs.iter().copied(), 0.1);
        assert_eq!(of(&[(1.0, 1.0), (2.5, 2.0), (1.0, 1.0)]).error, 0.25);
        assert!(of(&[(1.0, 1.0), (2.1, 2.0)]).ok());
        assert!(!of(&[(f64::NAN, 1.0), (1.0, 1.0)]).ok());
    }
}
