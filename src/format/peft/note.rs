//! What an adapter was trained on, kept beside its two files: PEFT does not read it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::file::AdapterFile;
use crate::error::{Error, Result};
use crate::format::json;

/// Which kind of rows an adapter was trained on, and so how to ask it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowFormat {
    /// Conversations, written by the model's chat template.
    Messages,
    /// A prompt and its completion, as they stand.
    PromptCompletion,
    /// Texts, as they stand.
    Text,
}

impl RowFormat {
    /// In words: `messages`, `prompt and completion`, `text`.
    pub fn name(self) -> &'static str {
        match self {
            RowFormat::Messages => "messages",
            RowFormat::PromptCompletion => "prompt and completion",
            RowFormat::Text => "text",
        }
    }
}

/// What an adapter was trained on: the file `wgpu_lora.json` in its folder. Keys that this version
/// does not know are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingNote {
    /// The rows' kind; of several the most frequent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<RowFormat>,
}

impl TrainingNote {
    /// The name of its file.
    pub const FILE: &'static str = "wgpu_lora.json";

    /// The note of an adapter's folder or a run's; `None` where there is none (PEFT writes none).
    ///
    /// **Errors** [`Error::Io`]; [`Error::Format`] if it is damaged.
    pub fn load(folder: impl AsRef<Path>) -> Result<Option<TrainingNote>> {
        let path = AdapterFile::folder(folder).join(TrainingNote::FILE);
        match path.is_file() {
            true => {
                Ok(Some(TrainingNote::from_json(&path.display().to_string(), &json::read(&path)?)?))
            }
            false => Ok(None),
        }
    }

    /// From the file's bytes; `label` is its name in messages. **Errors** [`Error::Format`].
    pub fn from_json(label: &str, bytes: &[u8]) -> Result<TrainingNote> {
        serde_json::from_slice(bytes).map_err(|e| Error::format(label, "content", e))
    }

    /// The file's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(TrainingNote::load(&folder).unwrap(), None);
        let note = TrainingNote { rows: Some(RowFormat::PromptCompletion) };
        assert_eq!(note.to_json(), b"{\n  \"rows\": \"prompt_completion\"\n}\n");
        std::fs::write(folder.path().join(TrainingNote::FILE), note.to_json()).unwrap();
        assert_eq!(TrainingNote::load(&folder).unwrap(), Some(note));
        let later = TrainingNote::from_json("x", b"{\"of a later version\": 1}").unwrap();
        assert_eq!(later, TrainingNote::default());
        let why = TrainingNote::from_json("x", b"{\"rows\": \"verse\"}").unwrap_err().to_string();
        assert!(why.contains('x') && why.contains("verse"), "{why}");
    }
}
