//! What a decoder does, and what a single token adds to a text.

use serde_json::Value;
use tokenizers::DecoderWrapper;

use super::{Special, Tokenizer};
use crate::error::Result;

/// What a decoder does that a stream must know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decoding {
    /// Tokens are bytes in GPT-2's letters.
    byte_level: bool,
    /// `<0x..>` is a byte; a run of them is UTF-8 as a whole, or one U+FFFD each.
    pub(super) byte_fallback: bool,
    /// What stands for a space in every token but the last, where it is nothing.
    suffix: Option<String>,
    /// Text can still change far from its end, so nothing is final before all tokens are there.
    pub(super) whole: bool,
}

impl Decoding {
    pub(super) fn of(tokenizer: &Tokenizer) -> Decoding {
        let mut found = Decoding::default();
        if let Some(decoder) = tokenizer.inner.get_decoder() {
            found.add(decoder, &mut false);
            // What other steps make of the token that has the suffix is not looked into.
            let alone = matches!(decoder, DecoderWrapper::BPE(_));
            found.whole |= found.suffix.is_some() && !alone;
        }
        // Spaces go when what follows them is known.
        found.whole |= tokenizer.cleans;
        found
    }

    /// `fused`: the steps before have made one text of all tokens.
    fn add(&mut self, decoder: &DecoderWrapper, fused: &mut bool) {
        match decoder {
            DecoderWrapper::Sequence(all) => {
                all.get_decoders().iter().for_each(|decoder| self.add(decoder, fused));
            }
            DecoderWrapper::ByteLevel(_) => (self.byte_level, *fused) = (true, true),
            DecoderWrapper::Fuse(_) => *fused = true,
            DecoderWrapper::ByteFallback(_) => self.byte_fallback = true,
            // Of a single letter it is the same in the whole text as in its parts.
            DecoderWrapper::Replace(replace) => {
                let pattern = serde_json::to_value(replace).unwrap_or_default();
                let text = pattern.pointer("/pattern/String").and_then(Value::as_str);
                self.whole |= *fused && text.is_none_or(|text| text.chars().count() != 1);
            }
            DecoderWrapper::Strip(_) | DecoderWrapper::Metaspace(_) => {}
            DecoderWrapper::BPE(decoder) => self.suffix = Some(decoder.suffix.clone()),
            DecoderWrapper::WordPiece(_) | DecoderWrapper::CTC(_) => self.whole |= *fused,
        }
    }

    /// Whether a token that follows may change what this one, the last so far, gives: a byte of a
    /// character, or a token with the suffix elsewhere than at its end.
    pub(super) fn may_change(&self, last: &str) -> bool {
        let within = |suffix: &str| last.strip_suffix(suffix).unwrap_or(last).contains(suffix);
        (self.byte_fallback && fallback_byte(last).is_some())
            || self.suffix.as_deref().is_some_and(within)
    }
}

/// The byte that `<0x0A>` stands for.
pub(super) fn fallback_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// The byte that a letter of GPT-2's alphabet stands for.
fn letter_byte(letter: char) -> Option<u8> {
    let plain = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    match u32::from(letter) {
        c @ 0..=255 => Some(c as u8).filter(|&b| plain(b)),
        c => (0..=255).filter(|&b| !plain(b)).nth(c as usize - 256),
    }
}

/// Text that stands before a token whose own part is wanted.
const BEFORE: &str = "abcdef";

impl Tokenizer {
    /// A token as the vocabulary writes it, unless decoding passes over it.
    pub(super) fn shown(&self, id: u32, special: Special) -> Option<String> {
        let added = self.inner.get_added_vocabulary();
        self.id_to_token(id)
            .filter(|token| special == Special::With || !added.is_special_token(token))
    }

    /// What a token adds to a text that goes on: bytes, perhaps of half a character; special tokens
    /// are written out, a space that would be dropped at a text's beginning is there. An unknown id
    /// adds nothing.
    ///
    /// **Source** transformers 5.24, `StopStringCriteria.clean_tokenizer_vocab`.
    ///
    /// **Errors** as [`Tokenizer::decode`].
    pub fn token_bytes(&self, id: u32) -> Result<Vec<u8>> {
        let Some(token) = self.id_to_token(id) else { return Ok(Vec::new()) };
        let decoding = Decoding::of(self);
        if decoding.byte_fallback {
            if let Some(byte) = fallback_byte(&token) {
                return Ok(vec![byte]);
            }
        } else if decoding.byte_level
            && let Some(bytes) = token.chars().map(letter_byte).collect()
        {
            return Ok(bytes);
        }
        let mut ids = self.encode(BEFORE, Special::Without)?;
        ids.push(id);
        let text = self.decode(&ids, Special::With)?;
        match text.find(BEFORE) {
            Some(at) => Ok(text[at + BEFORE.len()..].into()),
            None => Ok(self.decode(&[id], Special::With)?.into()),
        }
    }
}
