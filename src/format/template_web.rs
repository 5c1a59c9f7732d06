//! Chat templates are not in the browser's build: their language would make the `.wasm` a fifteenth
//! larger, and no page of ours shows a chat.

use std::convert::Infallible;

use super::conversation::{Conversation, Rendered};
use super::moment::Moment;
use crate::{Error, Result};

/// Stands for a template that cannot be rendered here: there is no value of this type.
#[derive(Clone, Debug)]
pub struct ChatTemplate(Infallible);

impl ChatTemplate {
    /// **Errors** [`Error::Unsupported`] always.
    pub fn new(name: &str, _: &str, _: &str, _: &str) -> Result<ChatTemplate> {
        let what = format!("{name}: a chat template in the browser");
        let hint = "render the conversation to text first, with the native program".into();
        Err(Error::Unsupported { what, hint })
    }

    /// Never called, as what follows.
    pub fn with_variables(self, _: serde_json::Map<String, serde_json::Value>) -> ChatTemplate {
        self
    }

    /// Never called.
    pub fn with_date(self, _: Moment) -> ChatTemplate {
        self
    }

    /// Never called.
    pub fn with_tools(self, _: &str) -> Result<ChatTemplate> {
        Ok(self)
    }

    /// Never called.
    pub fn render(&self, _: &Conversation) -> Result<Rendered> {
        match self.0 {}
    }
}
