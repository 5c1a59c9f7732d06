//! Every setting of a training run: what `run.toml` holds, with defaults, checks and differences.

mod adapter;
mod checks;
mod modules;
pub mod names;
mod text;

use super::schedule::SchedulerType;
use crate::Result;
use crate::data::{
    ColumnMap, DatasetOptions, LoaderOptions, LossOn, MAX_LENGTH, NumberLoss, NumberTerm,
    NumberTokens, NumberWidth,
};
use crate::format::{ModelConfig, Moment, PatternMap};
use crate::random::Fnv;
use serde::{Deserialize, Serialize};

pub use crate::format::TargetModules;
pub use crate::model::{Precision, Quant};
pub use text::Difference;

/// The optimizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optim {
    /// AdamW with f32 states.
    #[default]
    Adamw,
    /// AdamW with 8-bit states, 32-bit ones for tensors of fewer than 4096 elements.
    /// **Source** Dettmers et al. 2022 (arXiv:2110.02861).
    Adamw8bit,
}

/// Whether each layer's activations are computed again in the backward pass instead of kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checkpointing {
    /// If they would not fit otherwise.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// When a checkpoint is written. In TOML a number or `"epoch"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "NumberOrWord", into = "NumberOrWord")]
pub enum SaveSteps {
    /// Every so many optimizer steps.
    Steps(u64),
    /// At the end of each epoch.
    Epoch,
}

impl SaveSteps {
    /// Whether one is due after `step` optimizer steps.
    pub fn due(self, step: u64, at_epoch_end: bool) -> bool {
        match self {
            SaveSteps::Steps(n) => n > 0 && step > 0 && step.is_multiple_of(n),
            SaveSteps::Epoch => at_epoch_end && step > 0,
        }
    }
}

