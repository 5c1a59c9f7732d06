// table
//! The settings of a run as they are typed: flags, a file, a preset.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::args::pair;
use super::yaml;
use crate::Error;
use crate::format::AdapterFile;
use crate::pricer::preset::{PRESETS, preset};
use crate::train::config::TrainConfig;

/// What several processes elsewhere each have a batch of.
const PER_DEVICE: &str = "per_device_train_batch_size";

/// Where the settings of a run come from.
#[derive(Debug, Args)]
pub(super) struct SettingsArgs {
    /// Settings to start from, under --config and the flags: pricer-lite, pricer-full (the course's
    /// two runs), pricer-demo (minutes without a GPU).
    #[arg(long, value_name = "NAME")]
    pub(super) preset: Option<String>,
    /// A TOML or YAML file of settings, under the flags; a run's run.toml is one.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting by the name that PEFT, TRL or mlx-lm has for it (docs/names.md); as a flag of its
    /// own, --lora_r 8, it is the same.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    flags: Flags,
}

impl SettingsArgs {
    /// Flags over `--config` over the `run.toml` of the run that is `resumed` over the adapter to
    /// go on from over `--preset` over defaults; not checked yet.
    pub(super) fn merged(&self, resumed: Option<&Path>) -> Result<TrainConfig> {
        let resumed = resumed.map(|out| out.join("run.toml")).filter(|path| path.exists());
        let config = self.over_defaults(resumed.as_deref(), Ok)?;
        match &config.init_adapter {
            // The run that is resumed has the adapter's settings already.
            Some(folder) if resumed.is_none() => {
                let file = AdapterFile::load(folder).context("--init-adapter")?;
                let config = self.over_defaults(None, |config| config.with_adapter(&file))?;
                config.check_adapter(&file)?;
                Ok(config)
            }
            _ => Ok(config),
        }
    }

    fn over_defaults(
        &self,
        resumed: Option<&Path>,
        adapted: impl Fn(TrainConfig) -> crate::Result<TrainConfig>,
    ) -> Result<TrainConfig> {
        let mut config = TrainConfig::default();
        if let Some(name) = &self.preset {
            let why = || format!("there is {}", PRESETS.join(", "));
            let known = || Error::invalid(format!("--preset {name}"), why());
            config = preset(name).ok_or_else(known)?;
        }
        config = adapted(config)?;
        for path in [resumed, self.config.as_deref()].into_iter().flatten() {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
            config = match is_yaml(path) {
                true => config.overlay_table(yaml::table(&text, &name)?, &name)?,
                false => config.overlay(&text, &name)?,
            };
        }
        self.flags.over(config, &self.set)
    }

    /// **Errors** where several ranks are given a batch for each device: here it is that of all.
    pub(super) fn check_for_ranks(&self, config: &TrainConfig, ranks: usize) -> Result<()> {
        if ranks == 1 {
            return Ok(());
        }
        let of_file = self.config.as_deref().map(file).transpose()?.unwrap_or_default();
        let typed = self.set.iter().filter_map(|set| Some(set.split_once('=')?.0));
        let mut names = of_file.keys().map(String::as_str).chain(typed);
        if !names.any(|name| name.replace('-', "_") == PER_DEVICE) {
            return Ok(());
        }
        let (rows, steps) = (config.batch_size, config.gradient_accumulation_steps);
        let why = format!(
            "is a batch for each of {ranks} devices elsewhere; here a step's rows are those of all \
             ranks: give ‹batch_size› {rows} and ‹gradient_accumulation_steps› {} for as many",
            steps * ranks
        );
        Err(Error::invalid(PER_DEVICE, why).into())
    }
}

/// What a file of settings says, by the names that stand there.
fn file(path: &Path) -> Result<toml::Table> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let name = path.display().to_string();
    match is_yaml(path) {
        true => Ok(yaml::table(&text, &name)?),
        false => text.parse().context(name),
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
}

