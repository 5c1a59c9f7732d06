//! What every command needs: where words go, a device, and a model on it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::args::{Computation, Global, Inspect};
use super::files::{Files, say_notes};
use super::printer::Printer;
use crate::Error;
use crate::format::{AdapterFile, ModelFiles};
use crate::gpu::{Choices, Gpu, GpuOptions, Origin, Policy, Tuning};
use crate::hub;
use crate::kernels::{self, Contest, Tuned, tune};
use crate::model::{LoadOptions, Model, Quant};

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

/// Seconds that measuring kernel variants takes at most, unless `WGPU_LORA_TUNE_SECONDS` says
/// otherwise.
const TUNE_SECONDS: u64 = 10;

/// Of these the last, in which no measurement begins: the one that runs has to end.
const TO_END: u64 = 2;

fn tune_seconds() -> Result<u64> {
    match std::env::var("WGPU_LORA_TUNE_SECONDS") {
        Ok(text) => text.parse().with_context(|| {
            format!("WGPU_LORA_TUNE_SECONDS: `{text}` is no whole number of seconds; {TUNE_SECONDS} is usual")
        }),
        Err(_) => Ok(TUNE_SECONDS),
    }
}

/// Measures kernel variants for as long as the user allows.
pub(super) fn measure(gpu: &Gpu) -> Result<Tuned> {
    Ok(tune(gpu, Duration::from_secs(tune_seconds()?.saturating_sub(TO_END)))?)
}

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

/// Whether shaders are to come from a folder: `WGPU_LORA_SHADERS`. What is measured of them says
/// nothing of those that are built in.
fn hot_shaders() -> bool {
    std::env::var_os("WGPU_LORA_SHADERS").is_some_and(|folder| !folder.is_empty())
}

/// What every command needs.
pub(super) struct Session {
    pub(super) printer: Printer,
    device: Option<String>,
    /// Whether kernel variants that were measured run.
    tune: bool,
}

impl Session {
    pub(super) fn new(global: &Global) -> Session {
        let printer = Printer::new(global);
        Session { printer, device: global.device.clone(), tune: !global.no_tune && !hot_shaders() }
    }

    /// The flags that make the session of another process of this program like this one.
    pub(super) fn flags(&self) -> Vec<String> {
        let device = self.device.iter().flat_map(|name| ["--device".to_owned(), name.clone()]);
        device.chain((!self.tune).then(|| "--no-tune".into())).collect()
    }

    /// A bar for each file that is downloaded.
    pub(super) fn downloads(&self) -> impl FnMut(&str, u64, u64) {
        let mut shown = None;
        move |file, done, all| {
            shown.get_or_insert_with(|| self.printer.progress(file))(done, all);
            if done == all {
                shown = None;
            }
        }
    }

    /// The folder or file of a MODEL: a path, or a name of the hub.
    pub(super) fn locate(&self, model: &str) -> Result<PathBuf> {
        Ok(hub::locate(model, &mut self.downloads())?)
    }

    /// Opens MODEL. **Errors** say what works.
    pub(super) fn files(&self, model: &str) -> Result<Files> {
        Ok(Files::new(ModelFiles::open(self.locate(model)?)?))
    }

    /// Opens the device, by `policy` or the environment's, with the choices that were measured
    /// before.
    pub(super) async fn gpu(&self, inspect: Inspect, policy: Option<Policy>) -> Result<Gpu> {
        let tuning = kept_folder().filter(|_| self.tune).map_or(Tuning::Shipped, Tuning::Kept);
        let policy = policy.map_or_else(policy_from_env, Ok)?;
        self.open(inspect, policy, tuning).await
    }

    /// Opens the device for work that takes minutes: before it begins, kernel variants are measured
    /// where none are shipped or kept for this adapter, and kept.
    pub(super) async fn tuned_gpu(&self, inspect: Inspect) -> Result<Gpu> {
        let gpu = self.gpu(inspect, None).await?;
        if !self.tune || inspect.verify || !gpu.caps().is_untuned() {
            return Ok(gpu);
        }
        self.printer.note(format!(
            "measuring kernel variants on this adapter, at most {} s, once (--no-tune: as shipped)",
            tune_seconds()?
        ));
        let choices = match measure(&gpu) {
            Ok(tuned) => {
                describe(&tuned).iter().for_each(|line| self.printer.note(line));
                tuned.choices
            }
            Err(error) => {
                self.printer.warn(format!("kernel variants stay as shipped: {error}"));
                Choices { origin: Origin::Tuned, ..Choices::default() }
            }
        };
        self.keep(&choices, &gpu);
        drop(gpu);
        self.open(inspect, Policy::Auto, Tuning::Given(choices)).await
    }

    /// Keeps what was measured for the next time, unless measurements are not wanted.
    pub(super) fn keep(&self, choices: &Choices, gpu: &Gpu) {
        if let Some(folder) = kept_folder().filter(|_| self.tune)
            && let Err(error) = choices.keep(&folder, &gpu.caps().adapter)
        {
            self.printer.warn(format!("measured again next time: {}: {error}", folder.display()));
        }
    }

    /// Opens the device.
    pub(super) async fn open(
        &self,
        inspect: Inspect,
        policy: Policy,
        tuning: Tuning,
    ) -> Result<Gpu> {
        if hot_shaders() && cfg!(not(feature = "hot-shaders")) {
            bail!(
                "WGPU_LORA_SHADERS: this program has its shaders built in; build it with `--features hot-shaders`"
            );
        }
        let options = GpuOptions {
            adapter: self.device.clone(),
            policy,
            tuning,
            verify: inspect.verify,
            pipeline_cache: kept_folder(),
            ..GpuOptions::default()
        };
        let gpu = Gpu::with(options).await?;
        if inspect.profile && !gpu.caps().adapter.timestamps {
            self.printer.warn("this adapter has no timestamps: nothing will be profiled");
        }
        self.start_profile(&gpu, inspect);
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
        let options = LoadOptions { quant, max_positions: positions };
        let progress = &mut self.printer.progress("loading");
        Ok(Model::load(gpu, &files.checkpoint, &files.config, options, progress).await?)
    }

    /// Loads the model as the flags say.
    pub(super) async fn model(
        &self,
        gpu: &Gpu,
        files: &Files,
        how: &Computation,
        positions: usize,
    ) -> Result<Model> {
        let mut model = self.load(gpu, files, how.quant, positions).await?;
        model.set_precision(how.precision);
        Ok(model)
    }

    /// Reads an adapter and attaches it under a name; the base model's name is compared by eye
    /// only. Says what of it changes nothing.
    pub(super) async fn attach(&self, model: &mut Model, name: &str, path: &str) -> Result<()> {
        let file = AdapterFile::load(path)?;
        say_notes(&self.printer, path, &file, model.config());
        let base = file.config.base_model_name_or_path.clone().unwrap_or("unknown".into());
        let attached = model.add_adapter(name, &file).await;
        attached.with_context(|| format!("adapter {path} (trained on {base})"))
    }

    /// Measures from here on, if a profile is asked for.
    pub(super) fn start_profile(&self, gpu: &Gpu, inspect: Inspect) {
        if inspect.profile {
            gpu.start_profile();
        }
    }

    /// Prints the table of a profiled run.
    pub(super) fn finish_profile(&self, gpu: &Gpu, inspect: Inspect) {
        if let Some(profile) = gpu.take_profile().filter(|_| inspect.profile) {
            self.printer.warn(format!("profile\n{profile}"));
        }
    }
}