impl std::str::FromStr for SaveSteps {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<SaveSteps, String> {
        match text.parse() {
            Ok(n) => Ok(SaveSteps::Steps(n)),
            Err(_) if text == "epoch" => Ok(SaveSteps::Epoch),
            Err(_) => Err(format!("`{text}` is neither a number of steps nor `epoch`")),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a number of steps or \"epoch\"")]
enum NumberOrWord {
    Number(u64),
    Word(String),
}

impl TryFrom<NumberOrWord> for SaveSteps {
    type Error = String;
    fn try_from(value: NumberOrWord) -> std::result::Result<SaveSteps, String> {
        match value {
            NumberOrWord::Number(n) => Ok(SaveSteps::Steps(n)),
            NumberOrWord::Word(word) => word.parse(),
        }
    }
}

impl From<SaveSteps> for NumberOrWord {
    fn from(value: SaveSteps) -> NumberOrWord {
        match value {
            SaveSteps::Steps(n) => NumberOrWord::Number(n),
            SaveSteps::Epoch => NumberOrWord::Word("epoch".into()),
        }
    }
}

/// A training run. Names are those of PEFT, transformers and TRL; defaults are the command line's,
/// and transformers' where that says nothing (but every step is logged).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// The base model: a folder, a `.gguf` file, or a name.
    pub model: String,
    /// Training rows: JSONL, JSON, CSV or Parquet files.
    pub data: Vec<String>,
    /// Evaluation rows: such a file.
    pub eval_data: Option<String>,
    /// Share of the training rows that is held out for evaluation, where there is no `eval_data`.
    pub eval_split: Option<f64>,
    /// A file of prompts, one a line, that are answered at each evaluation.
    pub sample_prompts: Option<String>,
    /// Columns that are read under another name: `text=review`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub map: Vec<String>,
    /// A PEFT folder to go on from, in place of a fresh adapter.
    pub init_adapter: Option<String>,
    /// How the frozen linear layers are kept.
    pub quant: Quant,
    /// PEFT's `r`: columns of the low-rank product.
    pub rank: usize,
    /// The adapter's product is scaled by alpha / rank.
    pub lora_alpha: f64,
    /// Share of the adapter's inputs set to 0 in training, in [0, 1).
    pub lora_dropout: f64,
    /// Layers with an adapter.
    #[serde(with = "modules")]
    pub target_modules: TargetModules,
    /// Ranks of layers that have another one, by name, end of a name, or expression; the first that
    /// matches counts.
    #[serde(skip_serializing_if = "PatternMap::is_empty", serialize_with = "PatternMap::as_pairs")]
    pub rank_pattern: PatternMap<usize>,
    /// Alphas of layers that have another one.
    #[serde(skip_serializing_if = "PatternMap::is_empty", serialize_with = "PatternMap::as_pairs")]
    pub alpha_pattern: PatternMap<f64>,
    /// Numbers of the blocks with an adapter; none: all.
    pub layers_to_transform: Option<Vec<usize>>,
    /// Scale by alpha / √rank instead. **Source** Kalajdzievski 2023 (arXiv:2312.03732).
    pub use_rslora: bool,
    /// Train the weights' magnitudes too. **Source** Liu et al. 2024 (arXiv:2402.09353).
    pub use_dora: bool,
    /// Passes over the data; fractions are allowed. Not used if `max_steps` is set.
    pub num_train_epochs: f64,
    /// Optimizer steps.
    pub max_steps: Option<u64>,
    /// Rows in a micro-batch.
    pub batch_size: usize,
    /// Micro-batches in an optimizer step.
    pub gradient_accumulation_steps: usize,
    /// Tokens kept of each row; none: [`MAX_LENGTH`], or the model's limit if that is less
    /// ([`TrainConfig::for_model`]).
    pub max_length: Option<usize>,
    /// Put rows of like length together.
    pub group_by_length: bool,
    /// Fill each micro-batch with rows up to `batch_size · max_length` tokens.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub packing: bool,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Its course after the warm-up.
    pub lr_scheduler_type: SchedulerType,
    /// Warm-up as a share of all steps, in [0, 1], if `warmup_steps` is 0.
    pub warmup_ratio: f64,
    /// Warm-up in steps.
    pub warmup_steps: u64,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f64,
    /// The gradient's norm is clipped to it; 0 does not clip.
    pub max_grad_norm: f64,
    /// The optimizer.
    pub optim: Optim,
    /// AdamW's β₁.
    pub adam_beta1: f64,
    /// AdamW's β₂.
    pub adam_beta2: f64,
    /// AdamW's ε.
    pub adam_epsilon: f64,
    /// Seed of initial adapters, data order and dropout; at most 2^63 - 1 (TOML's largest integer).
    pub seed: u64,
    /// Steps from one line of metrics to the next.
    pub logging_steps: u64,
    /// Steps from one evaluation to the next; none: at the end of each epoch.
    pub eval_steps: Option<u64>,
    /// When checkpoints are written.
    pub save_steps: SaveSteps,
    /// Checkpoints kept; none: all.
    pub save_total_limit: Option<usize>,
    /// Evaluations without improvement after which training stops; none: never.
    pub early_stopping_patience: Option<u64>,
    /// Compute activations twice to save memory.
    pub gradient_checkpointing: Checkpointing,
    /// How activations are kept for the backward pass.
    pub precision: Precision,
    /// Which tokens of a prompt/completion row are targets.
    pub loss: LossOn,
    /// What beside cross-entropy judges numbers among the targets.
    #[serde(skip_serializing_if = "NumberLoss::is_none")]
    pub number_loss: NumberLoss,
    /// Soft targets: the Gaussian's share of the target, in (0, 1]; score: its factor.
    #[serde(skip_serializing_if = "is_half")]
    pub number_weight: f64,
    /// Standard deviation of the Gaussian, or the unit of the score: dollars (`"30"`) or per cent
    /// of the number (`"10%"`).
    #[serde(skip_serializing_if = "is_default")]
    pub number_width: NumberWidth,
    /// Which numbers.
    #[serde(skip_serializing_if = "is_default")]
    pub number_tokens: NumberTokens,
    /// The date that a chat template may write; none: when the run began, if the template asks for
    /// it.
    pub template_date: Option<Moment>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Share of the Gaussian where nothing else is said.
const HALF: f64 = 0.5;

fn is_half(weight: &f64) -> bool {
    *weight == HALF
}

impl Default for TrainConfig {
    fn default() -> TrainConfig {
        TrainConfig {
            model: String::new(),
            data: Vec::new(),
            eval_data: None,
            eval_split: None,
            sample_prompts: None,
            map: Vec::new(),
            init_adapter: None,
            quant: Quant::default(),
            rank: 16,
            lora_alpha: 32.0,
            lora_dropout: 0.05,
            target_modules: TargetModules::new(["q_proj", "v_proj"]),
            rank_pattern: PatternMap::default(),
            alpha_pattern: PatternMap::default(),
            layers_to_transform: None,
            use_rslora: false,
            use_dora: false,
            num_train_epochs: 3.0,
            max_steps: None,
            batch_size: 4,
            gradient_accumulation_steps: 4,
            max_length: None,
            group_by_length: false,
            packing: false,
            learning_rate: 2e-4,
            lr_scheduler_type: SchedulerType::default(),
            warmup_ratio: 0.0,
            warmup_steps: 0,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            optim: Optim::default(),
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            seed: 42,
            logging_steps: 1,
            eval_steps: None,
            save_steps: SaveSteps::Steps(500),
            save_total_limit: None,
            early_stopping_patience: None,
            gradient_checkpointing: Checkpointing::default(),
            precision: Precision::default(),
            loss: LossOn::default(),
            number_loss: NumberLoss::None,
            number_weight: HALF,
            number_width: NumberWidth::default(),
            number_tokens: NumberTokens::First,
            template_date: None,
        }
    }
}

impl TrainConfig {
    /// Whether there are rows to evaluate.
    pub fn evaluates(&self) -> bool {
        self.eval_data.is_some() || self.eval_split.is_some()
    }

