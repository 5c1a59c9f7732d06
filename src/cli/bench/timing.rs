//! How long an operation takes, and what share of that no kernel could avoid.

use std::time::Instant;

use serde_json::{Value, json};

use super::shapes::Size;
use crate::gpu::{Gpu, Op, Work};
use crate::kernels;
use crate::kernels::cases::{Case, Inputs};

/// How often an operation is timed: at most so many times, and no more behind so many seconds. The
/// first run, which compiles, does not count; one that does is always there.
#[derive(Clone, Copy)]
pub(in crate::cli) struct Effort {
    pub(in crate::cli) runs: usize,
    pub(in crate::cli) seconds: f64,
}

impl Effort {
    /// Of a measurement by itself.
    pub(in crate::cli) const FULL: Effort = Effort { runs: 20, seconds: 0.5 };
}

/// What this adapter does at most: measured, not read from a data sheet.
#[derive(Clone, Copy)]
pub(in crate::cli) struct Ceilings {
    pub(in crate::cli) flops: f64,
    /// Of 16 bits, where the adapter has them.
    pub(in crate::cli) half_flops: Option<f64>,
    pub(in crate::cli) bytes: f64,
}

impl Ceilings {
    /// Copies and multiplies for a moment.
    pub(in crate::cli) fn measure(gpu: &Gpu) -> crate::Result<Ceilings> {
        let inputs = Inputs::new(gpu).with_half(true);
        let mut best = Ceilings { flops: 0.0, half_flops: None, bytes: 0.0 };
        for case in kernels::cases().filter(|case| case.kernel.name.starts_with("ceiling_")) {
            (case.run)(&inputs, case.usual, &mut |op| {
                let (work, seconds) = (op.work(), all_seconds(gpu, op, Effort::FULL)?[0]);
                match op.kernel().name {
                    "ceiling_fma" if op.context().half => {
                        best.half_flops = Some(work.flops as f64 / seconds);
                    }
                    "ceiling_fma" => best.flops = work.flops as f64 / seconds,
                    _ => best.bytes = work.bytes as f64 / seconds,
                }
                Ok(())
            })?;
        }
        Ok(best)
    }

    /// The share of the time that no kernel could avoid: of its operations or of its bytes,
    /// whichever takes longer.
    fn percent(&self, work: Work, seconds: f64) -> f64 {
        let least = (work.flops as f64 / self.flops).max(work.bytes as f64 / self.bytes);
        100.0 * least / seconds
    }
}

/// The fastest first.
fn all_seconds(gpu: &Gpu, op: &dyn Op, effort: Effort) -> crate::Result<Vec<f64>> {
    let start = Instant::now();
    let selection = gpu.caps().select(op.kernel(), &op.context())?;
    let mut all = Vec::new();
    while all.len() < 2 || all.len() < effort.runs && start.elapsed().as_secs_f64() < effort.seconds
    {
        all.push(gpu.seconds(op, &selection)?);
    }
    // The first one compiles.
    let mut timed = all.split_off(1);
    timed.sort_by(f64::total_cmp);
    Ok(timed)
}

/// Times a case's operations at a size, those whose variants are `wanted`: a row for each by the
/// median.
pub(in crate::cli) fn time(
    inputs: &Inputs,
    case: &Case,
    size: Size,
    (ceilings, effort): (Ceilings, Effort),
    wanted: &dyn Fn(&str) -> bool,
    each: &mut dyn FnMut(Value) -> crate::Result<()>,
) -> crate::Result<()> {
    let gpu = inputs.gpu();
    (case.run)(inputs, size, &mut |op| {
        let name = gpu.caps().select(op.kernel(), &op.context())?.name();
        if !wanted(&name) {
            return Ok(());
        }
        let timed = all_seconds(gpu, op, effort)?;
        each(row(gpu, &name, size, timed[timed.len() / 2], op.work(), ceilings))
    })
}

/// Kernel and rest of a variant's name.
pub(in crate::cli) fn parted(variant: &str) -> (&str, &str) {
    let (kernel, rest) = variant.split_once('[').unwrap_or((variant, ""));
    (kernel, rest.trim_end_matches(']'))
}

fn row(
    gpu: &Gpu,
    name: &str,
    [m, n, k]: Size,
    seconds: f64,
    work: Work,
    ceilings: Ceilings,
) -> Value {
    let (kernel, variant) = parted(name);
    json!({
        "name": kernel,
        "shape": format!("{m}x{n}x{k}"),
        "variant": variant,
        "adapter": gpu.caps().adapter.name,
        "ms": seconds * 1e3,
        "gflops": work.flops as f64 / seconds / 1e9,
        "gbps": work.bytes as f64 / seconds / 1e9,
        "percent_of_ceiling": ceilings.percent(work, seconds),
        "flops": work.flops,
        "bytes": work.bytes,
    })
}
