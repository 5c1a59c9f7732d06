//! A model as a user has it: a folder, or one GGUF file.

use std::path::{Path, PathBuf};

use super::checkpoint::{Checkpoint, is_gguf};
use super::gguf::GgufFile;
use super::hf_config::ModelConfig;
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};

/// An opened model: configuration and weights. The weights' values are read later.
#[derive(Debug)]
pub struct ModelFiles {
    /// The folder or file.
    pub path: PathBuf,
    /// The configuration.
    pub config: ModelConfig,
    /// The weights.
    pub checkpoint: Checkpoint,
    /// What a user should know about the files, a line each: what they hold and nobody reads.
    pub notes: Vec<String>,
}

impl ModelFiles {
    /// Opens a folder with `config.json` and safetensors, or a `.gguf` file.
    ///
    /// **Errors** as [`ModelConfig::from_dir`], [`Checkpoint::open`] and [`GgufFile::config`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        if path.is_file() && is_gguf(&path) {
            let file = GgufFile::open_path(&path)?;
            let config = file.config()?;
            let notes = file.notes();
            let checkpoint = Checkpoint::from_gguf(file)?;
            return Ok(Self { path, config, checkpoint, notes });
        }
        let (config, mut notes) = ModelConfig::from_dir_with_notes(&path)?;
        let adapter = path.join("adapter_config.json");
        if adapter.is_file() {
            return Err(Error::Unsupported {
                what: format!("{}: a model's folder that holds an adapter, too,", adapter.display()),
                hint: "transformers would load the adapter and its base model; give it a folder of its own, and \
                       that as --adapter"
                    .into(),
            });
        }
        let checkpoint = Checkpoint::open(&path)?;
        notes.extend(checkpoint.check_names(&config)?);
        Ok(Self { path, config, checkpoint, notes })
    }

    /// The tokenizer: `tokenizer.json` of the folder; of a GGUF file its metadata's, or, where that is of a kind that
    /// cannot be used, the `tokenizer.json` beside it.
    ///
    /// **Errors** as [`Tokenizer::from_file`] and [`GgufFile::tokenizer`].
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let mut tokenizer = match self.checkpoint.gguf() {
            None => Tokenizer::from_file(&self.path)?,
            Some(gguf) => match gguf.tokenizer() {
                Err(Error::Unsupported { what, hint }) => {
                    let beside = self.path.with_file_name("tokenizer.json");
                    if !beside.is_file() {
                        return Err(Error::Unsupported { what, hint });
                    }
                    Tokenizer::from_file(beside)?
                }
                other => other?,
            },
        };
        tokenizer.complete(&self.config);
        Ok(tokenizer)
    }
}
