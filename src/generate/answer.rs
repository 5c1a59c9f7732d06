//! One answer as it grows: which token comes, what text it completes, and when it ends.

use super::options::GenerateOptions;
use super::sampler::Sampler;
use super::stops::{Place, Seen, Stops};
use crate::Result;
use crate::format::{DecodeStream, Special, Tokenizer};

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
    /// As it was before the first token.
    start: DecodeStream,
    decode: DecodeStream,
    stops: Stops,
    /// What will not change any more; the first `shown` bytes went out.
    text: String,
    shown: usize,
    /// How long `text` was after each token.
    ends: Vec<usize>,
    left: usize,
    finish: Option<Finish>,
    ids: Vec<u32>,
}

impl Answer {
    /// Answer `n` of several to one prompt; the tokens in `eos` end it.
    pub(super) fn new(
        options: &GenerateOptions,
        n: u64,
        eos: Vec<u32>,
        tokenizer: &Tokenizer,
        prompt: &[u32],
    ) -> Result<Answer> {
        let mut stops = Stops::new(&options.stop);
        let mut before = Vec::new();
        for &id in prompt.iter().rev() {
            if before.len() >= stops.reach() {
                break;
            }
            before.splice(0..0, tokenizer.token_bytes(id)?);
        }
        stops.begin_behind(before);
        let start = DecodeStream::after(tokenizer, prompt, Special::Without)?;
        let left = options.max_new_tokens;
        Ok(Answer {
            eos,
            sampler: Sampler::nth(options.sampler, n)?,
            decode: start.clone(),
            start,
            stops,
            text: String::new(),
            shown: 0,
            ends: Vec::new(),
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
        let is_eos = self.eos.contains(&id);
        let seen = match self.stops.is_empty() {
            true => Seen::Nothing,
            false => self.stops.push(&tokenizer.token_bytes(id)?),
        };
        self.ids.push(id);
        if !is_eos {
            self.text.push_str(&self.decode.step(tokenizer, id)?.unwrap_or_default());
        }
        self.ends.push(self.text.len());
        if let Seen::Stop(place) = seen {
            self.finish = Some(Finish::Stop);
            self.text = self.text_before(tokenizer, place)?;
        } else if is_eos || self.left == 0 {
            self.finish = Some(Finish::Length);
            self.text.push_str(&self.decode.finish(tokenizer)?);
        }
        if is_eos {
            self.finish = Some(Finish::Eos);
            self.ids.pop();
        }
        let end = match seen {
            _ if self.finish.is_some() => self.text.len(),
            // The token in which a stop text may begin waits, and what follows it.
            Seen::Perhaps(Place::Answer(token @ 1.., _)) => self.ends[token - 1],
            Seen::Perhaps(_) => 0,
            _ => self.text.len(),
        };
        let text = self.text.get(self.shown..end).unwrap_or_default().to_owned();
        self.shown = self.shown.max(end);
        Ok((id, (!is_eos || !text.is_empty()).then_some(Token { id, text })))
    }

    /// The text of the answer before a place.
    fn text_before(&self, tokenizer: &Tokenizer, place: Place) -> Result<String> {
        let Place::Answer(token, byte) = place else { return Ok(String::new()) };
        let text = |ids: &[u32]| -> Result<String> {
            let mut decode = self.start.clone();
            let mut text = String::new();
            for &id in ids {
                text.push_str(&decode.step(tokenizer, id)?.unwrap_or_default());
            }
            Ok(text + &decode.finish(tokenizer)?)
        };
        let before = text(&self.ids[..token])?;
        let id = self.ids[token];
        if byte == 0 || tokenizer.decode(&[id], Special::Without)?.is_empty() {
            return Ok(before);
        }
        let mut with = text(&self.ids[..=token])?;
        let rest = String::from_utf8_lossy(&tokenizer.token_bytes(id)?[byte..]).into_owned();
        if !with.ends_with(&rest) {
            return Ok(before);
        }
        with.truncate(with.len() - rest.len());
        Ok(with)
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
