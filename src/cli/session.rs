//! What every command needs: where words go, a device, and a model on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::args::{Computation, Global, Inspect};
use super::files::{Files, say_notes};
use super::near;
use super::printer::Printer;
use super::ranks::Launch;
use crate::Error;
use crate::format::{AdapterFile, ModelFiles};
use crate::gpu::{AdapterReport, Choices, Gpu, GpuOptions, Origin, Policy, Tuning, cards};
use crate::hub;
use crate::kernels::{self, Contest, Tuned, tune};
use crate::model::{LoadOptions, Model, Quant};
use crate::train::ranks::{self, Ranks};

/// Longer sequences than this are typing errors, unless the model says otherwise.
const MOST_POSITIONS: usize = 1 << 18;

/// This program's folder in the user's cache folder.
pub(super) fn cache_folder() -> Option<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = if cfg!(target_os = "macos") {
        var("HOME").map(|home| home.join("Library/Caches"))
    } else if cfg!(windows) {
        var("LOCALAPPDATA")
    } else {
        var("XDG_CACHE_HOME").or_else(|| var("HOME").map(|home| home.join(".cache")))
    };
    Some(base?.join("wgpu-lora"))
}

/// Where compiled pipelines and measured choices are kept.
fn kept_folder() -> Option<PathBuf> {
    Some(cache_folder()?.join("pipelines"))
}

/// Seconds that measuring kernel variants takes at most, unless `WGPU_LORA_TUNE_SECONDS` says
/// otherwise.
const TUNE_SECONDS: u64 = 10;

/// Of these the last, in which no measurement begins: the one that runs has to end.
const TO_END: u64 = 2;

/// What the environment allows, else `usual`.
fn tune_seconds(usual: u64) -> Result<u64> {
    match std::env::var("WGPU_LORA_TUNE_SECONDS") {
        Ok(text) => text.parse().with_context(|| {
            format!(
                "WGPU_LORA_TUNE_SECONDS: `{text}` is no whole number of seconds; {usual} is usual"
            )
        }),
        Err(_) => Ok(usual),
    }
}

/// Measures kernel variants for as long as the user allows, else for `usual` seconds.
pub(super) fn measure(gpu: &Gpu, usual: u64) -> Result<Tuned> {
    Ok(tune(gpu, Duration::from_secs(tune_seconds(usual)?.saturating_sub(TO_END)))?)
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
    lines.extend(
        tuned.wrong.iter().map(|what| format!("  wrong on this adapter, not used: {what}")),
    );
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
    /// The processes that share the work.
    pub(super) ranks: Arc<dyn Ranks>,
    /// The number of this one on its host.
    local: usize,
    device: Option<String>,
    /// Whether kernel variants that were measured run.
    tune: bool,
}

impl Session {
    pub(super) fn new(global: &Global, launch: &Launch) -> Session {
        let (ranks, local) = (launch.ranks.clone(), launch.local);
        let printer = Printer::new(global, ranks.rank() > 0);
        let (device, tune) = (global.device.clone(), !global.no_tune && !hot_shaders());
        Session { printer, ranks, local, device, tune }
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
        let found = hub::locate(model, &mut self.downloads());
        let path = Path::new(model);
        match found {
            Err(error) if !path.exists() => bail!("{error}{}", near::question(path)),
            found => Ok(found?),
        }
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
            tune_seconds(TUNE_SECONDS)?
        ));
        drop(gpu);
        let gpu = self.open(inspect, Policy::Auto, Tuning::Measuring).await?;
        let choices = match measure(&gpu, TUNE_SECONDS) {
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

    /// The device of this rank: rank 0 opens its own by `first`, the others theirs with the kernel
    /// variants of that one. **Errors** on a rank that cannot run them.
    pub(super) async fn gpu_of_rank(
        &self,
        inspect: Inspect,
        first: impl Future<Output = Result<Gpu>>,
    ) -> Result<Gpu> {
        let ranks = &*self.ranks;
        let table = |gpu: &Gpu| {
            let mut table = gpu.caps().variants(kernels::ALL);
            table.insert("policy".into(), gpu.caps().policy.name().into());
            table
        };
        let gpu = if ranks.rank() == 0 {
            let gpu = first.await?;
            ranks::broadcast_text(ranks, serde_json::to_string(&table(&gpu))?)?;
            gpu
        } else {
            let text = ranks::broadcast_text(ranks, String::new())?;
            let variants: BTreeMap<String, String> = serde_json::from_str(&text)?;
            let policy = Policy::recorded(variants.get("policy").map_or("auto", String::as_str));
            let tuning = Tuning::Given(Choices::recorded(&variants));
            self.open(inspect, policy, tuning).await?
        };
        if ranks.size() > 1 {
            let report = &gpu.caps().adapter;
            let about = format!("{}, {}", report.name, report.driver);
            let advice = "use GPUs that run the same kernels (--device)";
            ranks::agree(ranks, &about, &table(&gpu), advice)?;
            self.warn_of_sharing(report)?;
        }
        Ok(gpu)
    }

    /// Says which ranks share a GPU.
    fn warn_of_sharing(&self, report: &AdapterReport) -> Result<()> {
        let ranks = &*self.ranks;
        let card = format!("{}: {}", ranks.host(), report.card());
        let all = ranks.all_gather(card.as_bytes())?;
        for (i, card) in all.iter().enumerate() {
            let shared = Vec::from_iter((0..all.len()).filter(|other| all[*other] == *card));
            if shared[0] == i && shared.len() > 1 {
                let shared = Vec::from_iter(shared.iter().map(usize::to_string)).join(", ");
                let card = String::from_utf8_lossy(card);
                self.printer.warn(format!(
                    "ranks {shared} share one adapter ({card}): start as many on a host as it has"
                ));
            }
        }
        Ok(())
    }

    /// What [`GpuOptions::adapter`] is for this rank: of the cards of this host that `--device`
    /// leaves, the one with its local number.
    async fn adapter_of_rank(&self) -> Option<String> {
        if self.ranks.size() == 1 {
            return self.device.clone();
        }
        let cards = cards(self.device.as_deref()).await;
        let card = cards.get(self.local % cards.len().max(1));
        card.map(usize::to_string).or(self.device.clone())
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
            adapter: self.adapter_of_rank().await,
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
