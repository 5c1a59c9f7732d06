//! From tokens back to text as they come.

use std::ops::Range;

use super::decoding::{Decoding, fallback_byte};
use super::{Special, Tokenizer};
use crate::error::Result;

/// Turns tokens into text as they come, holding back what may still change: half a character, and
/// with byte fallback a run of bytes, which are U+FFFD each if one of them is not UTF-8.
///
/// The pieces and [`DecodeStream::finish`] joined are what [`Tokenizer::decode`] gives for all
/// tokens at once; behind a prompt ([`DecodeStream::after`]) what it gives for both, without the
/// prompt's text.
#[derive(Clone, Debug, Default)]
pub struct DecodeStream {
    special: Special,
    /// The tokens that still matter: some before the last piece, for context, and those after it.
    ids: Vec<u32>,
    /// How many of `ids` belong to pieces already given.
    given: usize,
}

impl DecodeStream {
    /// Starts a text, with or without special tokens.
    pub fn new(special: Special) -> Self {
        Self { special, ..Self::default() }
    }

    /// Goes on behind a prompt. A first space is kept, which a SentencePiece tokenizer drops where
    /// a text begins.
    ///
    /// **Errors** as [`Tokenizer::decode`].
    pub fn after(tokenizer: &Tokenizer, prompt: &[u32], special: Special) -> Result<Self> {
        let mut stream = Self { special, ids: prompt.to_vec(), given: prompt.len() };
        stream.forget(tokenizer)?;
        Ok(stream)
    }

    /// Adds a token; returns the text that is complete now, if any.
    ///
    /// **Errors** as [`Tokenizer::decode`].
    pub fn step(&mut self, tokenizer: &Tokenizer, id: u32) -> Result<Option<String>> {
        self.ids.push(id);
        if self.may_change(tokenizer) {
            return Ok(None);
        }
        let piece = self.pending(tokenizer)?;
        // Half a character decodes to a replacement character at the end.
        if piece.is_empty() || piece.ends_with('\u{FFFD}') {
            return Ok(None);
        }
        let before = std::mem::replace(&mut self.given, self.ids.len());
        // The last piece is context enough, if it says anything when it begins a text.
        if !self.decode(tokenizer, before..self.given)?.is_empty() {
            self.ids.drain(..before);
            self.given = self.ids.len();
        }
        Ok(Some(piece))
    }

    /// The text held back when no more tokens come, with replacement characters for what is not
    /// UTF-8.
    ///
    /// **Errors** as [`Tokenizer::decode`].
    pub fn finish(&mut self, tokenizer: &Tokenizer) -> Result<String> {
        let piece = self.pending(tokenizer)?;
        self.ids.clear();
        self.given = 0;
        Ok(piece)
    }

    /// Whether more tokens may change what the pending ones give.
    fn may_change(&self, tokenizer: &Tokenizer) -> bool {
        let decoding = Decoding::of(tokenizer);
        let own = self.ids[self.given..].iter().rev();
        let last = || own.copied().find_map(|id| tokenizer.shown(id, self.special));
        decoding.whole || last().is_some_and(|token| decoding.may_change(&token))
    }

    fn decode(&self, tokenizer: &Tokenizer, range: Range<usize>) -> Result<String> {
        tokenizer.decode(&self.ids[range], self.special)
    }

    fn pending(&self, tokenizer: &Tokenizer) -> Result<String> {
        let before = self.decode(tokenizer, 0..self.given)?;
        let all = self.decode(tokenizer, 0..self.ids.len())?;
        match all.strip_prefix(&before) {
            Some(piece) => Ok(piece.into()),
            // Broken bytes behind a prompt that ends in bytes: its text stays as it is.
            None => self.decode(tokenizer, self.given..self.ids.len()),
        }
    }

    /// Keeps only as much of the prompt as is text: what follows must not begin one.
    fn forget(&mut self, tokenizer: &Tokenizer) -> Result<()> {
        let is_byte = |id| tokenizer.id_to_token(id).is_some_and(|t| fallback_byte(&t).is_some());
        let mut keep = 8;
        while keep < self.given {
            let mut from = self.given - keep;
            // Not from within a run of bytes.
            while from > 0 && is_byte(self.ids[from]) {
                from -= 1;
            }
            if !self.decode(tokenizer, from..self.given)?.is_empty() {
                self.ids.drain(..from);
                self.given = self.ids.len();
                return Ok(());
            }
            keep *= 2;
        }
        Ok(())
    }
}
