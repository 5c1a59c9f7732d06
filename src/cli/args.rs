// table
//! What can be typed. Names follow PEFT, transformers and TRL.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use super::pairs::pair;

/// QLoRA fine-tuning and inference of Llama models on any GPU.
#[derive(Debug, Parser)]
#[command(name = "wgpu-lora", version, about, propagate_version = true, args_override_self = true)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(super) struct Global {
    /// One JSON object a line on stdout, and nothing else there.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Results and errors only.
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// Say more on stderr; twice, much more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub(super) verbose: u8,
    /// Part of a graphics adapter's name (see `info`); the best one otherwise.
    #[arg(long, global = true, env = "WGPU_LORA_DEVICE", value_name = "SUBSTRING")]
    pub(super) device: Option<String>,
    /// Run the kernel variants that are shipped: measure none, and use none that were measured.
    #[arg(long, global = true)]
    pub(super) no_tune: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show adapters, limits, features, and the kernel variants that were chosen.
    Info,
    /// Fine-tune a LoRA adapter.
    Train(Box<TrainArgs>),
    /// Show what a training run would take on the device, from the configuration alone.
    Plan(Box<super::plan::PlanArgs>),
    /// Continue a prompt.
    Generate(GenerateArgs),
    /// Show the logits behind a prompt.
    Logits(LogitsArgs),
    /// Merge an adapter into the original 16-bit weights: a Hugging Face folder.
    Merge(super::merge::MergeArgs),
    /// Write a model or an adapter as GGUF.
    Export(super::export::ExportArgs),
    /// List and compare adapters.
    Adapters(super::adapters::AdaptersArgs),
    /// Draw a run's losses and learning rate: in the terminal, or as a picture or page.
    Plot(super::plot::PlotArgs),
    /// Make training, validation and test rows of products with prices.
    Prepare(super::prepare::PrepareArgs),
    /// Judge a price model on products whose price is known.
    Evaluate(Box<super::evaluate::EvaluateArgs>),
    /// Say what a product costs.
    Predict(super::predict::PredictArgs),
    /// Measure kernels, a training step, a prompt, generation, or loading.
    Bench(BenchArgs),
    /// Write the text of every kernel variant, for shader checks.
    #[command(hide = true)]
    Shaders(ShadersArgs),
}

/// How to look into a computation.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct Inspect {
    /// Run every operation on the CPU too and stop at the first that disagrees (slow).
    #[arg(long)]
    pub(super) verify: bool,
    /// Time every kernel and print a table to stderr.
    #[arg(long)]
    pub(super) profile: bool,
}

/// Numbers and switches are checked where all settings come together.
#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    /// The folder of the run.
    #[arg(long, value_name = "RUNDIR")]
    pub(super) out: PathBuf,
    /// Go on with the run in RUNDIR, after its last checkpoint.
    #[arg(long)]
    pub(super) resume: bool,
    /// Settings to start from, under --config and the flags.
    #[arg(long, value_name = "NAME")]
    pub(super) preset: Option<String>,
    /// Draw the loss in the terminal as it falls.
    #[arg(long)]
    pub(super) plot: bool,
    /// A TOML file of settings, under the flags; a run's run.toml is one.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) inspect: Inspect,
    #[command(flatten)]
    pub(super) settings: Settings,
}

