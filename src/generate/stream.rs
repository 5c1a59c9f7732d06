//! Text, token by token: the prompt fills a key-value cache, then each token is chosen, run and
//! decoded.

use super::answer::{Answer, Finish, Token};
use super::options::GenerateOptions;
use super::prompt::{end_tokens, prompt_ids};
use crate::clock::Clock;
use crate::format::Tokenizer;
use crate::model::{KvCache, Model, Pass, Workspace};
use crate::{Error, Result};

/// Prompt tokens of one pass, so that a long prompt needs no long workspace.
const CHUNK: usize = 512;

/// Times of a generation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// The prompt.
    pub prefill_seconds: f64,
    /// The passes after it.
    pub decode_seconds: f64,
    /// Their number.
    pub decode_passes: usize,
}

impl Timings {
    /// Tokens per second after the prompt; `None` if it answered everything.
    pub fn decode_tokens_per_second(&self) -> Option<f64> {
        (self.decode_passes > 0 && self.decode_seconds > 0.0)
            .then(|| self.decode_passes as f64 / self.decode_seconds)
    }
}

/// A generation with the active adapter of a model.
pub struct Generator<'a> {
    model: &'a Model,
    tokenizer: &'a Tokenizer,
    cache: KvCache,
    space: Workspace,
    answer: Answer,
    prompt: Vec<u32>,
    /// What the next pass runs: the prompt, later the last token.
    pending: Vec<u32>,
    timings: Timings,
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
        let eos = end_tokens(model, tokenizer);
        let answer = Answer::new(&options, 0, eos, tokenizer, &prompt)?;
        let capacity = prompt.len() + options.max_new_tokens;
        let pass = Pass { batch: 1, queries: prompt.len().min(CHUNK), targets: 1 };
        Ok(Generator {
            model,
            tokenizer,
            cache: KvCache::new(model.gpu(), model.config(), 1, capacity)?,
            space: model.workspace(pass, None)?,
            answer,
            pending: prompt.clone(),
            prompt,
            timings: Timings::default(),
        })
    }

    /// The next token, or `None` when the answer is complete. The token that ends an answer is
    /// given only if text was held back before it.
    ///
    /// **Errors** [`Error::Device`]; [`Error::Invalid`] for damaged logits.
    pub async fn next(&mut self) -> Result<Option<Token>> {
        if self.answer.finish().is_some() {
            return Ok(None);
        }
        let clock = Clock::start();
        let mut logits = Vec::new();
        for chunk in self.pending.chunks(CHUNK) {
            logits = self.model.extend(&self.space, &mut self.cache, chunk).await?;
        }
        if self.answer.ids().is_empty() {
            self.timings.prefill_seconds = clock.seconds();
        } else {
            self.timings.decode_seconds += clock.seconds();
            self.timings.decode_passes += 1;
        }
        let (id, token) = self.answer.push(self.tokenizer, &logits, &self.prompt)?;
        self.pending = vec![id];
        Ok(token)
    }

    /// Ids of the prompt.
    pub fn prompt(&self) -> &[u32] {
        &self.prompt
    }

    /// Ids generated so far, without the one that ended the answer.
    pub fn ids(&self) -> &[u32] {
        self.answer.ids()
    }

    /// Why it ended; `None` before.
    pub fn finish(&self) -> Option<Finish> {
        self.answer.finish()
    }

    /// Times so far.
    pub fn timings(&self) -> Timings {
        self.timings
    }
}
