//! What a row's texts become: token ids, and which of them are targets.

use crate::format::{ChatTemplate, Offsets, Special};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// What the dataset needs from a tokenizer.
pub trait Encode {
    /// The ids of `text`, with BOS in front where the tokenizer adds it, without EOS.
    fn encode(&self, text: &str) -> Result<Vec<u32>>;
    /// The same, and the ids that the tokenizer puts behind a text.
    fn encode_open(&self, text: &str) -> Result<(Vec<u32>, Vec<u32>)> {
        Ok((self.encode(text)?, Vec::new()))
    }
    /// The end-of-sequence id, if the model has one.
    fn eos(&self) -> Option<u32>;
    /// Whether ids begin with two BOS.
    fn begins_twice(&self, _ids: &[u32]) -> bool {
        false
    }
    /// Whether an id is that of a special token, such as one that ends a turn.
    fn is_special(&self, id: u32) -> bool {
        self.eos() == Some(id)
    }
    /// The ids of `text`, nothing added, and the bytes that each stands for.
    fn encode_with_offsets(&self, _text: &str) -> Result<Offsets> {
        Err(no_chats())
    }
    /// The ids of `text`, nothing added.
    fn encode_inside(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.encode_with_offsets(text)?.0)
    }
    /// The model's chat template.
    fn chat_template(&self) -> Result<ChatTemplate> {
        Err(no_chats())
    }
}

fn no_chats() -> Error {
    let hint = "give prompt and completion".into();
    Error::Unsupported { what: "messages, with this tokenizer,".into(), hint }
}

impl Encode for crate::format::Tokenizer {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.encode_open(text)?.0)
    }
    fn encode_open(&self, text: &str) -> Result<(Vec<u32>, Vec<u32>)> {
        self.encode_open(text)
    }
    fn eos(&self) -> Option<u32> {
        self.eos_id()
    }
    fn begins_twice(&self, ids: &[u32]) -> bool {
        self.begins_twice(ids)
    }
    fn is_special(&self, id: u32) -> bool {
        self.is_special(id)
    }
    fn encode_with_offsets(&self, text: &str) -> Result<Offsets> {
        self.encode_with_offsets(text)
    }
    fn encode_inside(&self, text: &str) -> Result<Vec<u32>> {
        self.encode(text, Special::Without)
    }
    fn chat_template(&self) -> Result<ChatTemplate> {
        self.chat_template()
    }
}

/// Which tokens of a prompt/completion row are targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossOn {
    /// Those of the completion and the EOS behind it (TRL's `completion_only_loss`), or of what the
    /// assistant says (`assistant_only_loss`).
    #[default]
    Completion,
    /// All.
    All,
}

/// First and last + 1 of tokens that count, in order and apart.
pub(super) type Spans = Vec<(u32, u32)>;

/// A row's tokens and targets.
pub(super) struct Encoded {
    pub(super) ids: Vec<u32>,
    pub(super) spans: Spans,
    /// Tokens of a prompt that are not how the row begins: the first target stands before its end.
    pub(super) parted: bool,
    /// Whether the row ends as the tokenizer's texts end, if it should.
    pub(super) ended: bool,
}

/// A text of which everything counts.
pub(super) fn text(text: &str, tokenizer: &(impl Encode + ?Sized)) -> Result<Encoded> {
    let (ids, closing) = tokenizer.encode_open(text)?;
    let eos = tokenizer.eos().or(closing.first().copied());
    let ends = !text.is_empty() && ids.last().copied() == eos;
    let (ids, ended) = with_eos(ids, ends, eos, closing);
    Ok(Encoded { spans: vec![(0, to_u32(ids.len()))], ids, parted: false, ended })
}

/// A prompt and its completion. The targets begin at the first token that the two together have
/// otherwise than the prompt alone, as in TRL: a token may hold the prompt's end and the
/// completion's beginning.
pub(super) fn completion(
    prompt: &str,
    completion: &str,
    tokenizer: &(impl Encode + ?Sized),
) -> Result<Encoded> {
    let head = tokenizer.encode(prompt)?;
    let (ids, closing) = tokenizer.encode_open(&format!("{prompt}{completion}"))?;
    let from = common(&head, &ids);
    let eos = tokenizer.eos().or(closing.first().copied());
    let ends = !completion.is_empty() && ids.last().copied() == eos;
    let (ids, ended) = with_eos(ids, ends, eos, closing);
    Ok(Encoded {
        spans: vec![(to_u32(from), to_u32(ids.len()))],
        ids,
        parted: from < head.len(),
        ended,
    })
}

/// Appends EOS (as TRL, only where the text does not end in it already), and what the tokenizer
/// itself puts behind texts (where that is the EOS, once). Returns whether anything ends the row.
fn with_eos(
    mut ids: Vec<u32>,
    ends: bool,
    eos: Option<u32>,
    closing: Vec<u32>,
) -> (Vec<u32>, bool) {
    ids.extend(eos.filter(|_| !ends));
    let twice = eos.is_some() && closing.first().copied() == eos;
    let ended = eos.is_some();
    ids.extend(closing.into_iter().skip(usize::from(twice)));
    (ids, ended)
}

/// How many ids two rows have in common at their beginning.
pub(super) fn common<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Token counts and line numbers are far below 2^32; a larger one would only be misreported.
pub(super) fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