/// The flags that are settings: each, if given, replaces the one of the same name in run.toml.
/// Numbers and words are checked where all settings come together.
#[derive(Debug, Args, Serialize)]
#[command(next_help_heading = "Settings")]
struct Flags {
    /// The base model: a folder, a .gguf file, or a Hugging Face name.
    #[arg(short, long)]
    model: Option<String>,
    /// Training rows: JSONL, JSON, CSV or Parquet files (also .gz, .zst) of {"prompt",
    /// "completion"}, {"text"}, {"instruction", "input", "response"} or {"messages"}; or data sets
    /// of the hub, OWNER/NAME[/SUBSET][:SPLIT].
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<String>,
    /// Held-out rows, likewise (of a data set its validation or test split): evaluated before,
    /// during and after training.
    #[arg(long, value_name = "FILE")]
    eval_data: Option<String>,
    /// Hold out this share of the training rows, chosen by the seed, in place of --eval-data.
    #[arg(long, value_name = "SHARE")]
    eval_split: Option<f64>,
    /// Prompts, one a line, that are answered at each evaluation: into RUNDIR/samples.jsonl.
    #[arg(long, value_name = "FILE")]
    sample_prompts: Option<String>,
    /// Columns with other names: text=review,... reads `text` from the column `review`.
    #[arg(long, value_name = "OURS=THEIRS,...", value_delimiter = ',')]
    map: Vec<String>,
    /// The date that a chat template may write, 2026-11-30 or 2026-11-30T08:15:00 [default: when
    /// the run began].
    #[arg(long, value_name = "DATE")]
    template_date: Option<String>,
    /// Go on from this adapter of PEFT or an earlier run, with its rank, alpha and layers, in place
    /// of a fresh one.
    #[arg(long, value_name = "ADAPTER")]
    init_adapter: Option<String>,
    /// Frozen linear layers: nf4 (QLoRA) or none (the checkpoint's precision) [default: nf4].
    #[arg(long, value_name = "nf4|none")]
    quant: Option<String>,
    /// LoRA's rank r [default: 16].
    #[arg(long, visible_alias = "r", value_name = "N")]
    rank: Option<u64>,
    /// The adapter is scaled by alpha / rank [default: 32].
    #[arg(long, value_name = "X")]
    lora_alpha: Option<f64>,
    /// Dropout of the adapter's input [default: 0.05].
    #[arg(long, value_name = "P")]
    lora_dropout: Option<f64>,
    /// Layers with an adapter, with commas, or all-linear [default: q_proj,v_proj].
    #[arg(long, value_name = "NAMES")]
    target_modules: Option<String>,
    /// Ranks of layers that have another one [default: none].
    #[arg(long, value_name = "NAME=N,...", value_delimiter = ',', value_parser = pair::<u64>)]
    rank_pattern: Vec<(String, u64)>,
    /// Alphas of layers that have another one [default: none].
    #[arg(long, value_name = "NAME=X,...", value_delimiter = ',', value_parser = pair::<f64>)]
    alpha_pattern: Vec<(String, f64)>,
    /// Numbers of the blocks with an adapter [default: all].
    #[arg(long, value_name = "0,1,...", value_delimiter = ',')]
    layers_to_transform: Vec<u64>,
    /// Scale by alpha / sqrt(rank).
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    use_rslora: Option<bool>,
    /// Train magnitudes beside directions (DoRA).
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    use_dora: Option<bool>,
    /// Passes over the data [default: 3].
    #[arg(long, value_name = "X", conflicts_with = "max_steps")]
    num_train_epochs: Option<f64>,
    /// Optimizer steps, instead of epochs.
    #[arg(long, value_name = "N")]
    max_steps: Option<u64>,
    /// Rows in a micro-batch [default: 4].
    #[arg(long, value_name = "N")]
    batch_size: Option<u64>,
    /// Micro-batches in an optimizer step [default: 4].
    #[arg(long, value_name = "N")]
    gradient_accumulation_steps: Option<u64>,
    /// Tokens kept of a row [default: 1024, or the model's limit if that is less; the price
    /// presets: 128].
    #[arg(long, value_name = "N")]
    max_length: Option<u64>,
    /// Put rows of like length together.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    group_by_length: Option<bool>,
    /// Fill each micro-batch with rows up to batch size · max length tokens.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    packing: Option<bool>,
    /// Peak learning rate [default: 2e-4].
    #[arg(long, value_name = "X")]
    learning_rate: Option<f64>,
    /// Learning rate after the warm-up [default: linear].
    #[arg(long, value_name = "constant|linear|cosine")]
    lr_scheduler_type: Option<String>,
    /// Warm-up as a share of all steps [default: 0].
    #[arg(long, value_name = "R", conflicts_with = "warmup_steps")]
    warmup_ratio: Option<f64>,
    /// Warm-up in steps [default: 0].
    #[arg(long, value_name = "N")]
    warmup_steps: Option<u64>,
    /// Decoupled weight decay [default: 0].
    #[arg(long, value_name = "W")]
    weight_decay: Option<f64>,
    /// Clip the gradient to this norm; 0 does not clip [default: 1].
    #[arg(long, value_name = "G")]
    max_grad_norm: Option<f64>,
    /// Optimizer [default: adamw].
    #[arg(long, value_name = "adamw|adamw8bit")]
    optim: Option<String>,
    /// AdamW's beta1 [default: 0.9].
    #[arg(long, value_name = "X")]
    adam_beta1: Option<f64>,
    /// AdamW's beta2 [default: 0.999].
    #[arg(long, value_name = "X")]
    adam_beta2: Option<f64>,
    /// AdamW's epsilon [default: 1e-8].
    #[arg(long, value_name = "X")]
    adam_epsilon: Option<f64>,
    /// Seed of initial adapter, data order and dropout [default: 42].
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Steps between lines of metrics; the loss of a line is their mean [default: 1].
    #[arg(long, value_name = "N")]
    logging_steps: Option<u64>,
    /// Steps between evaluations [default: at the end of each epoch].
    #[arg(long, value_name = "N")]
    eval_steps: Option<u64>,
    /// Steps between checkpoints, or epoch [default: 500].
    #[arg(long, value_name = "N|epoch")]
    save_steps: Option<String>,
    /// Checkpoints kept [default: all].
    #[arg(long, value_name = "N")]
    save_total_limit: Option<u64>,
    /// Stop after this many evaluations without improvement.
    #[arg(long, value_name = "N")]
    early_stopping_patience: Option<u64>,
    /// Compute activations twice to save memory [default: auto].
    #[arg(long, value_name = "auto|on|off")]
    gradient_checkpointing: Option<String>,
    /// f32, or mixed: 16 bits for activations that wait for the backward pass, and for factors of
    /// products on GPUs with shader-f16 [default: f32].
    #[arg(long, value_name = "f32|mixed")]
    precision: Option<String>,
    /// Which tokens of a prompt/completion row are targets [default: completion].
    #[arg(long, value_name = "completion|all")]
    loss: Option<String>,
    /// Judge numbers also by how near they are: soft (a Gaussian around the number) or crps (ranked
    /// probability score, where numbers are one token) [default: none].
    #[arg(long, value_name = "soft|crps|none")]
    number_loss: Option<String>,
    /// Share of the Gaussian in the target, or factor of the score [default: 0.5].
    #[arg(long, value_name = "W")]
    number_weight: Option<f64>,
    /// Standard deviation of the Gaussian, or unit of the score: dollars, or per cent of the number
    /// [default: 30].
    #[arg(long, value_name = "S|S%")]
    number_width: Option<String>,
    /// The number that an answer begins with, or all among the targets [default: first].
    #[arg(long, value_name = "first|all")]
    number_tokens: Option<String>,
}

