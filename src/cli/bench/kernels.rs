//! `bench [FILTER]`: device time of each kernel, by timestamp queries where the adapter has them.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::Value;

use super::shapes::{MODELS, ROWS, Size, sizes};
use super::timing::{Ceilings, Effort, time};
use crate::Error;
use crate::cli::args::Inspect;
use crate::cli::session::{Session, policy_from_env};
use crate::format::ModelShape;
use crate::gpu::{Gpu, Policy};
use crate::kernels;
use crate::kernels::cases::{Case, Inputs, STORAGES};

#[derive(Debug, Args)]
pub(super) struct KernelArgs {
    /// Kernels whose name contains this; all otherwise.
    filter: Option<String>,
    /// Sizes M, N, K: rows, output features, input features.
    #[arg(long, value_name = "MxNxK")]
    shape: Option<String>,
    /// Every variant that the adapter runs, not only the one that it would choose.
    #[arg(long)]
    all_variants: bool,
    /// Time for kernels at the sizes of real models; what does not fit is left out.
    #[arg(long, value_name = "S", default_value_t = 120.0)]
    seconds: f64,
}

impl KernelArgs {
    /// Whether something is asked that only kernels have.
    pub(super) fn any(&self) -> bool {
        self.filter.is_some() || self.shape.is_some() || self.all_variants
    }
}

