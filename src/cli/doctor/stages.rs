//! What a stage does.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::json;

use super::args::{Fault, Stage};
use super::speed;
use super::stand::Stand;
use crate::cli::info::facts;
use crate::cli::session::measure;
use crate::gpu::{Policy, adapters};
use crate::kernels::{ALL, Contest};
use crate::selftest::{self, Check};

/// Seconds that measuring bodies takes at most, unless the environment says otherwise: nobody waits
/// for a run to begin.
const TUNE_SECONDS: u64 = 30;

/// Kernels at which a driver may fail before the others are left out.
const MOST_FAILURES: usize = 8;

/// Does what the stage does. **Errors** end it; what is wrong is told.
pub(super) async fn run(stand: &Stand<'_>) -> Result<()> {
    if stand.is_planted(Fault::Hang) {
        loop {
            std::thread::park();
        }
    }
    if stand.is_planted(Fault::Crash) {
        std::process::abort();
    }
    match stand.stage {
        Stage::Adapter => adapter(stand).await,
        Stage::Kernels => kernels(stand).await,
        Stage::Training => training(stand).await,
        Stage::Variants => variants(stand).await,
        Stage::Speed => speed::run(stand).await,
    }
}

async fn adapter(stand: &Stand<'_>) -> Result<()> {
    let found = adapters().await;
    let gpu = stand.gpu(None).await?;
    let (caps, adapter) = (gpu.caps(), &gpu.caps().adapter);
    stand.field("adapter", adapter.name.clone().into())?;
    stand.field("driver", adapter.driver.clone().into())?;
    stand.field("info", facts(&found, &gpu))?;
    gpu.check("opening")?;
    stand.summary(format!("{} ({}, {}), {caps}", adapter.name, adapter.backend, adapter.driver))
}

async fn kernels(stand: &Stand<'_>) -> Result<()> {
    let mut met = BTreeSet::new();
    let (mut checked, mut wrong, mut failed, mut worst) = (0, 0, 0, 0f32);
    let planted = stand.is_planted(Fault::Wrong).then_some("baseline");
    let all = ["auto"].into_iter().chain(Policy::names(ALL));
    let mut names = all.filter(|name| !stand.args.brief || ["auto", "baseline"].contains(name));
    let mut next = names.next();
    while let Some(name) = next {
        let gpu = stand.gpu(Some(Policy::named(name, ALL)?)).await?;
        let all: BTreeSet<String> = gpu.caps().variants(ALL).into_values().collect();
        if stand.args.brief {
            met.extend(all.iter().filter(|v| !v.starts_with("attention_fwd")).cloned());
        }
        let due = all.difference(&met).count();
        if due == 0 {
            next = names.next();
            continue;
        }
        stand.doing(format!("{due} variants that `{name}` runs"))?;
        let mut told = Ok(());
        let mut tell = |check: Check| {
            checked += 1;
            wrong += usize::from(!check.ok);
            worst = worst.max(check.error / check.bound);
            if told.is_ok() {
                told = checked_one(stand, &check);
            }
        };
        let ran = selftest::kernels(&gpu, &mut met, planted, &mut tell).await;
        told?;
        match ran {
            Ok(()) => next = names.next(),
            // Nothing works here, or not for long.
            Err(error) if failed == MOST_FAILURES => return Err(error.into()),
            // A new device goes on behind the kernel.
            Err(error) => {
                failed += 1;
                stand.wrong(format!("variants that `{name}` runs: {error}"))?;
            }
        }
    }
    if checked == 0 {
        return stand.wrong("no kernel could be run");
    }
    let of = format!("{checked} variants, {wrong} differ from their CPU twins");
    stand.summary(format!("{of}; the worst has {:.0} % of its bound", 100.0 * worst))
}

fn checked_one(stand: &Stand<'_>, check: &Check) -> Result<()> {
    stand.row("checks", serde_json::to_value(check)?)?;
    if check.ok {
        return Ok(());
    }
    let Check { variant, error, bound, .. } = check;
    stand.wrong(format!("{variant} differs from its CPU twin by {error:e}, allowed are {bound:e}"))
}

async fn training(stand: &Stand<'_>) -> Result<()> {
    let mut found = Vec::new();
    for (name, policy) in [("default", None), ("baseline", Some(Policy::Baseline))] {
        stand.doing(format!("twenty steps, {name} variants"))?;
        let gpu = stand.gpu(policy).await?;
        let probe = selftest::training(&gpu).await?;
        for (what, deviation) in [("losses", probe.loss), ("gradient norms", probe.grad_norm)] {
            let (error, bound) = (deviation.error, deviation.bound);
            if !deviation.ok() {
                stand.wrong(format!(
                    "{what} of {name} variants differ from PyTorch's by {error:e}, allowed are {bound:e}"
                ))?;
            }
        }
        if !probe.repeats {
            stand.wrong(format!("two runs of {name} variants end with other bytes"))?;
        }
        if !probe.resumes {
            stand.wrong(format!("a resumed run of {name} variants ends with other bytes"))?;
        }
        found.push(format!("{name}: losses within {:.1e}", probe.loss.error));
        let mut row = serde_json::to_value(&probe)?;
        row["variants"] = name.into();
        stand.row("training", row)?;
    }
    stand.summary(format!("twenty steps against PyTorch, {}", found.join(", ")))
}

async fn variants(stand: &Stand<'_>) -> Result<()> {
    let gpu = stand.measured_gpu().await?;
    stand.doing("matrix products in all bodies that may be chosen")?;
    let tuned = measure(&gpu, TUNE_SECONDS)?;
    for what in &tuned.wrong {
        stand.wrong(format!("{what}; it is not used"))?;
    }
    for contest in &tuned.contests {
        let Contest { context, bodies, seconds } = contest;
        let ms = bodies.iter().zip(seconds).map(|(body, s)| ((*body).to_owned(), s * 1e3));
        stand.row(
            "contests",
            json!({
                "context": context,
                "ships": bodies[0],
                "chosen": bodies[contest.winner()],
                "ms": ms.collect::<BTreeMap<_, _>>(),
            }),
        )?;
    }
    stand.field("choices", serde_json::to_value(&tuned.choices.bodies)?)?;
    if gpu.caps().is_untuned() {
        stand.session.keep(&tuned.choices, &gpu);
    }
    let (others, all) = (tuned.choices.bodies.len(), tuned.contests.len());
    stand.summary(match (all, tuned.left_out) {
        (0, 0) => "no product has several bodies to choose from".into(),
        (0, n) => format!("no time was left for any of {n} products"),
        (_, 0) => format!("of {all} products {others} would run another body than shipped"),
        (_, n) => format!(
            "of {all} products {others} would run another body than shipped; no time was left for {n}"
        ),
    })
}
