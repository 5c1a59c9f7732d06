//! What a row's texts become: token ids, and which of them are targets.

use super::dataset::to_u32;
use crate::format::{ChatTemplate, Conversation, Offsets};
use crate::{Error, Result};
use serde_json::Value;

/// What the dataset needs from a tokenizer.
pub trait Encode {
    /// The ids of `text`, with BOS in front where the tokenizer adds it, without EOS.
    fn encode(&self, text: &str) -> Result<Vec<u32>>;
    /// The end-of-sequence id, if the model has one.
    fn eos(&self) -> Option<u32>;
    /// The ids of `text`, nothing added, and the bytes that each stands for.
    fn encode_with_offsets(&self, _text: &str) -> Result<Offsets> {
        Err(no_chats())
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
        self.encode(text, true)
    }
    fn eos(&self) -> Option<u32> {
        self.eos_id()
    }
    fn encode_with_offsets(&self, text: &str) -> Result<Offsets> {
        self.encode_with_offsets(text)
    }
    fn chat_template(&self) -> Result<ChatTemplate> {
        self.chat_template()
    }
}

/// Appends the EOS (as TRL, only where the text does not end in it already); targets are the tokens from
/// `prompt` on.
pub(super) fn with_eos(
    mut ids: Vec<u32>,
    prompt: usize,
    eos: Option<u32>,
) -> (Vec<u32>, Vec<(u32, u32)>) {
    if let Some(eos) = eos
        && (ids.last() != Some(&eos) || ids.len() <= prompt.max(1))
    {
        ids.push(eos);
    }
    let span = (to_u32(prompt), to_u32(ids.len()));
    (ids, vec![span])
}

/// First and last + 1 of tokens that count.
pub(super) type Spans = Vec<(u32, u32)>;

/// Tokens of a conversation, and those that the assistant says: from behind the prompt that asks for
/// its words, over its words, to the token that ends its turn.
pub(super) fn chat(
    template: &ChatTemplate,
    messages: &[Value],
    tokenizer: &(impl Encode + ?Sized),
) -> Result<(Vec<u32>, Spans)> {
    let render = |messages, add_generation_prompt| {
        let conversation =
            Conversation { messages, add_generation_prompt, ..Conversation::default() };
        Ok::<_, Error>(template.render(&conversation)?.text)
    };
    let text = render(messages, false)?;
    let mut said = Vec::new();
    for (i, message) in messages.iter().enumerate().filter(|(_, m)| m["role"] == "assistant") {
        let before = render(&messages[..i], true)?;
        let after = render(&messages[..=i], false)?;
        // Some templates ask for the assistant's words whether told to or not: `after` may go on otherwise.
        let turn = text.bytes().zip(after.bytes()).take_while(|(a, b)| a == b).count();
        let words = message["content"].as_str().unwrap_or_default().trim();
        let found = text.get(before.len()..turn.max(before.len())).and_then(|t| t.find(words));
        match found.filter(|_| text.starts_with(&before)) {
            Some(at) => said.push((before.len(), before.len() + at + words.len(), turn)),
            None => {
                let why = format!(
                    "this chat template writes message {} otherwise once more follow, so that what the \
                     assistant said cannot be told from the rest; end the conversation there, or give \
                     prompt and completion",
                    i + 1
                );
                return Err(Error::invalid("messages", why));
            }
        }
    }
    let (ids, offsets) = tokenizer.encode_with_offsets(&text)?;
    let mut spans = Vec::new();
    for (from, words_end, turn) in said {
        let inside =
            |&i: &usize| (from..turn).contains(&offsets[i].0) && offsets[i].1 > offsets[i].0;
        let all: Vec<usize> = (0..ids.len()).filter(inside).collect();
        let Some(&first) = all.first() else { continue };
        // White space that the template puts behind the words, then one token that is none.
        let blank =
            |i: usize| text.get(offsets[i].0..offsets[i].1).is_some_and(|t| t.trim().is_empty());
        let end = all.iter().find(|&&i| offsets[i].0 >= words_end && !blank(i));
        let last = end.or_else(|| all.iter().rfind(|&&i| offsets[i].0 < words_end));
        spans.push((to_u32(first), to_u32(last.map_or(first, |last| last + 1))));
    }
    Ok((ids, spans))
}
