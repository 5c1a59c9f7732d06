//! Text, token by token: the prompt fills a key-value cache, then each token is chosen, run and
//! decoded.

use super::answer::{Finish, Token};
use super::decoding::{Decoding, Timings};
use super::options::GenerateOptions;
use super::prompt::prompt_ids;
use crate::format::Tokenizer;
use crate::model::{KvCache, Model};
use crate::{Error, Result};

/// A generation with the active adapter of a model.
pub struct Generator<'a> {
    model: &'a Model,
    tokenizer: &'a Tokenizer,
    cache: KvCache,
    decoding: Decoding,
}

impl<'a> Generator<'a> {
    /// Prepares to answer a prompt. **Errors** [`Error::Invalid`] for an empty prompt without a
    /// BOS, ids outside the vocabulary, or options that make no sense; [`Error::OutOfMemory`].
    pub fn new(
        model: &'a Model,
        tokenizer: &'a Tokenizer,
        prompt: &str,
        options: GenerateOptions,
    ) -> Result<Generator<'a>> {
        let prompt = prompt_ids(model, tokenizer, prompt)?;
        Generator::from_ids(model, tokenizer, prompt, options)
    }

    /// The same from token ids.
    pub fn from_ids(
        model: &'a Model,
        tokenizer: &'a Tokenizer,
        prompt: Vec<u32>,
        options: GenerateOptions,
    ) -> Result<Generator<'a>> {
        if prompt.is_empty() {
            return Err(Error::invalid("prompt", "has no tokens"));
        }
        let capacity = prompt.len() + options.max_new_tokens;
        let cache = KvCache::new(model.gpu(), model.config(), 1, capacity)?;
        let decoding = Decoding::new(model, tokenizer, prompt, 0, &options)?;
        Ok(Generator { model, tokenizer, cache, decoding })
    }

    /// The next token, or `None` when the answer is complete. The token that ends an answer is
    /// given only if text was held back before it.
    ///
    /// **Errors** [`Error::Device`]; [`Error::Invalid`] for damaged logits.
    pub async fn next(&mut self) -> Result<Option<Token>> {
        self.decoding.next(self.model, self.tokenizer, &mut self.cache).await
    }

    /// Ids of the prompt.
    pub fn prompt(&self) -> &[u32] {
        self.decoding.prompt()
    }

    /// Ids generated so far, without the one that ended the answer.
    pub fn ids(&self) -> &[u32] {
        self.decoding.ids()
    }

    /// Why it ended; `None` before.
    pub fn finish(&self) -> Option<Finish> {
        self.decoding.finish()
    }

    /// Times so far.
    pub fn timings(&self) -> Timings {
        self.decoding.timings()
    }
}