impl Flags {
    /// Replaces what is given.
    fn over(&self, mut config: TrainConfig, set: &[String]) -> Result<TrainConfig> {
        let mut table = toml::Table::try_from(self).context("command line")?;
        table.retain(|_, value| value.as_array().is_none_or(|given| !given.is_empty()));
        // A number of steps, or a word.
        if let Some(toml::Value::String(text)) = table.get("save_steps")
            && let Ok(steps) = text.parse::<i64>()
        {
            table.insert("save_steps".into(), steps.into());
        }
        for text in set {
            let Some((name, value)) = text.split_once('=') else {
                return Err(Error::invalid(format!("--set {text}"), "is not NAME=VALUE").into());
            };
            table.insert(name.to_owned(), typed(value));
        }
        // The one that is typed wins over the one in a file.
        if table.contains_key("num_train_epochs") {
            config.max_steps = None;
        }
        if table.contains_key("warmup_ratio") {
            config.warmup_steps = 0;
        }
        Ok(config.overlay_table(table, "command line")?)
    }
}

/// A value as TOML has it; a text needs no quotes.
fn typed(value: &str) -> toml::Value {
    let lower = value.to_lowercase();
    let text = if ["true", "false"].contains(&lower.as_str()) { &lower } else { value };
    let table = format!("value = {text}").parse::<toml::Table>().ok();
    table.and_then(|mut table| table.remove("value")).unwrap_or_else(|| value.into())
}
