//! A model as a user has it: a folder, or one GGUF file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::checkpoint::{Checkpoint, is_gguf};
use super::gguf::{GgufFile, GgufValue};
use super::hf::ModelConfig;
use super::safetensors::SafetensorsFile;
use super::source::ByteSource;
use super::tokenizer::{Beside, Tokenizer};
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
            return Self::of_gguf(path, file);
        }
        let (config, notes) = ModelConfig::from_dir_with_notes(&path)?;
        let adapter = path.join("adapter_config.json");
        if adapter.is_file() {
            return Err(Error::Unsupported {
                what: format!("{}: a model's folder that holds an adapter, too,", adapter.display()),
                hint: "transformers would load the adapter and its base model; give it a folder of its own, and \
                       that as ‹adapter›"
                    .into(),
            });
        }
        let checkpoint = Checkpoint::open(&path)?;
        Self { path, config, checkpoint, notes }.checked()
    }

    /// The same of files that do not lie in a folder of this machine, such as those that a visitor
    /// gives to a page: `small` are the JSON files by their names, `weights` the `.gguf` file (or
    /// all parts of one, the first one first) or the safetensors. With the tokenizer.
    ///
    /// **Errors** as [`ModelFiles::open`] and [`ModelFiles::tokenizer`].
    pub fn given(
        name: &str,
        small: &BTreeMap<String, Vec<u8>>,
        weights: Vec<Box<dyn ByteSource>>,
    ) -> Result<(Self, Tokenizer)> {
        let named = |file: &'static str| small.get(file).map(|bytes| (file, bytes.as_slice()));
        let needed = |file: &'static str| {
            let missing =
                || Error::format(name, "files", format!("{file} is missing beside the weights"));
            named(file).ok_or_else(missing)
        };
        let tokenizer = || {
            let (label, bytes) = needed("tokenizer.json")?;
            let mut tokenizer = Tokenizer::from_bytes(label, bytes)?;
            tokenizer.apply(Beside {
                config: named("tokenizer_config.json"),
                special_tokens_map: named("special_tokens_map.json"),
                added_tokens: named("added_tokens.json"),
                model: named("config.json"),
            })?;
            Ok(tokenizer)
        };
        let path = PathBuf::from(name);
        let (files, mut tokenizer) = if weights.iter().any(|file| is_gguf(Path::new(file.name()))) {
            let files = Self::of_gguf(path, GgufFile::open_parts(weights)?)?;
            let own = files.checkpoint.gguf().map_or_else(tokenizer, GgufFile::tokenizer);
            let tokenizer = match own {
                Err(Error::Unsupported { .. }) if small.contains_key("tokenizer.json") => {
                    tokenizer()?
                }
                own => own?,
            };
            (files, tokenizer)
        } else {
            let (label, bytes) = needed("config.json")?;
            let (mut config, unread) = ModelConfig::from_json_with_notes(label, bytes)?;
            let asked = match named("generation_config.json") {
                Some((label, bytes)) => config.apply_generation_config(label, bytes)?,
                None => None,
            };
            let notes = unread.into_iter().chain(asked).collect();
            let opened =
                weights.into_iter().map(SafetensorsFile::open).collect::<Result<Vec<_>>>()?;
            let checkpoint = Checkpoint::from_files(opened)?;
            (Self { path, config, checkpoint, notes }.checked()?, tokenizer()?)
        };
        tokenizer.complete(&files.config);
        Ok((files, tokenizer))
    }

    /// The name that a model's GGUF file gives it (`general.name`).
    pub fn title(&self) -> Option<String> {
        match self.checkpoint.gguf()?.metadata().get("general.name")? {
            GgufValue::Text(name) if !name.trim().is_empty() => Some(name.trim().to_owned()),
            _ => None,
        }
    }

    fn of_gguf(path: PathBuf, file: GgufFile) -> Result<Self> {
        let (config, notes) = (file.config()?, file.notes());
        let checkpoint = Checkpoint::from_gguf(file)?;
        Ok(Self { path, config, checkpoint, notes })
    }

    /// With what there is to say about its tensors.
    fn checked(mut self) -> Result<Self> {
        self.notes.extend(self.checkpoint.check_names(&self.config)?);
        Ok(self)
    }

    /// The tokenizer: `tokenizer.json` of the folder; of a GGUF file its metadata's, or, where that
    /// is of a kind that cannot be used, the `tokenizer.json` beside it.
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