/// The flags that are settings: each, if given, replaces the one of the same name in run.toml.
#[derive(Clone, Debug, Args, Serialize)]
#[command(next_help_heading = "Settings")]
pub(super) struct Settings {
    /// The base model: a folder, a .gguf file, or a Hugging Face name.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Training rows: JSONL, JSON, CSV or Parquet files (also .gz, .zst) of {"prompt", "completion"}, {"text"},
    /// {"instruction", "input", "response"} or {"messages"}; or data sets of the hub, OWNER/NAME[/SUBSET][:SPLIT].
    #[arg(long, value_name = "FILE", num_args = 1..)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    data: Vec<String>,
    /// Held-out rows, likewise (of a data set its validation or test split): evaluated before, during and after training.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_data: Option<String>,
    /// Columns with other names: text=review,... reads `text` from the column `review`.
    #[arg(long, value_name = "OURS=THEIRS,...", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    map: Vec<String>,
    /// The date that a chat template may write, 2026-11-30 or 2026-11-30T08:15:00 [default: when the run began].
    #[arg(long, value_name = "DATE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    template_date: Option<String>,
    /// Go on from this adapter of PEFT or an earlier run, with its rank, alpha and layers, in place of a fresh one.
    #[arg(long, value_name = "ADAPTER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    init_adapter: Option<String>,
    /// Frozen linear layers: nf4 (QLoRA) or none (the checkpoint's precision) [default: nf4].
    #[arg(long, value_name = "nf4|none")]
    #[serde(skip_serializing_if = "Option::is_none")]
    quant: Option<String>,
    /// LoRA's rank r [default: 16].
    #[arg(long, visible_alias = "r", value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    rank: Option<u64>,
    /// The adapter is scaled by alpha / rank [default: 32].
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_alpha: Option<f64>,
    /// Dropout of the adapter's input [default: 0.05].
    #[arg(long, value_name = "P")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_dropout: Option<f64>,
    /// Layers with an adapter, with commas, or all-linear [default: q_proj,v_proj].
    #[arg(long, value_name = "NAMES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    target_modules: Option<String>,
    /// Ranks of layers that have another one [default: none].
    #[arg(long, value_name = "NAME=N,...", value_delimiter = ',', value_parser = pair::<u64>)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rank_pattern: Vec<(String, u64)>,
    /// Alphas of layers that have another one [default: none].
    #[arg(long, value_name = "NAME=X,...", value_delimiter = ',', value_parser = pair::<f64>)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alpha_pattern: Vec<(String, f64)>,
    /// Numbers of the blocks with an adapter [default: all].
    #[arg(long, value_name = "0,1,...", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers_to_transform: Vec<u64>,
    /// Scale by alpha / sqrt(rank).
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    use_rslora: Option<bool>,
    /// Train magnitudes beside directions (DoRA).
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    use_dora: Option<bool>,
    /// Passes over the data [default: 3].
    #[arg(long, value_name = "X", conflicts_with = "max_steps")]
    #[serde(skip_serializing_if = "Option::is_none")]
    num_train_epochs: Option<f64>,
    /// Optimizer steps, instead of epochs.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_steps: Option<u64>,
    /// Rows in a micro-batch [default: 4].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_size: Option<u64>,
    /// Micro-batches in an optimizer step [default: 4].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient_accumulation_steps: Option<u64>,
    /// Tokens kept of a row [default: 1024, or the model's limit if that is less; the price presets: 128].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_length: Option<u64>,
    /// Put rows of like length together.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    group_by_length: Option<bool>,
    /// Fill each micro-batch with rows up to batch size · max length tokens.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    packing: Option<bool>,
    /// Peak learning rate [default: 2e-4].
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    learning_rate: Option<f64>,
    /// Learning rate after the warm-up [default: linear].
    #[arg(long, value_name = "constant|linear|cosine")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lr_scheduler_type: Option<String>,
    /// Warm-up as a share of all steps [default: 0].
    #[arg(long, value_name = "R", conflicts_with = "warmup_steps")]
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup_ratio: Option<f64>,
    /// Warm-up in steps [default: 0].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup_steps: Option<u64>,
    /// Decoupled weight decay [default: 0].
    #[arg(long, value_name = "W")]
    #[serde(skip_serializing_if = "Option::is_none")]
    weight_decay: Option<f64>,
    /// Clip the gradient to this norm; 0 does not clip [default: 1].
    #[arg(long, value_name = "G")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_grad_norm: Option<f64>,
    /// Optimizer [default: adamw].
    #[arg(long, value_name = "adamw|adamw8bit")]
    #[serde(skip_serializing_if = "Option::is_none")]
    optim: Option<String>,
    /// AdamW's beta1 [default: 0.9].
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    adam_beta1: Option<f64>,
    /// AdamW's beta2 [default: 0.999].
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    adam_beta2: Option<f64>,
    /// AdamW's epsilon [default: 1e-8].
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    adam_epsilon: Option<f64>,
    /// Seed of initial adapter, data order and dropout [default: 42].
    #[arg(long, value_name = "S")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Steps between lines of metrics; the loss of a line is their mean [default: 1].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    logging_steps: Option<u64>,
    /// Steps between evaluations [default: at the end of each epoch].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_steps: Option<u64>,
    /// Steps between checkpoints, or epoch [default: 500].
    #[arg(long, value_name = "N|epoch")]
    #[serde(skip_serializing_if = "Option::is_none")]
    save_steps: Option<String>,
    /// Checkpoints kept [default: all].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    save_total_limit: Option<u64>,
    /// Stop after this many evaluations without improvement.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    early_stopping_patience: Option<u64>,
    /// Compute activations twice to save memory [default: auto].
    #[arg(long, value_name = "auto|on|off")]
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient_checkpointing: Option<String>,
    /// f32, or mixed: 16 bits for activations that wait for the backward pass, and for factors of products on GPUs
    /// with shader-f16 [default: f32].
    #[arg(long, value_name = "f32|mixed")]
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<String>,
    /// Which tokens of a prompt/completion row are targets [default: completion].
    #[arg(long, value_name = "completion|all")]
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<String>,
}

