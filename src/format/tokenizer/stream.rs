//! Text from tokens that come one by one.

use super::Tokenizer;
use crate::error::Result;

/// Turns tokens into text as they come, holding back what is not yet whole UTF-8.
///
/// The pieces and [`DecodeStream::finish`] joined are what [`Tokenizer::decode`] gives for all tokens at once.
#[derive(Clone, Debug, Default)]
pub struct DecodeStream {
    skip_special: bool,
    /// The tokens that still matter: those of the last piece, for context, and those after it.
    ids: Vec<u32>,
    /// How many of `ids` belong to pieces already given.
    given: usize,
}

impl DecodeStream {
    /// Starts a text; with `skip_special`, special tokens give nothing.
    pub fn new(skip_special: bool) -> Self {
        Self { skip_special, ..Self::default() }
    }

    /// Adds a token; returns the text that is complete now, if any.
    ///
    /// **Errors** as [`Tokenizer::decode`].
    pub fn step(&mut self, tokenizer: &Tokenizer, id: u32) -> Result<Option<String>> {
        self.ids.push(id);
        let piece = self.pending(tokenizer)?;
        // Half a character decodes to a replacement character at the end.
        if piece.is_empty() || piece.ends_with('\u{FFFD}') {
            return Ok(None);
        }
        self.ids.drain(..self.given);
        self.given = self.ids.len();
        Ok(Some(piece))
    }

    /// The text held back when no more tokens come, with replacement characters for what is not UTF-8.
    ///
    /// **Errors** as [`Tokenizer::decode`].
    pub fn finish(&mut self, tokenizer: &Tokenizer) -> Result<String> {
        let piece = self.pending(tokenizer)?;
        self.ids.clear();
        self.given = 0;
        Ok(piece)
    }

    fn pending(&self, tokenizer: &Tokenizer) -> Result<String> {
        let before = tokenizer.decode(&self.ids[..self.given], self.skip_special)?;
        let mut all = tokenizer.decode(&self.ids, self.skip_special)?;
        Ok(if all.starts_with(&before) { all.split_off(before.len()) } else { String::new() })
    }
}
