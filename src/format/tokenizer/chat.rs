//! The chat template that comes with a tokenizer.

use serde_json::Value;

use super::Tokenizer;
use crate::error::{Error, Result};
use crate::format::chat_template::ChatTemplate;
use crate::format::json::Object;

impl Tokenizer {
    /// Takes the template of a `tokenizer_config.json`.
    pub(super) fn take_chat_template(&mut self, label: &str, o: &Object<'_>) {
        // One template, or several with names.
        let named = |name: &str| {
            let all = o.get("chat_template")?.as_array()?.iter();
            let found = all.clone().find(|t| t.get("name").is_some_and(|n| n == name));
            found?.get("template")?.as_str()
        };
        let single = o.get("chat_template").and_then(Value::as_str);
        if let Some(text) = single.or_else(|| named("default")) {
            self.set_chat_template(label, text.to_owned());
        }
    }

    /// The text of the chat template, if there is one.
    pub fn chat_template_text(&self) -> Option<&str> {
        self.chat.as_ref().map(|(_, text)| text.as_str())
    }

    /// Takes a chat template; `label` is its name in messages.
    pub fn set_chat_template(&mut self, label: &str, text: String) {
        self.chat = Some((label.to_owned(), text));
    }

    /// The model's chat template, from `chat_template.jinja` or `tokenizer_config.json`.
    ///
    /// **Errors** [`Error::Unsupported`] if there is none; [`Error::Format`] if it is not Jinja.
    pub fn chat_template(&self) -> Result<ChatTemplate> {
        let Some((label, text)) = &self.chat else {
            return Err(Error::Unsupported {
                what: format!("{}: messages, for a model without a chat template,", self.name),
                hint:
                    "use the instruct model, put its chat_template.jinja beside tokenizer.json, or \
                       give prompt and completion"
                        .into(),
            });
        };
        let token = |id: Option<u32>| id.and_then(|id| self.id_to_token(id)).unwrap_or_default();
        ChatTemplate::new(label, text, &token(self.bos), &token(self.eos))
    }
}