/// Frozen linear layers.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(super) enum QuantArg {
    /// 4 bit, as QLoRA.
    #[default]
    Nf4,
    /// The checkpoint's precision.
    None,
}

/// How exactly products are computed.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(super) enum PrecisionArg {
    /// At 32 bits.
    #[default]
    F32,
    /// With factors of 16 bits and sums of 32, where the adapter has `shader-f16` and gains by it.
    Mixed,
}

#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    /// A folder with config.json, safetensors and tokenizer.json, a .gguf file, or a Hugging Face name.
    #[arg(long)]
    pub(super) model: String,
    /// A PEFT folder, perhaps with a name in front; several may be given.
    #[arg(long, value_name = "[NAME=]ADAPTER")]
    pub(super) adapter: Vec<String>,
    /// The adapter to use by name, or `none`; the first otherwise.
    #[arg(long = "use", value_name = "NAME")]
    pub(super) use_adapter: Option<String>,
    /// The text to continue; `-` reads it from stdin.
    #[arg(long, value_name = "TEXT|-", allow_hyphen_values = true)]
    pub(super) prompt: String,
    /// Tokens to generate, at most.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(super) max_new_tokens: usize,
    /// 0 takes the most probable token always.
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub(super) temperature: f64,
    /// Choose among the k most probable tokens.
    #[arg(long, value_name = "K")]
    pub(super) top_k: Option<usize>,
    /// Choose among the most probable tokens that reach this probability together.
    #[arg(long, value_name = "P")]
    pub(super) top_p: Option<f64>,
    /// Above 1, tokens of prompt and answer come again less often; 1.1 is usual.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub(super) repetition_penalty: f64,
    /// Answers to the one prompt, made in one batch.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) n: usize,
    /// Seed of the choices.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(super) seed: u64,
    /// A text that ends the answer, special tokens as they are written; several may be given.
    #[arg(long, value_name = "TEXT")]
    pub(super) stop: Vec<String>,
    /// Frozen linear layers.
    #[arg(long, value_enum, default_value_t)]
    pub(super) quant: QuantArg,
    /// How exactly products are computed.
    #[arg(long, value_enum, default_value_t)]
    pub(super) precision: PrecisionArg,
    #[command(flatten)]
    pub(super) inspect: Inspect,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("input").required(true))]
