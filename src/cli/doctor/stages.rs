//! What a stage does, in its own process.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::{Value, json};

use super::line::Line;
use super::{DoctorArgs, Fault, Stage, speed};
use crate::cli::args::Inspect;
use crate::cli::info::facts;
use crate::cli::session::{Session, measure};
use crate::gpu::{Gpu, Policy, Tuning, adapters};
use crate::kernels::{ALL, Contest};
use crate::selftest::{self, Check};

/// Where a stage stands: its flags, and whom it tells.
pub(super) struct Stand<'a> {
    pub(super) session: &'a Session,
    pub(super) args: &'a DoctorArgs,
    pub(super) stage: Stage,
}

/// Kernels at which a driver may fail before the others are left out.
const MOST_FAILURES: usize = 8;

impl Stand<'_> {
    /// Does what the stage does. **Errors** end it; what is wrong is told.
    pub(super) async fn run(&self) -> Result<()> {
        if self.is_planted(Fault::Hang) {
            loop {
                std::thread::park();
            }
        }
        if self.is_planted(Fault::Crash) {
            std::process::abort();
        }
        match self.stage {
            Stage::Adapter => self.adapter().await,
            Stage::Kernels => self.kernels().await,
            Stage::Training => self.training().await,
            Stage::Variants => self.variants().await,
            Stage::Speed => speed::run(self).await,
        }
    }

    fn is_planted(&self, fault: Fault) -> bool {
        self.args.is_planted(self.stage, fault)
    }

    fn tell(&self, line: Line) -> Result<()> {
        self.session.printer.object(&line)
    }

    pub(super) fn doing(&self, what: impl Into<String>) -> Result<()> {
        self.tell(Line::Doing(what.into()))
    }

    pub(super) fn field(&self, name: &str, value: Value) -> Result<()> {
        self.tell(Line::Field(name.into(), value))
    }

    pub(super) fn row(&self, list: &str, row: Value) -> Result<()> {
        self.tell(Line::Row(list.into(), row))
    }

    pub(super) fn wrong(&self, what: impl Into<String>) -> Result<()> {
        self.tell(Line::Wrong(what.into()))
    }

    pub(super) fn summary(&self, found: impl Into<String>) -> Result<()> {
        self.tell(Line::Summary(found.into()))
    }

    /// The device as other commands open it, or under a policy as it is shipped.
    pub(super) async fn gpu(&self, policy: Option<Policy>) -> Result<Gpu> {
        let gpu = match policy {
            None => self.session.gpu(Inspect::default(), None).await?,
            Some(policy) => self.session.open(Inspect::default(), policy, Tuning::Shipped).await?,
        };
        if self.is_planted(Fault::Lost) {
            gpu.destroy();
        }
        Ok(gpu)
    }

    async fn adapter(&self) -> Result<()> {
        let found = adapters().await;
        let gpu = self.gpu(None).await?;
        let (caps, adapter) = (gpu.caps(), &gpu.caps().adapter);
        self.field("adapter", adapter.name.clone().into())?;
        self.field("driver", adapter.driver.clone().into())?;
        self.field("info", facts(&found, &gpu))?;
        gpu.check("opening")?;
        self.summary(format!("{} ({}, {}), {caps}", adapter.name, adapter.backend, adapter.driver))
    }

    async fn kernels(&self) -> Result<()> {
        let mut met = BTreeSet::new();
        let (mut checked, mut wrong, mut failed, mut worst) = (0, 0, 0, 0f32);
        let planted = self.is_planted(Fault::Wrong).then_some("baseline");
        let all = ["auto"].into_iter().chain(Policy::names(ALL));
        let mut names = all.filter(|name| !self.args.brief || ["auto", "baseline"].contains(name));
        let mut next = names.next();
        while let Some(name) = next {
            let gpu = self.gpu(Some(Policy::named(name, ALL)?)).await?;
            let all: BTreeSet<String> = gpu.caps().variants(ALL).into_values().collect();
            if self.args.brief {
                met.extend(all.iter().filter(|v| !v.starts_with("attention_fwd")).cloned());
            }
            let due = all.difference(&met).count();
            if due == 0 {
                next = names.next();
                continue;
            }
            self.doing(format!("{due} variants that `{name}` runs"))?;
            let mut told = Ok(());
            let mut tell = |check: Check| {
                checked += 1;
                wrong += usize::from(!check.ok);
                worst = worst.max(check.error / check.bound);
                if told.is_ok() {
                    told = self.checked(&check);
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
                    self.wrong(format!("variants that `{name}` runs: {error}"))?;
                }
            }
        }
        if checked == 0 {
            return self.wrong("no kernel could be run");
        }
        let of = format!("{checked} variants, {wrong} differ from their CPU twins");
        self.summary(format!("{of}; the worst has {:.0} % of its bound", 100.0 * worst))
    }

    fn checked(&self, check: &Check) -> Result<()> {
        self.row("checks", serde_json::to_value(check)?)?;
        if check.ok {
            return Ok(());
        }
        let Check { variant, error, bound, .. } = check;
        self.wrong(format!(
            "{variant} differs from its CPU twin by {error:e}, allowed are {bound:e}"
        ))
    }

    async fn training(&self) -> Result<()> {
        let mut found = Vec::new();
        for (name, policy) in [("default", None), ("baseline", Some(Policy::Baseline))] {
            self.doing(format!("twenty steps, {name} variants"))?;
            let gpu = self.gpu(policy).await?;
            let probe = selftest::training(&gpu).await?;
            for (what, deviation) in [("losses", probe.loss), ("gradient norms", probe.grad_norm)] {
                let (error, bound) = (deviation.error, deviation.bound);
                if !deviation.ok() {
                    self.wrong(format!(
                        "{what} of {name} variants differ from PyTorch's by {error:e}, allowed are {bound:e}"
                    ))?;
                }
            }
            if !probe.repeats {
                self.wrong(format!("two runs of {name} variants end with other bytes"))?;
            }
            if !probe.resumes {
                self.wrong(format!("a resumed run of {name} variants ends with other bytes"))?;
            }
            found.push(format!("{name}: losses within {:.1e}", probe.loss.error));
            let mut row = serde_json::to_value(&probe)?;
            row["variants"] = name.into();
            self.row("training", row)?;
        }
        self.summary(format!("twenty steps against PyTorch, {}", found.join(", ")))
    }

    async fn variants(&self) -> Result<()> {
        let gpu = self.gpu(Some(Policy::Auto)).await?;
        self.doing("matrix products in all bodies that may be chosen")?;
        let tuned = measure(&gpu)?;
        for contest in &tuned.contests {
            let Contest { context, bodies, seconds } = contest;
            let ms = bodies.iter().zip(seconds).map(|(body, s)| ((*body).to_owned(), s * 1e3));
            self.row(
                "contests",
                json!({
                    "context": context,
                    "ships": bodies[0],
                    "chosen": bodies[contest.winner()],
                    "ms": ms.collect::<BTreeMap<_, _>>(),
                }),
            )?;
        }
        self.field("choices", serde_json::to_value(&tuned.choices.bodies)?)?;
        if gpu.caps().is_untuned() {
            self.session.keep(&tuned.choices, &gpu);
        }
        let (others, all) = (tuned.choices.bodies.len(), tuned.contests.len());
        let left = match tuned.left_out {
            0 => String::new(),
            n => format!("; no time was left for {n}"),
        };
        self.summary(format!(
            "of {all} products {others} would run another body than shipped{left}"
        ))
    }
}
