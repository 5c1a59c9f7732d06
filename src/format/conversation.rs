//! What a chat template is given, and what it makes of it.

use std::ops::Range;

use serde_json::{Map, Value};

/// What a template is rendered from: the arguments of transformers' `apply_chat_template`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conversation<'a> {
    /// Objects with `role`, `content` and whatever else the template reads.
    pub messages: &'a [Value],
    /// The tools that the assistant may call, as JSON schemas; an empty list is not the same as
    /// none.
    pub tools: Option<&'a [Value]>,
    /// Documents to answer from.
    pub documents: Option<&'a [Value]>,
    /// Whether the text goes on to where the assistant's next words begin.
    pub add_generation_prompt: bool,
    /// Further variables (`chat_template_kwargs`), such as `enable_thinking`.
    pub variables: Option<&'a Map<String, Value>>,
}

impl<'a> Conversation<'a> {
    /// Messages alone.
    pub fn new(messages: &'a [Value]) -> Conversation<'a> {
        Conversation { messages, ..Conversation::default() }
    }

    /// The same, up to where the assistant's next words begin.
    pub fn with_generation_prompt(self) -> Conversation<'a> {
        Conversation { add_generation_prompt: true, ..self }
    }
}

/// A conversation as a template writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// The bytes of `text` that stand between `{% generation %}` and `{% endgeneration %}`, as they
    /// were written; `None` if the template has no such marks.
    pub generation: Option<Vec<Range<usize>>>,
}
