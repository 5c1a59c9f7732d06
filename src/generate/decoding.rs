//! The passes behind an answer: what waits to be run goes through the model behind a cache, and
//! the next token comes out.

use super::answer::{Answer, Finish, Token};
use super::options::GenerateOptions;
use super::prompt::end_tokens;
use crate::Result;
use crate::clock::Clock;
use crate::format::Tokenizer;
use crate::model::{KvCache, Model, Pass, Workspace};

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

/// An answer to a prompt of which a cache may hold the beginning.
pub(super) struct Decoding {
    space: Workspace,
    answer: Answer,
    prompt: Vec<u32>,
    /// What the next pass runs: the rest of the prompt, later the last token.
    pending: Vec<u32>,
    timings: Timings,
}

impl Decoding {
    /// Prepares to answer; the cache holds the first `held` tokens of the prompt.
    pub(super) fn new(
        model: &Model,
        tokenizer: &Tokenizer,
        prompt: Vec<u32>,
        held: usize,
        options: &GenerateOptions,
    ) -> Result<Decoding> {
        let eos = end_tokens(model, tokenizer, &options.end_tokens);
        let answer = Answer::new(options, 0, eos, tokenizer, &prompt)?;
        let pending = prompt[held..].to_vec();
        let pass = Pass { batch: 1, queries: pending.len().min(CHUNK), targets: 1 };
        let space = model.workspace(pass, None)?;
        Ok(Decoding { space, answer, prompt, pending, timings: Timings::default() })
    }

    /// The next token; see [`super::Generator::next`].
    pub(super) async fn next(
        &mut self,
        model: &Model,
        tokenizer: &Tokenizer,
        cache: &mut KvCache,
    ) -> Result<Option<Token>> {
        if self.answer.finish().is_some() {
            return Ok(None);
        }
        let clock = Clock::start();
        let mut logits = Vec::new();
        for chunk in self.pending.chunks(CHUNK) {
            logits = model.extend(&self.space, cache, chunk).await?;
        }
        if self.answer.ids().is_empty() {
            self.timings.prefill_seconds = clock.seconds();
        } else {
            self.timings.decode_seconds += clock.seconds();
            self.timings.decode_passes += 1;
        }
        let (id, token) = self.answer.push(tokenizer, &logits, &self.prompt)?;
        self.pending = vec![id];
        Ok(token)
    }

    pub(super) fn prompt(&self) -> &[u32] {
        &self.prompt
    }

    pub(super) fn ids(&self) -> &[u32] {
        self.answer.ids()
    }

    pub(super) fn finish(&self) -> Option<Finish> {
        self.answer.finish()
    }

    pub(super) fn timings(&self) -> Timings {
        self.timings
    }
}
