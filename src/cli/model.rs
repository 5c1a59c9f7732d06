//! From what was typed to a model on a device: MODEL, ADAPTER, and how to open the device.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::args::{Inspect, PrecisionArg, QuantArg};
use super::hub_model;
use super::printer::Printer;
use crate::Error;
use crate::format::{AdapterFile, ModelConfig, ModelFiles, Tokenizer, is_gguf};
use crate::gpu::{Choices, Gpu, GpuOptions, Origin, Policy, Tuning};
use crate::kernels::{self, Contest, Tuned, tune};
use crate::model::{LoadOptions, Model, Precision, Quant, adapter_notes};

/// What every command needs.
pub(super) struct Session {
    pub(super) printer: Printer,
    pub(super) device: Option<String>,
    /// Whether kernel variants that were measured run.
    pub(super) tune: bool,
}

impl From<QuantArg> for Quant {
    fn from(arg: QuantArg) -> Quant {
        match arg {
            QuantArg::Nf4 => Quant::Nf4,
            QuantArg::None => Quant::None,
        }
    }
}

impl From<PrecisionArg> for Precision {
    fn from(arg: PrecisionArg) -> Precision {
        match arg {
            PrecisionArg::F32 => Precision::F32,
            PrecisionArg::Mixed => Precision::Mixed,
        }
    }
}

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
    /// Opens MODEL. **Errors** say what works.
    pub(super) fn open(model: &str) -> Result<Files> {
        let files = ModelFiles::open(local(model)?)?;
        let notes = RefCell::new(files.notes.clone());
        Ok(Files { files, notes })
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

const WORKS: &str = "give a .gguf file, or a folder with config.json, model.safetensors (or shards with their \
                     index) and tokenizer.json, or a Hugging Face name";

/// The folder or file of a MODEL: a path, or a name of the hub.
pub(super) fn local(model: &str) -> Result<PathBuf> {
    let path = Path::new(model);
    if model.is_empty() {
        return Err(Error::invalid("--model", format!("is empty; {WORKS}")).into());
    }
    if path.is_dir() || path.is_file() && is_gguf(path) {
        return Ok(path.to_path_buf());
    }
    if path.is_file() {
        let why = format!("is a file; {WORKS}");
        return Err(Error::invalid(format!("--model {model}"), why).into());
    }
    match hub_model::Name::parse(model) {
        Some(name) => hub_model::model(&name),
        None => {
            let why = format!("no such folder or file; {WORKS}");
            Err(Error::invalid(format!("--model {model}"), why).into())
        }
    }
}

/// Longer sequences than this are typing errors, unless the model says otherwise.
const MOST_POSITIONS: usize = 1 << 18;

/// Where compiled pipelines and measured choices are kept: the user's cache folder.
fn kept_folder() -> Option<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = if cfg!(target_os = "macos") {
        var("HOME").map(|home| home.join("Library/Caches"))
    } else if cfg!(windows) {
        var("LOCALAPPDATA")
    } else {
        var("XDG_CACHE_HOME").or_else(|| var("HOME").map(|home| home.join(".cache")))
    };
    Some(base?.join("wgpu-lora/pipelines"))
}

/// No measurement of a variant begins later: the last one has two seconds to end.
const BUDGET: Duration = Duration::from_secs(8);

/// What was measured, a line each.
fn describe(tuned: &Tuned) -> Vec<String> {
    let line = |contest: &Contest| {
        let (winner, shipped) = (contest.winner(), contest.seconds[0]);
        let body = contest.bodies[winner];
        match winner {
            0 => format!("  {}: {body}, as shipped", contest.context),
            _ => format!(
                "  {}: {body}, {:.2} times as fast as {}",
                contest.context,
                shipped / contest.seconds[winner],
                contest.bodies[0]
            ),
        }
    };
    let mut lines: Vec<String> = tuned.contests.iter().map(line).collect();
    if tuned.left_out > 0 {
        lines.push(format!("  {} other products: no time was left, as shipped", tuned.left_out));
    }
    lines
}

/// The environment's choice of kernel variants: `WGPU_LORA_VARIANT`.
///
/// **Errors** for a name that no kernel has.
pub(super) fn policy_from_env() -> Result<Policy> {
    let name = std::env::var("WGPU_LORA_VARIANT").unwrap_or_default();
    Policy::named(&name, kernels::ALL).context("WGPU_LORA_VARIANT")
}

impl Session {
    /// Opens the device, by `policy` or the environment's, with the choices that were measured before.
    pub(super) async fn gpu(&self, inspect: Inspect, policy: Option<Policy>) -> Result<Gpu> {
        let tuning = kept_folder().filter(|_| self.tune).map_or(Tuning::Shipped, Tuning::Kept);
        let policy = policy.map_or_else(policy_from_env, Ok)?;
        self.open(inspect, policy, tuning).await
    }

    /// Opens the device for work that takes minutes: before it begins, kernel variants are measured where
    /// none are shipped or kept for this adapter, and kept.
    pub(super) async fn tuned_gpu(&self, inspect: Inspect) -> Result<Gpu> {
        let gpu = self.gpu(inspect, None).await?;
        if !self.tune || inspect.verify || !gpu.caps().is_untuned() {
            return Ok(gpu);
        }
        self.printer.note(
            "measuring kernel variants on this adapter, at most 10 s, once (--no-tune: as shipped)",
        );
        let choices = match tune(&gpu, BUDGET) {
            Ok(tuned) => {
                describe(&tuned).iter().for_each(|line| self.printer.note(line));
                tuned.choices
            }
            Err(error) => {
                self.printer.warn(format!("kernel variants stay as shipped: {error}"));
                Choices { origin: Origin::Tuned, ..Choices::default() }
            }
        };
        if let Some(folder) = kept_folder()
            && let Err(error) = choices.keep(&folder, &gpu.caps().adapter)
        {
            self.printer.warn(format!("measured again next time: {}: {error}", folder.display()));
        }
        drop(gpu);
        self.open(inspect, Policy::Auto, Tuning::Given(choices)).await
    }

    /// Opens the device.
    pub(super) async fn open(
        &self,
        inspect: Inspect,
        policy: Policy,
        tuning: Tuning,
    ) -> Result<Gpu> {
        let options = GpuOptions {
            adapter: self.device.clone(),
            policy,
            tuning,
            verify: inspect.verify,
            pipeline_cache: kept_folder(),
            ..GpuOptions::default()
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
        files.say(&self.printer);
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

/// What of an adapter changes nothing in a model.
pub(super) fn say_notes(printer: &Printer, path: &str, file: &AdapterFile, model: &ModelConfig) {
    let notes = adapter_notes(&file.config, Some(file), model);
    notes.iter().for_each(|note| printer.warn(format!("adapter {path}: {note}")));
}

/// Reads an adapter and attaches it under a name; the base model's name is compared by eye only. Says what of it changes
/// nothing.
pub(super) async fn attach(
    printer: &Printer,
    model: &mut Model,
    name: &str,
    path: &str,
) -> Result<()> {
    let file = AdapterFile::load(path)?;
    say_notes(printer, path, &file, model.config());
    let base = file.config.base_model_name_or_path.clone().unwrap_or("unknown".into());
    model
        .add_adapter(name, &file, false)
        .await
        .with_context(|| format!("adapter {path} (trained on {base})"))
}