    /// Tokens kept of each row.
    pub fn row_length(&self) -> usize {
        self.max_length.unwrap_or(MAX_LENGTH)
    }

    /// These settings with the default of `max_length` for a model: its positions, or the window up
    /// to which it attends to all tokens, if they are fewer than [`MAX_LENGTH`]. A length that was
    /// given stays.
    pub fn for_model(self, model: &ModelConfig) -> TrainConfig {
        let limit = model.max_position_embeddings.min(model.sliding_window.unwrap_or(usize::MAX));
        let max_length = self.max_length.or(Some(MAX_LENGTH.min(limit)));
        TrainConfig { max_length, ..self }
    }

    /// How rows become tokens. **Errors** [`Error::Invalid`](crate::Error::Invalid) for a bad
    /// `map`.
    pub fn dataset_options(&self) -> Result<DatasetOptions> {
        let columns = ColumnMap::new(&self.map)?;
        let (max_length, loss, numbers) = (self.row_length(), self.loss, self.number_term());
        Ok(DatasetOptions { max_length, loss, numbers, columns, ..DatasetOptions::default() })
    }

    fn number_term(&self) -> Option<NumberTerm> {
        let term = NumberTerm {
            loss: self.number_loss,
            weight: self.number_weight,
            width: self.number_width,
            tokens: self.number_tokens,
        };
        (!self.number_loss.is_none()).then_some(term)
    }

    /// How rows become batches.
    pub fn loader_options(&self) -> LoaderOptions {
        LoaderOptions {
            batch_size: self.batch_size,
            gradient_accumulation_steps: self.gradient_accumulation_steps,
            group_by_length: self.group_by_length,
            pack_tokens: if self.packing { self.batch_size * self.row_length() } else { 0 },
        }
    }

    /// FNV-1a of the TOML form as 16 hex digits: what a checkpoint remembers of the settings. Like
    /// [`TrainConfig::differences`] it leaves out what does not change the computation.
    pub fn fingerprint(&self) -> Result<String> {
        let default = TrainConfig::default();
        let (save_steps, save_total_limit) = (default.save_steps, default.save_total_limit);
        let sample_prompts = default.sample_prompts;
        let same = TrainConfig { save_steps, save_total_limit, sample_prompts, ..self.clone() };
        Ok(format!("{:016x}", Fnv::of(same.to_toml()?.as_bytes())))
    }
}
