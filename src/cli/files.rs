//! A model's files, and what a person should know about them.

use std::cell::RefCell;

use anyhow::{Context, Result};

use super::printer::Printer;
use crate::format::{AdapterFile, ModelConfig, ModelFiles, Tokenizer};
use crate::model::adapter_notes;

/// A model's files, opened; nothing is on a device yet.
pub(super) struct Files {
    files: ModelFiles,
    /// What is still to be said about them, a line each.
    notes: RefCell<Vec<String>>,
}

impl std::ops::Deref for Files {
    type Target = ModelFiles;

    fn deref(&self) -> &ModelFiles {
        &self.files
    }
}

impl Files {
    pub(super) fn new(files: ModelFiles) -> Files {
        let notes = RefCell::new(files.notes.clone());
        Files { files, notes }
    }

    /// The tokenizer beside or in the weights.
    pub(super) fn tokenizer(&self) -> Result<Tokenizer> {
        let tokenizer = self.files.tokenizer().with_context(|| {
            format!("{}: no usable tokenizer.json beside the weights", self.files.path.display())
        })?;
        self.notes.borrow_mut().extend(tokenizer.notes().iter().cloned());
        Ok(tokenizer)
    }

    /// Says what is to be known about them, once.
    pub(super) fn say(&self, printer: &Printer) {
        self.notes.take().iter().for_each(|note| printer.note(format!("note: {note}")));
    }
}

/// What of an adapter changes nothing in a model.
pub(super) fn say_notes(printer: &Printer, path: &str, file: &AdapterFile, model: &ModelConfig) {
    let notes = adapter_notes(&file.config, Some(file), model);
    notes.iter().for_each(|note| printer.warn(format!("adapter {path}: {note}")));
}
