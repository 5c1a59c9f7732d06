//! Chat templates in the browser. Their language is a wasm of its own (`xtask/chat-template`) that
//! a page loads when it shows a chat: here it would make every visitor wait for an eighth more. A
//! request goes out and an answer comes back as JSON, by a function that JavaScript gives.

use std::cell::RefCell;

use serde_json::{Map, Value};

use super::conversation::{Conversation, Rendered};
use super::moment::Moment;
use super::template_request::{Answer, Request};
use crate::{Error, Result};

/// From a request's JSON to an answer's.
type Renderer = Box<dyn Fn(&str) -> String>;

thread_local! {
    static RENDERER: RefCell<Option<Renderer>> = const { RefCell::new(None) };
}

/// Takes the function that renders templates.
pub fn set_template_renderer(render: impl Fn(&str) -> String + 'static) {
    RENDERER.set(Some(Box::new(render)));
}

/// A chat template, to be rendered elsewhere; what is wrong with it is said there.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    name: String,
    source: String,
    with_tools: Option<String>,
    variables: Map<String, Value>,
    date: Option<Moment>,
}

impl ChatTemplate {
    /// Takes a template; `bos` and `eos` are the texts of the tokens that it may write.
    pub fn new(name: &str, source: &str, bos: &str, eos: &str) -> Result<ChatTemplate> {
        let variables = [("bos_token", bos), ("eos_token", eos)];
        let variables = variables.into_iter().map(|(key, text)| (key.into(), text.into()));
        let (name, source) = (name.to_owned(), source.to_owned());
        let variables = variables.collect();
        Ok(ChatTemplate { name, source, with_tools: None, variables, date: None })
    }

    /// The same with other variables beside the conversation's.
    pub fn with_variables(self, variables: Map<String, Value>) -> ChatTemplate {
        ChatTemplate { variables, ..self }
    }

    /// The same with the date that `strftime_now` writes.
    pub fn with_date(self, date: Moment) -> ChatTemplate {
        ChatTemplate { date: Some(date), ..self }
    }

    /// The same with another template for conversations that have tools.
    pub fn with_tools(self, source: &str) -> Result<ChatTemplate> {
        Ok(ChatTemplate { with_tools: Some(source.to_owned()), ..self })
    }

    /// The text of a conversation.
    ///
    /// **Errors** [`Error::Unsupported`] where nothing renders templates; [`Error::Invalid`] with
    /// what the template says.
    pub fn render(&self, conversation: &Conversation) -> Result<Rendered> {
        let request = Request {
            name: self.name.clone(),
            source: self.source.clone(),
            with_tools: self.with_tools.clone(),
            variables: self.variables.clone(),
            date: self.date.unwrap_or_else(Moment::now),
            messages: conversation.messages.to_vec(),
            tools: conversation.tools.map(<[Value]>::to_vec),
            documents: conversation.documents.map(<[Value]>::to_vec),
            add_generation_prompt: conversation.add_generation_prompt,
            more: conversation.variables.cloned(),
        };
        let wrong = |why: String| Error::invalid("chat template", why);
        let request = serde_json::to_string(&request).map_err(|e| wrong(e.to_string()))?;
        let answer = RENDERER.with_borrow(|render| render.as_ref().map(|render| render(&request)));
        let answer = answer.ok_or_else(|| Error::Unsupported {
            what: format!("{}: a chat template, where its language was not loaded,", self.name),
            hint: "ask with `chat`, which loads it".into(),
        })?;
        let Answer { text, generation, error } =
            serde_json::from_str(&answer).map_err(|e| wrong(e.to_string()))?;
        match error {
            Some(why) => Err(wrong(why)),
            None => Ok(Rendered { text, generation }),
        }
    }
}
