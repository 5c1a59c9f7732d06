//! From what was typed to a model on a device: MODEL, ADAPTER, and how to open the device.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::args::{Inspect, QuantArg};
use super::printer::Printer;
use crate::Error;
use crate::format::{AdapterFile, Checkpoint, ModelConfig, Tokenizer};
use crate::gpu::{Gpu, GpuOptions, Policy};
use crate::model::{LoadOptions, Model, Quant};

/// What every command needs.
pub(super) struct Session {
    pub(super) printer: Printer,
    pub(super) device: Option<String>,
}

impl From<QuantArg> for Quant {
    fn from(arg: QuantArg) -> Quant {
        match arg {
            QuantArg::Nf4 => Quant::Nf4,
            QuantArg::None => Quant::None,
        }
    }
}

/// A model's files, opened; nothing is on a device yet.
pub(super) struct Files {
    pub(super) folder: PathBuf,
    pub(super) config: ModelConfig,
    pub(super) checkpoint: Checkpoint,
}

impl Files {
    /// Opens MODEL. **Errors** say what works where it is a GGUF file or a name.
    pub(super) fn open(model: &str) -> Result<Files> {
        let folder = local(model)?;
        let config = ModelConfig::from_dir(&folder)?;
        let checkpoint = Checkpoint::open(&folder)?;
        Ok(Files { folder, config, checkpoint })
    }

    /// The tokenizer beside the weights.
    pub(super) fn tokenizer(&self) -> Result<Tokenizer> {
        let mut tokenizer = Tokenizer::from_file(&self.folder).with_context(|| {
            format!("{}: no usable tokenizer.json beside the weights", self.folder.display())
        })?;
        tokenizer.complete(&self.config);
        Ok(tokenizer)
    }
}

const WORKS: &str = "give a folder with config.json, model.safetensors (or shards with their index) \
                     and tokenizer.json";

/// The folder that MODEL names.
pub(super) fn local(model: &str) -> Result<PathBuf, Error> {
    let path = Path::new(model);
    let unsupported = |what: String, hint: String| Error::Unsupported { what, hint };
    if model.is_empty() {
        return Err(Error::invalid("--model", format!("is empty; {WORKS}")));
    }
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf")) {
        return Err(unsupported(format!("{model}: a GGUF file"), format!("not yet; {WORKS}")));
    }
    if path.is_dir() {
        return Ok(path.to_path_buf());
    }
    if path.is_file() {
        let why = format!("is a file; {WORKS}");
        return Err(Error::invalid(format!("--model {model}"), why));
    }
    let parts: Vec<&str> = model.split('/').collect();
    let name = |part: &&str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && !part.chars().all(|c| c == '.')
    };
    if parts.len() == 2 && parts.iter().all(name) {
        let what = format!("{model}: no such folder, and loading a Hugging Face model by name");
        let hint = format!("download it (`hf download {model} --local-dir FOLDER`) and {WORKS}");
        return Err(unsupported(what, hint));
    }
    Err(Error::invalid(format!("--model {model}"), format!("no such folder; {WORKS}")))
}

/// Longer sequences than this are typing errors, unless the model says otherwise.
const MOST_POSITIONS: usize = 1 << 18;

impl Session {
    /// Opens the device, by `policy` or the environment's.
    pub(super) async fn gpu(&self, inspect: Inspect, policy: Option<Policy>) -> Result<Gpu> {
        let options = GpuOptions {
            adapter: self.device.clone(),
            policy: policy.unwrap_or_else(Policy::from_env),
            verify: inspect.verify,
            validate_only: false,
        };
        let gpu = Gpu::with(options).await?;
        if inspect.profile {
            if !gpu.caps().adapter.timestamps {
                self.printer.warn("this adapter has no timestamps: nothing will be profiled");
            }
            gpu.profile(true);
        }
        Ok(gpu)
    }

    /// Loads the model for sequences of `positions` tokens, behind a bar.
    pub(super) async fn load(
        &self,
        gpu: &Gpu,
        files: &Files,
        quant: Quant,
        positions: usize,
    ) -> Result<Model> {
        let most = files.config.max_position_embeddings;
        if positions > most.max(MOST_POSITIONS) {
            let why =
                format!("{positions} tokens, the model was trained for {most}; ask for fewer");
            return Err(Error::invalid("sequence length", why).into());
        }
        if positions > most {
            self.printer.warn(format!(
                "{positions} tokens, the model was trained for {most}: what lies beyond may make no sense"
            ));
        }
        let bar = self.printer.bar(0, "loading {bytes:>10}/{total_bytes:10} {wide_bar} {eta:>4}");
        let mut progress = |done: u64, total: u64| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let options = LoadOptions { quant, max_positions: positions };
        let loaded =
            Model::load(gpu, &files.checkpoint, &files.config, options, &mut progress).await;
        bar.finish_and_clear();
        Ok(loaded?)
    }

    /// Prints the table of a profiled run.
    pub(super) fn finish_profile(&self, gpu: &Gpu, inspect: Inspect) {
        if let Some(profile) = gpu.profile(false).filter(|_| inspect.profile) {
            self.printer.warn(format!("profile\n{profile}"));
        }
    }
}

/// Reads an adapter and attaches it under a name; the base model's name is compared by eye only.
pub(super) async fn attach(model: &mut Model, name: &str, path: &str) -> Result<()> {
    let file = AdapterFile::load(path)?;
    let base = file.config.base_model_name_or_path.clone().unwrap_or("unknown".into());
    model
        .add_adapter(name, &file, false)
        .await
        .with_context(|| format!("adapter {path} (trained on {base})"))
}