pub(super) struct LogitsArgs {
    /// A folder, a .gguf file, or a Hugging Face name; the tokenizer is not needed with --ids.
    #[arg(long)]
    pub(super) model: String,
    /// A PEFT folder.
    #[arg(long)]
    pub(super) adapter: Option<String>,
    /// Frozen linear layers.
    #[arg(long, value_enum, default_value_t)]
    pub(super) quant: QuantArg,
    /// How exactly products are computed.
    #[arg(long, value_enum, default_value_t)]
    pub(super) precision: PrecisionArg,
    /// The text.
    #[arg(long, value_name = "TEXT", group = "input", allow_hyphen_values = true)]
    pub(super) prompt: Option<String>,
    /// Token ids with commas, taken as they are.
    #[arg(long, value_name = "1,2,3", group = "input", value_delimiter = ',')]
    pub(super) ids: Option<Vec<u32>>,
    /// Show this many of the most probable next tokens.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(super) top: usize,
    /// Write the logits at every token: `logits` f32 [T, V].
    #[arg(long, value_name = "FILE.safetensors")]
    pub(super) out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) inspect: Inspect,
}

#[derive(Debug, Args)]
pub(super) struct ShadersArgs {
    /// Gets native/, browser/ and manifest.json.
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    pub(super) what: Option<BenchWhat>,
    /// Kernels whose name contains this; all otherwise.
    pub(super) filter: Option<String>,
    /// Sizes M, N, K: rows, output features, input features.
    #[arg(long, value_name = "MxNxK")]
    pub(super) shape: Option<String>,
    /// Every variant that the adapter runs, not only the one that it would choose.
    #[arg(long)]
    pub(super) all_variants: bool,
    /// Time for kernels at the sizes of real models; what does not fit is left out.
    #[arg(long, value_name = "S", default_value_t = 120.0)]
    pub(super) seconds: f64,
}

#[derive(Debug, Subcommand)]
pub(super) enum BenchWhat {
    /// A training step on random tokens with loss on all.
    Step(BenchStep),
    /// A prompt of random tokens.
    Prefill(BenchTokens),
    /// Tokens one after the other.
    Decode(BenchTokens),
    /// Loading the model to the device.
    Load(BenchLoad),
}

#[derive(Debug, Args)]
pub(super) struct BenchStep {
    #[arg(long)]
    pub(super) model: String,
    /// Rows.
    #[arg(long, default_value_t = 4)]
    pub(super) batch: usize,
    /// Tokens of a row.
    #[arg(long, default_value_t = 128)]
    pub(super) seq: usize,
    #[arg(long, default_value_t = 16)]
    pub(super) rank: usize,
    #[arg(long, default_value = "all-linear")]
    pub(super) target_modules: String,
    #[arg(long, value_name = "f32|mixed", default_value = "f32")]
    pub(super) precision: String,
    #[arg(long, value_enum, default_value_t)]
    pub(super) quant: QuantArg,
    #[arg(long, value_name = "auto|on|off", default_value = "auto")]
    pub(super) gradient_checkpointing: String,
    /// Steps that are timed, after one that is not.
    #[arg(long, default_value_t = 3)]
    pub(super) steps: usize,
    #[command(flatten)]
    pub(super) inspect: Inspect,
}

#[derive(Debug, Args)]
pub(super) struct BenchTokens {
    #[arg(long)]
    pub(super) model: String,
    /// Number of tokens [default: 128 of a prompt, 16 generated].
    #[arg(long)]
    pub(super) tokens: Option<usize>,
    #[arg(long, value_enum, default_value_t)]
    pub(super) quant: QuantArg,
    #[arg(long, value_enum, default_value_t)]
    pub(super) precision: PrecisionArg,
    #[command(flatten)]
    pub(super) inspect: Inspect,
}

#[derive(Debug, Args)]
pub(super) struct BenchLoad {
    #[arg(long)]
    pub(super) model: String,
    #[arg(long, value_enum, default_value_t)]
    pub(super) quant: QuantArg,
}
