//! Flags that several commands share. Names follow PEFT, transformers and TRL.

use std::fmt::Display;
use std::str::FromStr;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::de::DeserializeOwned;

use crate::model::Precision;
use crate::train::config::Quant;

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
    /// Part of a graphics adapter's name, or its number in `info`; the best one otherwise.
    #[arg(long, global = true, env = "WGPU_LORA_DEVICE", value_name = "NAME|N")]
    pub(super) device: Option<String>,
    /// Run the kernel variants that are shipped: measure none, and use none that were measured.
    #[arg(long, global = true)]
    pub(super) no_tune: bool,
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

/// A model, and how it computes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(super) struct ModelArgs {
    /// A folder with config.json, safetensors and tokenizer.json, a .gguf file, or a Hugging Face
    /// name.
    #[arg(short = 'm', long = "model", value_name = "MODEL")]
    pub(super) name: String,
    #[command(flatten)]
    how: Computation,
}

impl std::ops::Deref for ModelArgs {
    type Target = Computation;

    fn deref(&self) -> &Computation {
        &self.how
    }
}

/// How a model computes, and how to look into that.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct Computation {
    /// Frozen linear layers: nf4 (QLoRA) or none (the checkpoint's precision).
    #[arg(long, default_value = "nf4", value_parser = word::<Quant>(["nf4", "none"]))]
    pub(super) quant: Quant,
    /// Products at 32 bits, or with factors of 16 and sums of 32 where the adapter has `shader-f16`
    /// and gains by it.
    #[arg(long, default_value = "f32", value_parser = word::<Precision>(["f32", "mixed"]))]
    pub(super) precision: Precision,
    #[command(flatten)]
    pub(super) inspect: Inspect,
}

/// One of the words that a setting has in run.toml.
pub(super) fn word<T>(words: [&'static str; 2]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|word| toml::Value::String(word).try_into::<T>())
}

/// One `NAME=VALUE`.
pub(super) fn pair<T: FromStr<Err: Display>>(text: &str) -> Result<(String, T), String> {
    let (name, value) = text.rsplit_once('=').ok_or("should be NAME=VALUE")?;
    let value = value.parse().map_err(|e| format!("{value:?}: {e}"))?;
    Ok((name.to_owned(), value))
}
