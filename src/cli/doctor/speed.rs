//! How fast this adapter is, and how far from what it could do.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::stand::Stand;
use crate::cli::args::{Computation, Inspect};
use crate::cli::bench::passes::{Step, StepSize, Subject, decode, prefill};
use crate::cli::bench::random_files;
use crate::cli::bench::shapes::sizes;
use crate::cli::bench::timing::{Ceilings, Effort, time};
use crate::format::{ModelConfig, ModelShape, Module};
use crate::gpu::{Gpu, Policy};
use crate::kernels;
use crate::kernels::cases::Inputs;
use crate::model::{LoadOptions, MemoryPlan, Quant};

/// How much is computed at a time.
struct Amount {
    /// Rows of kernels of a training batch.
    rows: usize,
    /// Sequences of a step, and steps that are timed.
    batch: usize,
    steps: usize,
    /// Tokens of a sequence and of a prompt.
    tokens: usize,
}

impl Amount {
    /// Software adapters compute as much in seconds as cards do in milliseconds.
    fn of(gpu: &Gpu) -> Amount {
        match gpu.caps().software {
            true => Amount { rows: 128, batch: 1, steps: 1, tokens: 32 },
            false => Amount { rows: 512, batch: 4, steps: 3, tokens: 128 },
        }
    }
}

/// A training step on a slow device has fewer tokens than others, so that it takes about so long.
const STEP_SECONDS: f64 = 5.0;

/// And at least so many.
const FEWEST_TOKENS: usize = 8;

impl Amount {
    /// For a device whose products of this model's frozen weights run at `flops`: of these a step
    /// has two a token, forward and backward.
    fn at(self, flops: f64, model: &ModelConfig) -> Amount {
        let products = Module::ALL.iter().map(|module| module.shape(model));
        let block: usize = products.map(|(rows, columns)| rows * columns).sum();
        let head = model.vocab_size * model.hidden_size;
        let token = 4.0 * (block * model.num_hidden_layers + head) as f64 / flops;
        let most = (STEP_SECONDS / token) as usize / self.batch;
        let tokens =
            (FEWEST_TOKENS..=self.tokens).rev().find(|n| n.is_power_of_two() && *n <= most);
        Amount { tokens: tokens.unwrap_or(FEWEST_TOKENS), ..self }
    }
}

/// Half of what Windows waits for a driver.
const LONG_MS: f64 = 1000.0;

/// Of one kernel at one size: there are many.
const EFFORT: Effort = Effort { runs: 5, seconds: 0.1 };

pub(super) async fn run(stand: &Stand<'_>) -> Result<()> {
    let shapes = match (stand.args.brief, stand.args.quick) {
        (true, _) => ["tiny"].as_slice(),
        (_, true) => &["smollm2-135m"],
        _ => &["llama-3.2-1b", "llama-3.2-3b"],
    };
    let gpu = stand.gpu(None).await?;
    stand.doing("ceilings")?;
    let ceilings = Ceilings::measure(&gpu)?;
    let matrix = if stand.args.brief { None } else { matrix_flops(stand, ceilings).await? };
    let giga = |value: Option<f64>| value.map(|value| value / 1e9);
    stand.field(
        "ceilings",
        json!({
            "copy_gbps": ceilings.bytes / 1e9,
            "fma_gflops": ceilings.flops / 1e9,
            "fma_f16_gflops": giga(ceilings.half_flops),
            "matrix_gflops": giga(matrix),
        }),
    )?;
    let mut best = Vec::new();
    for name in shapes {
        best.push(kernels(stand, &gpu, name, ceilings)?);
    }
    drop(gpu);
    passes(stand, shapes[0], best[0]).await
}

/// The fastest product on matrix units, where there are any.
async fn matrix_flops(stand: &Stand<'_>, ceilings: Ceilings) -> Result<Option<f64>> {
    let mut best = None;
    let gpu = stand.gpu(Some(Policy::Prefer("cooperative".into()))).await?;
    let is_cooperative = |variant: &str| variant.contains("[cooperative");
    let inputs = Inputs::new(&gpu).with_half(true);
    let products = ["linear_fwd", "linear_bwd"];
    for case in kernels::cases().filter(|case| products.contains(&case.kernel.name)) {
        let effort = (ceilings, Effort::FULL);
        time(&inputs, case, case.usual, effort, &is_cooperative, &mut |row| {
            let gflops = row["gflops"].as_f64().unwrap_or_default();
            best = Some(best.unwrap_or(0f64).max(gflops * 1e9));
            Ok(())
        })?;
    }
    Ok(best)
}

