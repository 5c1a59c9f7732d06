//! A conversation with a model, turn by turn. Keys and values of what was said stay on the device,
//! so that a turn computes only what is new.

use serde_json::Value;

use super::answer::{Finish, Token};
use super::chat_format::{ChatFormat, message};
use super::decoding::{Decoding, Timings};
use super::options::GenerateOptions;
use crate::format::Tokenizer;
use crate::model::{KvCache, Model};
use crate::{Error, Result};

/// A conversation: what was said, and the keys and values of it.
///
/// Every turn writes the whole conversation through the chat template and runs the tokens behind
/// those whose keys and values it holds. After another adapter, another strength or another system
/// prompt that is the whole history: answers are those of a fresh session with the same messages.
pub struct ChatSession {
    format: ChatFormat,
    system: Option<String>,
    /// Of user and assistant, in turns.
    messages: Vec<Value>,
    cache: KvCache,
    /// The tokens whose keys and values the cache holds.
    held: Vec<u32>,
    /// [`Model::adapter_state`] that they were computed in.
    adapter: (Option<String>, u64),
}

impl ChatSession {
    /// An empty conversation, for as many tokens as the model was loaded for.
    ///
    /// **Errors** [`Error::Unsupported`] for a model without a chat template;
    /// [`Error::OutOfMemory`].
    pub fn new(model: &Model, tokenizer: &Tokenizer) -> Result<ChatSession> {
        Ok(ChatSession {
            format: ChatFormat::new(tokenizer)?,
            system: None,
            messages: Vec::new(),
            cache: KvCache::new(model.gpu(), model.config(), 1, model.max_positions())?,
            held: Vec::new(),
            adapter: (None, 0),
        })
    }

    /// What was said by user and assistant: objects with `role` and `content`.
    pub fn messages(&self) -> &[Value] {
        &self.messages
    }

    /// Takes another history. What it begins with in common with the one before is not computed
    /// again.
    pub fn set_messages(&mut self, messages: Vec<Value>) {
        self.messages = messages;
    }

