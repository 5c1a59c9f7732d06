//! What goes in and comes out as plain objects.

use serde::{Deserialize, Serialize};

use crate::data::Row;
use crate::generate::{GenerateOptions, SamplerOptions, Timings};
use crate::model::{LoadOptions, Precision, Quant};
use crate::pricer::Product;
use crate::pricer::beside::{Blend, Similar};
use crate::pricer::prompt::summary_of;
use crate::{Error, Result};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct LoadArgs {
    pub(super) quant: Quant,
    pub(super) precision: Precision,
    pub(super) max_length: usize,
}

impl Default for LoadArgs {
    fn default() -> LoadArgs {
        let max_length = LoadOptions::default().max_positions;
        LoadArgs { quant: Quant::default(), precision: Precision::default(), max_length }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct GenerateArgs {
    pub(super) max_tokens: Option<usize>,
    pub(super) temperature: f64,
    pub(super) top_k: Option<usize>,
    pub(super) top_p: Option<f64>,
    pub(super) seed: u64,
    pub(super) repetition_penalty: Option<f64>,
    pub(super) stop: Vec<String>,
}

impl GenerateArgs {
    pub(super) fn options(self) -> GenerateOptions {
        let default = GenerateOptions::default();
        GenerateOptions {
            max_new_tokens: self.max_tokens.unwrap_or(default.max_new_tokens),
            sampler: SamplerOptions {
                temperature: self.temperature,
                top_k: self.top_k,
                top_p: self.top_p,
                seed: self.seed,
                repetition_penalty: self.repetition_penalty.unwrap_or(1.0),
            },
            stop: self.stop,
            ..default
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenOut<'a> {
    pub(super) id: u32,
    pub(super) text: &'a str,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Generated<'a> {
    pub(super) prompt_tokens: usize,
    pub(super) tokens: &'a [u32],
    pub(super) finish: Option<&'static str>,
    /// Of a conversation: its oldest turns that were forgotten, to have room.
    pub(super) turns_dropped: usize,
    pub(super) prefill_seconds: f64,
    pub(super) decode_tokens_per_second: Option<f64>,
}

impl Generated<'_> {
    pub(super) fn timed(timings: Timings) -> Self {
        Generated {
            prefill_seconds: timings.prefill_seconds,
            decode_tokens_per_second: timings.decode_tokens_per_second(),
            ..Generated::default()
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NextToken {
    pub(super) id: u32,
    pub(super) text: String,
    pub(super) logit: f32,
    pub(super) probability: f64,
}

/// A product's fields, or the whole prompt.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ProductArgs {
    pub(super) prompt: Option<String>,
    pub(super) title: String,
    pub(super) category: String,
    pub(super) brand: String,
    pub(super) description: String,
    pub(super) details: String,
}

/// What is asked: about a product, or in the caller's own words.
pub(super) enum Asked {
    About(String),
    InWords(String),
}

impl ProductArgs {
    /// A product's summary, or a whole prompt that is not of the course's form.
    pub(super) fn asked(self) -> Asked {
        let ProductArgs { prompt, title, category, brand, description, details } = self;
        match prompt {
            Some(prompt) if summary_of(&prompt).is_none() => Asked::InWords(prompt),
            Some(prompt) => Asked::About(prompt),
            None => {
                let product = Product { title, category, brand, description, details, price: 0.0 };
                Asked::About(product.cleaned(false).summary())
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RowArgs {
    pub(super) prompt: Option<String>,
    pub(super) completion: Option<String>,
    pub(super) text: Option<String>,
}

impl RowArgs {
    /// **Errors** [`Error::Invalid`] for other combinations.
    pub(super) fn row(self) -> Result<Row> {
        match (self.prompt, self.completion, self.text) {
            (Some(prompt), Some(completion), None) => {
                Ok(Row::PromptCompletion { prompt, completion })
            }
            (None, None, Some(text)) => Ok(Row::Text(text)),
            _ => Err(Error::invalid("row", "should be {prompt, completion} or {text}")),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PriceOut<'a> {
    pub(super) prompt: &'a str,
    pub(super) text: &'a str,
    pub(super) guess: f64,
    pub(super) price: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) mean: f64,
    pub(super) mode: f64,
    pub(super) mass: f64,
    pub(super) prices: &'a [(u32, f64)],
    pub(super) temperature: Option<f64>,
    pub(super) neighbours: &'a [Similar],
    pub(super) blend: Option<Blend>,
    pub(super) notes: Vec<String>,
    pub(super) prompt_tokens: usize,
    pub(super) seconds: f64,
}

#[derive(Serialize)]
pub(super) struct TrainedOn {
    pub(super) texts: usize,
    pub(super) low: f64,
    pub(super) high: f64,
}

#[derive(Serialize)]
pub(super) struct RowOut {
    pub(super) prompt: String,
    pub(super) completion: String,
    pub(super) price: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MemoryOut {
    pub(super) device_bytes: u64,
    pub(super) training_bytes: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ModelInfo<'a> {
    pub(super) name: &'a str,
    pub(super) precision: Precision,
    pub(super) layers: usize,
    pub(super) hidden_size: usize,
    pub(super) vocab_size: usize,
    pub(super) parameters: usize,
    pub(super) weight_bytes: u64,
    pub(super) adapters: Vec<&'a str>,
    pub(super) adapter: Option<&'a str>,
    pub(super) max_length: usize,
    /// Whether it has a chat template.
    pub(super) chat: bool,
    pub(super) notes: &'a [String],
}
