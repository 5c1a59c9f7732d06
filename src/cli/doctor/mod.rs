//! `doctor`: whether the numbers are right on this adapter, and how far each kernel is from its
//! ceilings. The stages in order here, each in a process of its own ([`child`]), so that a hang, a
//! crash or a lost device in one is named and does not stop the rest; what they tell one another in
//! [`line`], what they do in [`stages`] and [`speed`], what becomes of it in [`report`].

mod child;
mod line;
mod report;
mod speed;
mod stages;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use self::line::Line;
use self::report::Report;
use self::stages::Stand;
use super::session::Session;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Speed in the shape of SmolLM2-135M instead of Llama 3.2 1B and 3B.
    #[arg(long)]
    quick: bool,
    /// Gets doctor.json and doctor.md.
    #[arg(long, value_name = "DIR", default_value = "doctor")]
    out: PathBuf,
    /// Runs this stage alone and tells it in lines: what `doctor` starts.
    #[arg(long, value_enum, hide = true)]
    stage: Option<Stage>,
    /// For tests: STAGE=FAULT plants one.
    #[arg(long, hide = true, value_parser = plant)]
    plant: Vec<(Stage, Fault)>,
    /// For tests: few kernels, and a tiny model.
    #[arg(long, hide = true)]
    brief: bool,
}

/// What is looked at, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stage {
    Adapter,
    Kernels,
    Training,
    Variants,
    Speed,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Adapter => "adapter",
            Stage::Kernels => "kernels",
            Stage::Training => "training",
            Stage::Variants => "variants",
            Stage::Speed => "speed",
        }
    }
}

/// What can be planted in a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fault {
    /// A body that computes something else.
    Wrong,
    /// No end.
    Hang,
    /// A device that is gone.
    Lost,
    /// A process that is gone.
    Crash,
}

fn plant(text: &str) -> Result<(Stage, Fault), String> {
    let (stage, fault) = text.split_once('=').ok_or("should be STAGE=FAULT")?;
    Ok((Stage::from_str(stage, false)?, Fault::from_str(fault, false)?))
}

impl DoctorArgs {
    /// The flags of the process of a stage.
    fn of_stage(&self, stage: Stage) -> Vec<String> {
        let mut flags = vec!["--stage".to_owned(), stage.name().to_owned()];
        flags.extend(self.quick.then(|| "--quick".into()));
        flags.extend(self.brief.then(|| "--brief".into()));
        let name = |fault: &Fault| format!("{fault:?}").to_lowercase();
        for (_, fault) in self.plant.iter().filter(|(at, _)| *at == stage) {
            flags.extend(["--plant".into(), format!("{}={}", stage.name(), name(fault))]);
        }
        flags
    }

    /// What takes longer hangs: several times what a stage takes on two cores without a GPU, and a
    /// moment where it is known to.
    fn limit(&self, stage: Stage) -> Duration {
        Duration::from_secs(match stage {
            _ if self.is_planted(stage, Fault::Hang) => 2,
            Stage::Adapter => 120,
            Stage::Kernels => 1200,
            Stage::Training | Stage::Variants => 600,
            Stage::Speed if self.quick => 900,
            Stage::Speed => 3600,
        })
    }

    fn is_planted(&self, stage: Stage, fault: Fault) -> bool {
        self.plant.contains(&(stage, fault))
    }
}

pub(super) async fn run(session: &Session, args: &DoctorArgs) -> Result<()> {
    if let Some(stage) = args.stage {
        return Stand { session, args, stage }.run().await;
    }
    let printer = &session.printer;
    let clock = Instant::now();
    let mut report = Report::new(args.quick);
    for stage in Stage::value_variants().iter().copied() {
        printer.note(format!("{}: begins", stage.name()));
        let flags = [session.flags(), args.of_stage(stage)].concat();
        let started = Instant::now();
        let end = child::run(&flags, args.limit(stage), &mut |line| {
            if let Line::Doing(what) = &line {
                printer.note(format!("  {what}"));
            }
            report.take(line);
        });
        let told = report.end_stage(stage.name(), end, started.elapsed());
        printer.note(format!("{}: {told}", stage.name()));
    }
    report.finish(clock.elapsed());
    report.write(&args.out)?;
    printer.object(report.document())?;
    printer.line(report.summary())?;
    printer.line(format!("{}: paste it into an issue", args.out.join("doctor.md").display()))?;
    if !report.ok() {
        bail!("{}", report.verdict());
    }
    Ok(())
}