fn parse(shape: &str) -> Result<Size, Error> {
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
fn policies(all: bool) -> Result<Vec<Policy>> {
    if !all {
        return Ok(vec![policy_from_env()?]);
    }
    let names = ["auto"].into_iter().chain(Policy::names(kernels::ALL));
    names.map(|name| Ok(Policy::named(name, kernels::ALL)?)).collect()
}

/// Variants that equal their twins, those that do not, and those that were met.
#[derive(Default)]
struct Verdicts {
    seen: BTreeSet<String>,
    fine: BTreeSet<String>,
    wrong: Vec<String>,
}

pub(super) async fn run(session: &Session, args: &KernelArgs) -> Result<()> {
    let shape = args.shape.as_deref().map(parse).transpose()?;
    let filter = args.filter.as_deref().unwrap_or_default();
    let start = Instant::now();
    let mut verdicts = Verdicts::default();
    for policy in policies(args.all_variants)? {
        let gpu = session.gpu(Inspect::default(), Some(policy)).await?;
        let ceilings = Ceilings::measure(&gpu)?;
        if verdicts.seen.is_empty() {
            session.printer.line(format!(
                "{}: {:.1} GFLOP/s of f32 multiply-adds, {}, {:.1} GB/s of copies\n",
                gpu.caps().adapter.name,
                ceilings.flops / 1e9,
                match ceilings.half_flops {
                    Some(flops) => format!("{:.1} of f16", flops / 1e9),
                    None => "no f16".into(),
                },
                ceilings.bytes / 1e9
            ))?;
            session.printer.line(format!(
                "{:<58} {:>15} {:>10} {:>9} {:>8} {:>9}",
                "kernel", "shape", "ms", "GFLOP/s", "GB/s", "% ceiling"
            ))?;
        }
        let before = verdicts.seen.clone();
        for case in kernels::cases() {
            verify(session, &gpu, case, shape.unwrap_or(case.usual), filter, &mut verdicts)?;
        }
        let due: BTreeSet<String> = verdicts.fine.difference(&before).cloned().collect();
        let time = |case: &Case, size: Size, storages| {
            let inputs = Inputs::stored(&gpu, storages).with_half(true);
            let told = &mut |row| report(session, row).map_err(|e| Error::invalid("stdout", e));
            time(&inputs, case, size, (ceilings, Effort::FULL), &|name| due.contains(name), told)
        };
        if shape.is_some() || args.all_variants {
            let met = |case: &&Case| {
                due.iter().any(|name| name.split('[').next() == Some(case.kernel.name))
            };
            for case in kernels::cases().filter(met) {
                time(case, shape.unwrap_or(case.usual), STORAGES)?;
            }
            continue;
        }
        let mut left_out = 0;
        let over = || start.elapsed().as_secs_f64() > args.seconds;
        for name in MODELS {
            let model = &ModelShape::named(name)?.config();
            for m in ROWS {
                let rows = kernels::cases().flat_map(|case| {
                    sizes(case, model, m).into_iter().map(move |(size, kept)| (case, size, kept))
                });
                for (case, size, storages) in
                    rows.filter(|(case, ..)| case.kernel.name.contains(filter))
                {
                    match over() {
                        true => left_out += 1,
                        false => time(case, size, storages)?,
                    }
                }
            }
            if !over() {
                session.printer.note(format!("{name}: done"));
            }
        }
        // Kernels without rows.
        let first = ModelShape::named(MODELS[0])?.config();
        for case in kernels::cases().filter(|case| sizes(case, &first, 512).is_empty()) {
            time(case, case.usual, STORAGES)?;
        }
        if left_out > 0 {
            session.printer.note(format!(
                "{left_out} sizes are left out after {:.0} s: see --seconds, or filter",
                args.seconds
            ));
        }
    }
    let Verdicts { seen, wrong, .. } = verdicts;
    if seen.is_empty() {
        let names: Vec<&str> = kernels::cases().map(|case| case.kernel.name).collect();
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

/// Compares the case's new variants with their twins, on a small size.
fn verify(
    session: &Session,
    gpu: &Gpu,
    case: &Case,
    size: Size,
    filter: &str,
    verdicts: &mut Verdicts,
) -> Result<()> {
    let inputs = Inputs::new(gpu).with_half(true);
    let names = due(case, &inputs, filter, &mut verdicts.seen)?;
    if names.is_empty() {
        return Ok(());
    }
    for size in small_sizes(case, size) {
        (case.run)(&inputs, size, &mut |op| {
            let selection = gpu.caps().select(op.kernel(), &op.context())?;
            let name = selection.name();
            if !names.contains(&name) || verdicts.fine.contains(&name) {
                return Ok(());
            }
            match gpu.disagreement(op, &selection)? {
                None => drop(verdicts.fine.insert(name)),
                Some(why) => {
                    session.printer.warn(format!("{name} is not timed: {why}"));
                    verdicts.wrong.push(name);
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The case's small size, with what decides the body as in the size that is timed: alignment of
/// weights, and the dimension of heads.
fn small(case: &Case, size: Size) -> Size {
    let [m, n, k] = case.small[0];
    if case.kernel.name.starts_with("attention") {
        return [m, n, size[2]];
    }
    if !case.kernel.name.starts_with("linear") && case.kernel.name != "dora_norm" {
        return case.small[0];
    }
    let n = if size[1].is_multiple_of(4) { n } else { n + 1 };
    let k = match size[2] {
        of if of.is_multiple_of(64) => k,
        of if of.is_multiple_of(8) => k - 8,
        _ => k - 1,
    };
    [m, n, k]
}

/// Small sizes that meet every body, the one like `size` first.
fn small_sizes(case: &Case, size: Size) -> Vec<Size> {
    [vec![small(case, size)], case.small.to_vec()].concat()
}

/// Names of the case's variants that match and were not met before.
fn due(
    case: &Case,
    inputs: &Inputs,
    filter: &str,
    seen: &mut BTreeSet<String>,
) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for name in inputs.gpu().caps().variants(&[case.kernel]).into_values() {
        if name.contains(filter) && seen.insert(name.clone()) {
            names.push(name);
        }
    }
    Ok(names)
}

fn report(session: &Session, row: Value) -> Result<()> {
    session.printer.object(&row)?;
    let text = |key: &str| row[key].as_str().unwrap_or_default();
    let number = |key: &str| row[key].as_f64().unwrap_or(f64::NAN);
    let name = format!("{}[{}]", text("name"), text("variant"));
    session.printer.line(format!(
        "{name:<58} {:>15} {:>10.3} {:>9.1} {:>8.2} {:>9.1}",
        text("shape"),
        number("ms"),
        number("gflops"),
        number("gbps"),
        number("percent_of_ceiling")
    ))
}
