//! What the process of a stage tells the one that started it: a JSON line each.

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// What it is at.
    Doing(String),
    /// A field of doctor.json.
    Field(String, Value),
    /// A row of one of its lists.
    Row(String, Value),
    /// Something is wrong.
    Wrong(String),
    /// What it found, in a line.
    Summary(String),
}