    /// The system prompt.
    pub fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }

    /// Sets or removes the system prompt; the conversation goes on under it.
    pub fn set_system(&mut self, text: Option<String>) {
        self.system = text;
    }

    /// Forgets what was said; the system prompt stays.
    pub fn reset(&mut self) {
        self.messages.clear();
    }

    /// Begins to answer a user's message with the model's active adapter. Where the positions run
    /// out, the oldest turns are forgotten ([`Turn::turns_dropped`]).
    ///
    /// Whoever stops asking the turn for tokens stops the answer; what was said so far becomes part
    /// of the conversation when the turn is dropped, and a message without any answer does not.
    ///
    /// **Errors** [`Error::Invalid`] if this message alone is too long, or options that make no
    /// sense; what the template says.
    pub fn ask<'a>(
        &'a mut self,
        model: &'a Model,
        tokenizer: &'a Tokenizer,
        text: &str,
        mut options: GenerateOptions,
    ) -> Result<Turn<'a>> {
        self.messages.push(message("user", text));
        let begun = self.begin(model, tokenizer, &mut options);
        let (decoding, turns_dropped, computed) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                self.messages.pop();
                return Err(error);
            }
        };
        let said = String::new();
        Ok(Turn { session: self, model, tokenizer, decoding, said, turns_dropped, computed })
    }

    /// Decoding of the conversation, turns dropped, and tokens of it that are to be computed.
    fn begin(
        &mut self,
        model: &Model,
        tokenizer: &Tokenizer,
        options: &mut GenerateOptions,
    ) -> Result<(Decoding, usize, usize)> {
        let (ids, turns_dropped) = self.fitting(tokenizer, options)?;
        options.end_tokens.extend(self.format.end_token());
        let (name, edits) = model.adapter_state();
        let adapter = (name.map(str::to_owned), edits);
        if self.adapter != adapter {
            self.held.clear();
            self.adapter = adapter;
        }
        // The last token is run in any case: its logits are the answer's.
        let both = self.held.iter().zip(&ids[..ids.len() - 1]);
        let held = both.take_while(|(a, b)| a == b).count();
        let computed = ids.len() - held;
        let decoding = Decoding::new(model, tokenizer, ids, held, options)?;
        self.held.truncate(held);
        self.cache.truncate(held);
        Ok((decoding, turns_dropped, computed))
    }

    /// The conversation's tokens, after so many of its oldest turns were dropped that the answer
    /// has room. The last message alone may leave less.
    fn fitting(
        &mut self,
        tokenizer: &Tokenizer,
        options: &mut GenerateOptions,
    ) -> Result<(Vec<u32>, usize)> {
        let room = self.cache.capacity;
        let mut dropped = 0;
        loop {
            let system = self.system.as_deref().map(|text| message("system", text));
            let all: Vec<Value> = system.into_iter().chain(self.messages.clone()).collect();
            let ids = self.format.prompt_ids(tokenizer, &all)?;
            if ids.is_empty() {
                let why = "writes no tokens for this conversation";
                return Err(Error::invalid("chat template", why));
            }
            if ids.len() + options.max_new_tokens <= room {
                return Ok((ids, dropped));
            }
            let next_turn = self.messages.iter().skip(1).position(|m| m["role"] == "user");
            match next_turn {
                Some(more) => {
                    self.messages.drain(..=more);
                    dropped += 1;
                }
                None if ids.len() < room => {
                    options.max_new_tokens = room - ids.len();
                    return Ok((ids, dropped));
                }
                None => {
                    let why = format!(
                        "has {} tokens with its system prompt, there is room for {room} with an answer; shorten it",
                        ids.len()
                    );
                    return Err(Error::invalid("message", why));
                }
            }
        }
    }
}

/// One answer in a conversation, token by token.
pub struct Turn<'a> {
    session: &'a mut ChatSession,
    model: &'a Model,
    tokenizer: &'a Tokenizer,
    decoding: Decoding,
    said: String,
    turns_dropped: usize,
    computed: usize,
}

impl Turn<'_> {
    /// The next token, or `None` when the answer is complete. The token that ends an answer is
    /// given only if text was held back before it.
    ///
    /// **Errors** [`Error::Device`]; [`Error::Invalid`] for damaged logits.
    pub async fn next(&mut self) -> Result<Option<Token>> {
        let cache = &mut self.session.cache;
        let token = self.decoding.next(self.model, self.tokenizer, cache).await?;
        if let Some(token) = &token {
            self.said.push_str(&token.text);
        }
        Ok(token)
    }

    /// The answer so far.
    pub fn text(&self) -> &str {
        &self.said
    }

    /// Its ids, without the one that ended it.
    pub fn ids(&self) -> &[u32] {
        self.decoding.ids()
    }

    /// Tokens of the conversation before the answer.
    pub fn prompt_tokens(&self) -> usize {
        self.decoding.prompt().len()
    }

    /// Those of them that this turn computes.
    pub fn computed_tokens(&self) -> usize {
        self.computed
    }

    /// The oldest turns that were forgotten, to have room.
    pub fn turns_dropped(&self) -> usize {
        self.turns_dropped
    }

    /// Why the answer ended; `None` before.
    pub fn finish(&self) -> Option<Finish> {
        self.decoding.finish()
    }

    /// Times so far.
    pub fn timings(&self) -> Timings {
        self.decoding.timings()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let session = &mut *self.session;
        let run = self.decoding.prompt().iter().chain(self.decoding.ids());
        session.held = run.copied().take(session.cache.length).collect();
        if self.said.is_empty() && self.decoding.finish().is_none() {
            session.messages.pop();
        } else {
            session.messages.push(message("assistant", &self.said));
        }
    }
}
