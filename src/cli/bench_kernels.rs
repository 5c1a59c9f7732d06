//! `bench [FILTER]`: device time of each kernel, by timestamp queries where the adapter has them.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Result, bail};
use serde_json::json;

use super::args::{BenchArgs, Inspect};
use super::model::Session;
use crate::Error;
use crate::gpu::{Access, Gpu, Host, HostBuffers, Op, Policy, Work, difference};
use crate::kernels;
use crate::kernels::cases::{CASES, Case, Inputs};

/// A kernel is timed this often, or as often as fits into [`SECONDS`].
const MOST: usize = 20;
const SECONDS: f64 = 0.5;

/// M × N × K.
type Shape = [usize; 3];

fn parse(shape: &str) -> Result<Shape, Error> {
    let numbers: Vec<usize> = shape.split('x').filter_map(|n| n.parse().ok()).collect();
    match *numbers.as_slice() {
        [m, n, k] if m * n * k > 0 && shape.split('x').count() == 3 => Ok([m, n, k]),
        _ => Err(Error::invalid(
            format!("--shape {shape}"),
            "should be MxNxK, such as 512x2048x2048",
        )),
    }
}

/// The policies to walk: the default, or enough to meet every variant that the adapter runs.
fn policies(all: bool) -> Vec<Policy> {
    if !all {
        return vec![Policy::from_env()];
    }
    let bodies = kernels::ALL.iter().flat_map(|kernel| kernel.bodies);
    let names: BTreeSet<&str> = bodies.map(|body| body.name).collect();
    let modules = ["reduce_subgroup", "reduce_workgroup"];
    let named = names.into_iter().filter(|name| *name != "baseline").chain(modules);
    [Policy::Auto, Policy::Baseline]
        .into_iter()
        .chain(named.map(|name| Policy::Prefer(name.to_owned())))
        .collect()
}

pub(super) async fn run(session: &Session, args: &BenchArgs) -> Result<()> {
    let shape = args.shape.as_deref().map(parse).transpose()?;
    let filter = args.filter.as_deref().unwrap_or_default();
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for policy in policies(args.all_variants) {
        let gpu = session.gpu(Inspect::default(), Some(policy)).await?;
        if seen.is_empty() {
            session.printer.line(format!(
                "{:<58} {:>15} {:>10} {:>9} {:>8}",
                "kernel", "shape", "ms", "GFLOP/s", "GB/s"
            ))?;
        }
        let inputs = Inputs::new(&gpu);
        for case in CASES {
            let size = shape.unwrap_or(case.usual);
            let names = due(case, &inputs, filter, &mut seen)?;
            if names.is_empty() {
                continue;
            }
            let wanted = |op: &dyn Op| -> crate::Result<Option<String>> {
                let name = gpu.caps().select(op.kernel(), &op.roles())?.name();
                Ok(names.contains(&name).then_some(name))
            };
            let small = small(case, size);
            let mut verified = BTreeSet::new();
            (case.run)(&inputs, small, &mut |op| {
                let Some(name) = wanted(op)? else { return Ok(()) };
                match disagreement(&gpu, op)? {
                    None => drop(verified.insert(name)),
                    Some(why) => {
                        session.printer.warn(format!("{name} is not timed: {why}"));
                        wrong.push(name);
                    }
                }
                Ok(())
            })?;
            (case.run)(&inputs, size, &mut |op| {
                let Some(name) = wanted(op)? else { return Ok(()) };
                if !verified.contains(&name) {
                    return Ok(());
                }
                let seconds = median_seconds(&gpu, op)?;
                report(session, &gpu, &name, size, seconds, op.work())
                    .map_err(|e| Error::invalid("stdout", e))
            })?;
        }
    }
    if seen.is_empty() {
        let names: Vec<&str> = CASES.iter().map(|case| case.kernel).collect();
        bail!("no kernel variant contains `{filter}`; kernels are {}", names.join(", "));
    }
    if !wrong.is_empty() {
        bail!(
            "{} of {} variants disagree with their CPU twins: {}",
            wrong.len(),
            seen.len(),
            wrong.join(", ")
        );
    }
    Ok(())
}

