//! Whether a prompt is a text to go on with or a message to answer, and the tokens of the latter.

use serde_json::{Value, json};

use crate::Result;
use crate::format::{ChatTemplate, Conversation, RowFormat, Special, Tokenizer, TrainingNote};

/// What a prompt is to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptFormat {
    /// A text that goes on.
    Text,
    /// A user's message, which the model's chat template writes.
    Chat,
}

impl PromptFormat {
    /// What suits an adapter: what it was trained on, by the note beside it; without a note a chat
    /// where the model has a template.
    pub fn of(note: Option<&TrainingNote>, tokenizer: &Tokenizer) -> PromptFormat {
        match note.and_then(|note| note.rows) {
            Some(RowFormat::Messages) => PromptFormat::Chat,
            Some(RowFormat::PromptCompletion | RowFormat::Text) => PromptFormat::Text,
            None if tokenizer.chat_template_text().is_some() => PromptFormat::Chat,
            None => PromptFormat::Text,
        }
    }
}

/// How a model's conversations are written: its chat template, and the token that ends a turn.
#[derive(Clone, Debug)]
pub struct ChatFormat {
    template: ChatTemplate,
    end: Option<u32>,
}

impl ChatFormat {
    /// The model's own.
    ///
    /// **Errors** as [`Tokenizer::chat_template`].
    pub fn new(tokenizer: &Tokenizer) -> Result<ChatFormat> {
        let template = tokenizer.chat_template()?;
        let end = turn_end(&template, tokenizer).unwrap_or_default();
        Ok(ChatFormat { template, end })
    }

    /// The token that the template writes behind what the assistant says, where it is a special
    /// one: it ends an answer, whether or not the model's configuration says so.
    pub fn end_token(&self) -> Option<u32> {
        self.end
    }

    /// The tokens of a conversation up to where the assistant's next words begin, as training makes
    /// them.
    ///
    /// **Errors** what the template says, such as of roles that it does not write.
    pub fn prompt_ids(&self, tokenizer: &Tokenizer, messages: &[Value]) -> Result<Vec<u32>> {
        self.conversation_ids(tokenizer, &Conversation::new(messages))
    }

    /// The same of messages with tools, documents and variables.
    ///
    /// **Errors** as [`ChatFormat::prompt_ids`].
    pub fn conversation_ids(
        &self,
        tokenizer: &Tokenizer,
        conversation: &Conversation<'_>,
    ) -> Result<Vec<u32>> {
        let text = self.template.render(&conversation.with_generation_prompt())?.text;
        tokenizer.encode(&text, Special::Without)
    }

    /// [`ChatFormat::prompt_ids`] of one message of a user, perhaps behind a system prompt.
    pub fn message_ids(
        &self,
        tokenizer: &Tokenizer,
        system: Option<&str>,
        text: &str,
    ) -> Result<Vec<u32>> {
        let mut messages = Vec::from_iter(system.map(|text| message("system", text)));
        messages.push(message("user", text));
        self.prompt_ids(tokenizer, &messages)
    }
}

/// One message.
pub(super) fn message(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

/// The special token that a template writes first behind an assistant's words.
fn turn_end(template: &ChatTemplate, tokenizer: &Tokenizer) -> Result<Option<u32>> {
    const WORDS: &str = "answer";
    let text = template
        .render(&Conversation::new(&[message("user", "question"), message("assistant", WORDS)]))?
        .text;
    let Some(at) = text.rfind(WORDS) else { return Ok(None) };
    let behind = text[at + WORDS.len()..].trim_start();
    let first = tokenizer.encode(behind, Special::Without)?.first().copied();
    Ok(first.filter(|&id| tokenizer.is_special(id)))
}