/// Every kernel that a model of this shape runs. Returns the operations a second of its fastest
/// large product.
fn kernels(stand: &Stand<'_>, gpu: &Gpu, shape: &str, ceilings: Ceilings) -> Result<f64> {
    let model = ModelShape::named(shape)?.config();
    let mut best = 0f64;
    for m in [Amount::of(gpu).rows, 1] {
        stand.doing(format!("kernels in the shape of {shape}, rows: {m}"))?;
        for case in kernels::cases() {
            for (size, storages) in sizes(case, &model, m) {
                let inputs = Inputs::stored(gpu, storages);
                let mut rows = Vec::new();
                time(&inputs, case, size, (ceilings, EFFORT), &|_| true, &mut |row| {
                    rows.push(row);
                    Ok(())
                })?;
                for mut row in rows {
                    if case.kernel.name == "linear_fwd" {
                        best = best.max(1e9 * row["gflops"].as_f64().unwrap_or_default());
                    }
                    row["model_shape"] = shape.into();
                    stand.row("timed", row)?;
                }
            }
        }
    }
    Ok(best)
}

/// The largest shape up to `wanted` whose weights take at most half of the device's memory.
fn fitting(gpu: &Gpu, wanted: &str) -> Result<ModelShape> {
    let most = gpu.memory_bytes().unwrap_or(u64::MAX) / 2;
    let options = LoadOptions { quant: Quant::Nf4, max_positions: 512 };
    let upto = ModelShape::ALL.into_iter().rev().skip_while(|shape| shape.name != wanted);
    for shape in upto {
        if MemoryPlan::weights(&shape.config(), None, options)?.total() <= most {
            return Ok(shape);
        }
    }
    bail!("no model fits into half of {most} bytes")
}

/// A training step, a prompt, and generation, on a device whose products run at `flops`.
async fn passes(stand: &Stand<'_>, wanted: &str, flops: f64) -> Result<()> {
    let session = stand.session;
    let gpu = stand.gpu(None).await?;
    let shape = fitting(&gpu, wanted)?;
    let how = Computation { inspect: Inspect::default(), ..Computation::default() };
    let mut at = Subject { session, gpu, files: random_files(shape, how.quant)?, how };
    stand.field("model_shape", shape.name.into())?;
    let usual = Amount::of(&at.gpu);
    let most = usual.tokens;
    let Amount { batch, steps, tokens, .. } = usual.at(flops, &shape.config());
    let size = StepSize {
        batch,
        seq: tokens,
        targets: None,
        rank: 16,
        target_modules: "all-linear".into(),
        gradient_checkpointing: "auto".into(),
    };

    stand.doing(format!("a training step in the shape of {}", shape.name))?;
    at.gpu.start_profile();
    let mut step = Step::new(&at, &size).await?;
    let longest = at.gpu.take_profile().map(|profile| profile.longest_submission_ns / 1e6);
    stand.field("longest_submission_ms", longest.into())?;
    let seconds = step.seconds(steps).await?;
    let row = step.row(&at, seconds);
    memory(stand, &row)?;
    let mut found = vec![told(&format!("a step of {batch} x {tokens}"), &row)];
    stand.field("step", row)?;
    drop(step);

    stand.doing("a prompt")?;
    // Pipelines and images of the step are gone with its device.
    at.gpu = stand.gpu(None).await?;
    let row = prefill(&at, tokens).await?;
    found.push(told(&format!("a prompt of {tokens}"), &row));
    stand.field("prefill", row)?;
    stand.doing("generation")?;
    let row = decode(&at, if steps > 1 { 16 } else { 4 }).await?;
    found.push(told("generation", &row));
    stand.field("decode", row)?;
    if let Some(ms) = longest.filter(|ms| *ms > LONG_MS && !at.gpu.caps().software) {
        stand.wrong(format!("a submission took {ms:.0} ms: Windows ends a driver after 2,000"))?;
    }
    let fewer = if tokens < most { " (few tokens, since this device is slow)" } else { "" };
    stand.summary(format!("{}: {}{fewer}", shape.name, found.join(", ")))
}

/// Planned against measured memory of a training step.
fn memory(stand: &Stand<'_>, row: &Value) -> Result<()> {
    let bytes = |key: &str| row[key].as_u64().unwrap_or_default();
    let planned = bytes("planned_bytes");
    let measured = bytes("tensor_bytes") + bytes("image_bytes");
    stand.field("planned_bytes", planned.into())?;
    stand.field("measured_bytes", measured.into())?;
    if measured > planned {
        stand.wrong(format!("a step takes {measured} bytes, {planned} were planned"))?;
    }
    Ok(())
}

fn told(what: &str, row: &Value) -> String {
    format!("{what} {:.1} tokens/s", row["tokens_per_second"].as_f64().unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_device_gets_fewer_tokens() {
        let model = ModelShape::named("smollm2-135m").unwrap().config();
        let usual = || Amount { rows: 128, batch: 1, steps: 1, tokens: 32 };
        let tokens = |flops| usual().at(flops, &model).tokens;
        assert_eq!([24e9, 2.5e9, 1.5e9, 1e6].map(tokens), [32, 16, 8, 8]);
    }
}
