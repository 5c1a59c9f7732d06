//! What one wasm asks of the other about a chat template, as JSON.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::moment::Moment;

/// A template and what to write with it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) name: String,
    pub(crate) source: String,
    /// Another template, for conversations that have tools.
    #[serde(default)]
    pub(crate) with_tools: Option<String>,
    /// Special tokens by their names.
    pub(crate) variables: Map<String, Value>,
    /// What `strftime_now` writes.
    pub(crate) date: Moment,
    pub(crate) messages: Vec<Value>,
    #[serde(default)]
    pub(crate) tools: Option<Vec<Value>>,
    #[serde(default)]
    pub(crate) documents: Option<Vec<Value>>,
    pub(crate) add_generation_prompt: bool,
    /// The conversation's own variables.
    #[serde(default)]
    pub(crate) more: Option<Map<String, Value>>,
}

/// What came of it.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    #[serde(default)]
    pub(crate) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<Vec<Range<usize>>>,
    /// What is wrong with the template, or what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}
