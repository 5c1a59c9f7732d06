//! The flags of `doctor`, its stages, and what tests can plant in them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(in crate::cli) struct DoctorArgs {
    /// Speed in the shape of SmolLM2-135M instead of Llama 3.2 1B and 3B.
    #[arg(long)]
    pub(super) quick: bool,
    /// Gets doctor.json and doctor.md.
    #[arg(long, value_name = "DIR", default_value = "doctor")]
    pub(super) out: PathBuf,
    /// Runs this stage alone and tells it in lines: what `doctor` starts.
    #[arg(long, value_enum, hide = true)]
    pub(super) stage: Option<Stage>,
    /// For tests: STAGE=FAULT plants one.
    #[arg(long, hide = true, value_parser = plant)]
    pub(super) plant: Vec<(Stage, Fault)>,
    /// For tests: few kernels, and a tiny model.
    #[arg(long, hide = true)]
    pub(super) brief: bool,
}

/// What is looked at, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Stage {
    Adapter,
    Kernels,
    Training,
    Variants,
    Speed,
}

impl Stage {
    pub(super) fn name(self) -> &'static str {
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
pub(super) enum Fault {
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
    pub(super) fn of_stage(&self, stage: Stage) -> Vec<String> {
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
    pub(super) fn limit(&self, stage: Stage) -> Duration {
        Duration::from_secs(match stage {
            _ if self.is_planted(stage, Fault::Hang) => 2,
            Stage::Adapter => 120,
            Stage::Kernels => 1200,
            Stage::Training | Stage::Variants => 600,
            Stage::Speed if self.quick => 900,
            Stage::Speed => 3600,
        })
    }

    pub(super) fn is_planted(&self, stage: Stage, fault: Fault) -> bool {
        self.plant.contains(&(stage, fault))
    }
}
