//! What became of rows that were read.

use serde::{Deserialize, Serialize};

/// What became of the rows, in counts, so that a caller can tell the user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetReport {
    /// Rows in the files.
    pub rows_read: usize,
    /// Rows in the dataset.
    pub rows_kept: usize,
    /// Rows that were longer than `max_length` and lost their end.
    pub rows_cut: usize,
    /// Those of them whose last target was lost: the answer does not end.
    pub rows_answer_cut: usize,
    /// Rows left out because no token of theirs is a target (after cutting).
    pub rows_without_target: usize,
    /// Rows whose prompt, tokenized alone, is not how prompt + completion begins; their targets
    /// begin at the first token that differs, as TRL's. A prompt that ends in a space is the usual
    /// cause.
    pub rows_prompt_mismatch: usize,
    /// Rows that begin with two BOS: their text has one, and the tokenizer puts one in front.
    pub rows_bos_twice: usize,
    /// Rows of texts that nothing ends: the model has no EOS.
    pub rows_without_eos: usize,
    /// Tokens in the dataset.
    pub tokens: usize,
    /// Targets in the dataset.
    pub target_tokens: usize,
    /// Tokens of the longest row before cutting.
    pub longest: usize,
}
