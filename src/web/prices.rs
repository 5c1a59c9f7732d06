//! How the adapters of a model price.

use std::cell::OnceCell;

use crate::pricer::beside::{Beside, WordModels};

/// How an adapter prices.
#[derive(Default)]
pub(super) struct Prices {
    pub(super) beside: Beside,
    /// Fitted when the first price is asked for.
    words: OnceCell<WordModels>,
}

impl Prices {
    pub(super) fn new(beside: Beside) -> Prices {
        Prices { beside, words: OnceCell::new() }
    }

    /// The word models of the blend.
    pub(super) fn words(&self) -> &WordModels {
        self.words.get_or_init(|| self.beside.word_models())
    }

    /// What is missing beside the adapter.
    pub(super) fn notes(&self) -> Vec<String> {
        self.beside.without_index().into_iter().chain(self.beside.without_blend()).collect()
    }
}