/// The case's small size, with what decides the body as in the size that is timed: alignment of weights,
/// and the dimension of heads.
fn small(case: &Case, size: Shape) -> Shape {
    let [m, n, k] = case.small;
    if case.kernel.starts_with("attention") {
        return [m, n, size[2]];
    }
    if !case.kernel.starts_with("linear") && case.kernel != "dora_norm" {
        return case.small;
    }
    let n = if size[1].is_multiple_of(4) { n } else { n + 1 };
    let k = match size[2] {
        of if of.is_multiple_of(64) => k,
        of if of.is_multiple_of(8) => k - 8,
        _ => k - 1,
    };
    [m, n, k]
}

/// Names of the case's variants that match and were not met before.
fn due(
    case: &Case,
    inputs: &Inputs,
    filter: &str,
    seen: &mut BTreeSet<String>,
) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let kernel = kernels::ALL.iter().find(|k| k.name == case.kernel);
    let variants = kernel.map(|kernel| inputs.gpu().caps().variants(&[kernel])).unwrap_or_default();
    for name in variants.into_values() {
        if name.contains(filter) && seen.insert(name.clone()) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Runs an operation and its twin: why they do not agree, or `None`.
fn disagreement(gpu: &Gpu, op: &dyn Op) -> crate::Result<Option<String>> {
    let tensors = op.tensors();
    let read = || -> crate::Result<Vec<Host>> {
        tensors.iter().map(|t| Ok(Host(pollster::block_on(gpu.read_words(t))?))).collect()
    };
    let mut twin = HostBuffers(read()?);
    let mut rec = gpu.recorder("bench");
    rec.record(op)?;
    rec.submit()?;
    op.twin(&mut twin);
    let device = read()?;
    for (at, (binding, access)) in op.kernel().bindings.iter().enumerate() {
        if *access == Access::Read {
            continue;
        }
        let error = difference(&device[at], &twin.0[at], tensors[at].elem());
        if error.is_nan() || error > op.bound() {
            return Ok(Some(format!("`{binding}` differs by {error:e}, bound {:e}", op.bound())));
        }
    }
    Ok(None)
}

/// By timestamps where there are any, else by the clock around a submission.
fn median_seconds(gpu: &Gpu, op: &dyn Op) -> crate::Result<f64> {
    let start = Instant::now();
    let mut all = Vec::new();
    while all.len() < MOST && (all.len() < 2 || start.elapsed().as_secs_f64() < SECONDS) {
        gpu.profile(true);
        let clock = Instant::now();
        let mut rec = gpu.recorder("bench");
        rec.record(op)?;
        pollster::block_on(rec.finish())?;
        let took = clock.elapsed().as_secs_f64();
        let profile = gpu.profile(false);
        let ns = profile.map(|p| p.rows.values().map(|row| row.ns).sum::<f64>());
        all.push(ns.map_or(took, |ns| ns / 1e9));
    }
    // The first one compiles.
    let timed = &mut all[1..];
    timed.sort_by(f64::total_cmp);
    Ok(timed[timed.len() / 2])
}

fn report(
    session: &Session,
    gpu: &Gpu,
    name: &str,
    [m, n, k]: Shape,
    seconds: f64,
    work: Work,
) -> Result<()> {
    let (kernel, variant) = name.split_once('[').unwrap_or((name, ""));
    let variant = variant.trim_end_matches(']');
    let shape = format!("{m}x{n}x{k}");
    let (gflops, gbps) = (work.flops as f64 / seconds / 1e9, work.bytes as f64 / seconds / 1e9);
    session.printer.object(&json!({
        "name": kernel,
        "shape": shape,
        "variant": variant,
        "adapter": gpu.caps().adapter.name,
        "ms": seconds * 1e3,
        "gflops": gflops,
        "gbps": gbps,
        "percent_of_ceiling": null,
    }))?;
    session
        .printer
        .line(format!("{name:<58} {shape:>15} {:>10.3} {gflops:>9.1} {gbps:>8.2}", seconds * 1e3))
}
