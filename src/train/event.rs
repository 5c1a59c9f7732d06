//! What a run says: the lines of `metrics.jsonl`, and the events that the caller pulls.

use std::path::PathBuf;

use serde::Serialize;

/// A step, or the steps since the last line of `metrics.jsonl` as its next one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepLine {
    /// Optimizer steps done.
    pub step: u64,
    /// Epochs done, with the fraction of the present one.
    pub epoch: f64,
    /// Mean NLL of the step's targets, before the step; of several steps the mean of theirs, as the
    /// Trainer logs it.
    pub loss: f64,
    /// Of this step; of several the last one's.
    pub learning_rate: f64,
    /// L2 norm of the gradient before clipping; of several steps the last one's.
    pub grad_norm: f64,
    /// Targets of the step, or of the steps.
    pub target_tokens: usize,
    /// Tokens of the step or the steps, without padding, over their time.
    pub tokens_per_second: f64,
    /// Time trained so far.
    pub seconds: f64,
    /// Activations of the step, or of the steps, that `precision = "mixed"` clamped to ± 65504:
    /// their gradients are not exact.
    #[serde(skip_serializing_if = "is_zero")]
    pub clamped: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's call shape")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// An evaluation's line in `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvalLine {
    /// Optimizer steps done.
    pub step: u64,
    /// Mean NLL of the held-out targets.
    pub eval_loss: f64,
    /// Whether it is the lowest so far: `best/` was replaced.
    #[serde(skip)]
    pub best: bool,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Optimizer steps done.
    pub steps: u64,
    /// Whether evaluations without improvement ended it.
    pub stopped_early: bool,
    /// Lowest evaluation loss, and its step.
    pub best: Option<(f64, u64)>,
    /// Time trained.
    pub seconds: f64,
    /// The adapter's folder.
    pub adapter: PathBuf,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A step was done.
    Step {
        /// Its own numbers.
        step: StepLine,
        /// The line that went to `metrics.jsonl` with it.
        logged: Option<StepLine>,
    },
    /// Held-out rows were evaluated.
    Eval(EvalLine),
    /// A checkpoint was written there.
    Saved(PathBuf),
    /// The run is over.
    Done(Summary),
}
