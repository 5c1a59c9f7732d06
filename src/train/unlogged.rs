//! What the next line of `metrics.jsonl` will say.

use serde::{Deserialize, Serialize};

use super::event::StepLine;
use super::exact;

/// The steps since the last line of `metrics.jsonl`, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Unlogged {
    /// Their number.
    pub steps: u64,
    /// Sum of their losses.
    #[serde(with = "exact::number")]
    pub loss: f64,
    /// Their targets.
    pub target_tokens: usize,
    /// Their tokens, without padding.
    pub tokens: usize,
    /// Their time.
    #[serde(with = "exact::number")]
    pub seconds: f64,
    /// Their clamped activations.
    #[serde(default)]
    pub clamped: u64,
}

impl Unlogged {
    /// Adds a step of so many tokens and seconds.
    pub fn add(&mut self, step: &StepLine, tokens: usize, seconds: f64) {
        self.steps += 1;
        self.loss += step.loss;
        self.target_tokens += step.target_tokens;
        self.tokens += tokens;
        self.seconds += seconds;
        self.clamped += step.clamped;
    }

    /// The line of all steps, the last of which was `last`; begins anew.
    ///
    /// **Source** transformers `Trainer._maybe_log_save_evaluate`: the loss is the mean over steps,
    /// rate and norm are the last step's.
    pub fn take(&mut self, last: &StepLine) -> StepLine {
        let all = std::mem::take(self);
        StepLine {
            loss: all.loss / all.steps.max(1) as f64,
            target_tokens: all.target_tokens,
            tokens_per_second: all.tokens as f64 / all.seconds,
            clamped: all.clamped,
            ..last.clone()
        }
    }
}
