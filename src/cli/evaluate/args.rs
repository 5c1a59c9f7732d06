//! The flags of `evaluate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::args::ModelArgs;

/// What a model is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Task {
    /// What a product costs.
    Price,
    /// Anything.
    Text,
}

/// Judge a model on rows that it was not trained on.
#[derive(Debug, Args)]
pub(in crate::cli) struct EvaluateArgs {
    /// The fine-tuned adapter, a PEFT folder; the base model is judged beside it.
    #[arg(long)]
    pub(super) adapter: Option<String>,
    /// Test rows: of prices {"prompt", "completion"} as `prepare` writes them, of texts any rows
    /// that `train` reads.
    #[arg(long, value_name = "FILE")]
    pub(super) data: PathBuf,
    /// price: dollars, with intervals and baselines; text: any task, by its loss and by answers
    /// beside the truth.
    #[arg(long, default_value = "price")]
    pub(super) task: Task,
    /// Of texts: an expression that finds a number in answer and truth (its first group), to
    /// measure its mean absolute error.
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true)]
    pub(super) extract: Option<String>,
    /// Of texts: columns with other names, as for `train`.
    #[arg(long, value_name = "OURS=THEIRS,...", value_delimiter = ',')]
    pub(super) map: Vec<String>,
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
    /// Tokens of the greedy answer [default: 5 of prices, 128 of texts].
    #[arg(long, value_name = "N")]
    pub(super) max_new_tokens: Option<usize>,
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

impl EvaluateArgs {
    /// Tokens of a greedy answer, at most: of prices the course's number.
    pub(super) fn answer_tokens(&self) -> usize {
        self.max_new_tokens.unwrap_or(match self.task {
            Task::Price => 5,
            Task::Text => 128,
        })
    }

    /// `base`, `fine_tuned`: the models that are judged, in this order.
    pub(super) fn judged(&self) -> Vec<&'static str> {
        let base = self.adapter.is_none() || !self.skip_base;
        let both = [("base", base), ("fine_tuned", self.adapter.is_some())];
        both.into_iter().filter_map(|(name, judged)| judged.then_some(name)).collect()
    }
}
