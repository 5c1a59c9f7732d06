//! The flags of `evaluate`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::ModelArgs;

/// Judge a model on products whose price is known.
#[derive(Debug, Args)]
pub(in crate::cli) struct EvaluateArgs {
    /// The fine-tuned adapter, a PEFT folder; the base model is judged beside it.
    #[arg(long)]
    pub(super) adapter: Option<String>,
    /// Test rows: {"prompt", "completion"} as `prepare` writes them.
    #[arg(long, value_name = "FILE")]
    pub(super) data: PathBuf,
    /// Training rows: the baselines are fitted on them.
    #[arg(long, value_name = "FILE")]
    pub(super) train_data: Option<PathBuf>,
    /// Validation rows: the blend's weights and the interval's temperature are fitted on them and
    /// kept beside the adapter.
    #[arg(long, value_name = "FILE", requires = "adapter")]
    pub(super) validation_data: Option<PathBuf>,
    /// Only the first N test rows (the course: 200).
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<usize>,
    /// Folder for report.json, report.html, report.png and predictions.jsonl.
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Do not judge the base model beside the adapter.
    #[arg(long)]
    pub(super) skip_base: bool,
    /// Prompts in a forward pass.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(super) batch_size: usize,
    /// Tokens of the greedy answer.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(super) max_new_tokens: usize,
    /// Where numbers are several tokens: the share of their probability that is followed to its
    /// end.
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    pub(super) price_mass: f64,
    /// Forget the predictions of an interrupted evaluation.
    #[arg(long)]
    pub(super) restart: bool,
    #[command(flatten)]
    pub(super) model: ModelArgs,
}
