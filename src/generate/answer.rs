//! One answer as it grows: which token comes, what text it completes, and when it ends.

use super::sampler::Sampler;
use super::stops::Stops;
use super::stream::GenerateOptions;
use crate::Result;
use crate::format::{DecodeStream, Tokenizer};

/// A generated token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// The text that it completes: whole characters, perhaps none.
    pub text: String,
}

/// Why no more tokens came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended its answer.
    Eos,
    /// A stop text was reached.
    Stop,
    /// `max_new_tokens` were made.
    Length,
}

impl Finish {
    /// `eos`, `stop` or `length`.
    pub fn name(self) -> &'static str {
        match self {
            Finish::Eos => "eos",
            Finish::Stop => "stop",
            Finish::Length => "length",
        }
    }
}

/// Tokens and text of one answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    eos: Vec<u32>,
    sampler: Sampler,
    decode: DecodeStream,
    stops: Stops,
    left: usize,
    finish: Option<Finish>,
    ids: Vec<u32>,
}

impl Answer {
    /// Answer `n` of several to one prompt; the tokens in `eos` end it.
    pub(super) fn new(options: &GenerateOptions, n: u64, eos: Vec<u32>) -> Result<Answer> {
        let left = options.max_new_tokens;
        Ok(Answer {
            eos,
            sampler: Sampler::nth(options.sampler, n)?,
            decode: DecodeStream::new(true),
            stops: Stops::new(options.stop.clone()),
            left,
            finish: (left == 0).then_some(Finish::Length),
            ids: Vec::new(),
        })
    }

    /// Chooses the next token and returns its id, and what there is to show. The token that ends an
    /// answer is shown only if text was held back before it.
    pub(super) fn push(
        &mut self,
        tokenizer: &Tokenizer,
        logits: &[f32],
        prompt: &[u32],
    ) -> Result<(u32, Option<Token>)> {
        let id = self.sampler.sample_after(logits, &[prompt, &self.ids])?;
        self.left = self.left.saturating_sub(1);
        if self.eos.contains(&id) {
            self.finish = Some(Finish::Eos);
            let text = self.rest(tokenizer)?;
            return Ok((id, (!text.is_empty()).then_some(Token { id, text })));
        }
        self.ids.push(id);
        let piece = self.decode.step(tokenizer, id)?.unwrap_or_default();
        let (mut text, stopped) = self.stops.push(&piece);
        if stopped {
            self.finish = Some(Finish::Stop);
        } else if self.left == 0 {
            self.finish = Some(Finish::Length);
            text.push_str(&self.rest(tokenizer)?);
        }
        Ok((id, Some(Token { id, text })))
    }

    /// Text held back by the decoder and for stop texts.
    fn rest(&mut self, tokenizer: &Tokenizer) -> Result<String> {
        let (mut text, stopped) = self.stops.push(&self.decode.finish(tokenizer)?);
        if !stopped {
            text.push_str(&self.stops.finish());
        }
        Ok(text)
    }

    /// Ids so far, without the one that ended the answer.
    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Why it ended; `None` before.
    pub(super) fn finish(&self) -> Option<Finish> {
        self.finish
    }
}
