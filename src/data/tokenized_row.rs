//! A row as tokens, and which of them are targets.

/// One tokenized row of a [`Dataset`](super::Dataset).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizedRow {
    /// Tokens: encode(prompt + completion) + EOS, or a rendered chat, cut to `max_length`.
    pub ids: Vec<u32>,
    /// Ranges of tokens that are targets, in order and apart; the others carry no loss. Token 0
    /// never does, since nothing predicts it.
    pub spans: Vec<(u32, u32)>,
    /// Index in the dataset.
    pub row: usize,
}

impl TokenizedRow {
    /// Number of targets: tokens in the ranges that have a predecessor.
    pub fn targets(&self) -> usize {
        targets(&self.spans)
    }
}

pub(super) fn targets(spans: &[(u32, u32)]) -> usize {
    spans.iter().map(|&(from, to)| to.saturating_sub(from.max(1)) as usize).sum()
}
