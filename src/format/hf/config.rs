//! `config.json` of a model of Llama's kind, in the layouts of transformers 4 and 5.

use std::path::Path;

use serde_json::Value;

use super::keys;
use crate::error::{Error, Result};
use crate::format::family::Family;
use crate::format::json::{self, Object};
use crate::format::quant_config::QuantizationConfig;
use crate::format::rope::Rope;
use crate::format::safetensors::DType;

/// The architecture of a model. Shapes: `D` hidden, `H` heads, `G` kv heads, `E` head dim, `F`
/// intermediate, `V` vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Whose blocks these are.
    pub family: Family,
    /// `D`.
    pub hidden_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// `H`.
    pub num_attention_heads: usize,
    /// `G`, a divisor of `H`.
    pub num_key_value_heads: usize,
    /// `E`, even; `D / H` unless the file says otherwise.
    pub head_dim: usize,
    /// `F`.
    pub intermediate_size: usize,
    /// `V`.
    pub vocab_size: usize,
    /// `eps` of the RMS norms.
    pub rms_norm_eps: f32,
    /// Whether the output head is the embedding.
    pub tie_word_embeddings: bool,
    /// Longest context, in tokens.
    pub max_position_embeddings: usize,
    /// Tokens that attention looks back; `None`: all. Longer sequences than this are refused.
    pub sliding_window: Option<usize>,
    /// Rotary embedding.
    pub rope: Rope,
    /// First token of a text.
    pub bos_token_id: Option<u32>,
    /// Tokens that end a text: those of `generation_config.json` if it names any, else those of
    /// `config.json`.
    pub eos_token_ids: Vec<u32>,
    /// Token of unused places in a batch.
    pub pad_token_id: Option<u32>,
    /// Element type of the published weights (`dtype` or `torch_dtype`).
    pub dtype: Option<DType>,
    /// Present if the weights are stored quantized.
    pub quantization: Option<QuantizationConfig>,
    /// Share of attention weights that the model's authors drop in training, which is not done
    /// here.
    pub attention_dropout: f64,
}

impl ModelConfig {
    /// Reads `config.json` and, if it is there, `generation_config.json` of a folder.
    ///
    /// **Errors** [`Error::Io`], or as [`ModelConfig::from_json`].
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::from_dir_with_notes(folder.as_ref())?.0)
    }

    /// [`ModelConfig::from_dir`], and what a user should know about the files, a line each.
    pub(in crate::format) fn from_dir_with_notes(folder: &Path) -> Result<(Self, Vec<String>)> {
        let path = folder.join("config.json");
        let label = path.display().to_string();
        let (mut config, unread) = Self::from_json_with_notes(&label, &json::read(&path)?)?;
        let path = folder.join("generation_config.json");
        let asked = match path.is_file() {
            true => {
                config.apply_generation_config(&path.display().to_string(), &json::read(&path)?)?
            }
            false => None,
        };
        Ok((config, unread.into_iter().chain(asked).collect()))
    }

    /// Reads a `config.json`; `label` is its name in messages.
    ///
    /// **Errors** [`Error::Format`] with the key for a value that is missing, of the wrong type or
    /// inconsistent; [`Error::Unsupported`] with the key for another architecture, activation, rope
    /// type, quantization, or biases, and for whatever else would make transformers compute
    /// something else.
    pub fn from_json(label: &str, bytes: &[u8]) -> Result<Self> {
        Ok(Self::from_json_with_notes(label, bytes)?.0)
    }

    /// [`ModelConfig::from_json`], and a line that names the keys that nobody reads.
    ///
    /// **Errors** the same.
    pub fn from_json_with_notes(label: &str, bytes: &[u8]) -> Result<(Self, Option<String>)> {
        let value: Value = json::parse(label, bytes)?;
        let o = Object::new(label, &value)?;
        let family = Family::of(&o)?;
        let needed =
            |key: &str| -> Result<usize> { o.size(key)?.ok_or_else(|| o.error(key, "is missing")) };
        let hidden_size = needed("hidden_size")?;
        let num_attention_heads = needed("num_attention_heads")?;
        let head_dim = match o.size("head_dim")? {
            Some(head_dim) => head_dim,
            None if hidden_size % num_attention_heads == 0 => hidden_size / num_attention_heads,
            None => {
                let why =
                    format!("{num_attention_heads} heads do not divide hidden_size {hidden_size}");
                return Err(o.error("num_attention_heads", why));
            }
        };
        if head_dim % 2 != 0 {
            return Err(o.error("head_dim", format!("should be even, is {head_dim}")));
        }
        let num_key_value_heads = match o.has("num_key_value_heads") {
            true => o.size("num_key_value_heads")?,
            false => family.num_key_value_heads(),
        };
        let num_key_value_heads = num_key_value_heads.unwrap_or(num_attention_heads);
        if num_attention_heads % num_key_value_heads != 0 {
            let why = format!(
                "{num_key_value_heads} does not divide num_attention_heads {num_attention_heads}"
            );
            return Err(o.error("num_key_value_heads", why));
        }
        let rms_norm_eps = o.number("rms_norm_eps")?.unwrap_or(1e-6);
        if !(0.0..1.0).contains(&rms_norm_eps) {
            return Err(o.error("rms_norm_eps", format!("should be in 0..1, is {rms_norm_eps}")));
        }
        let dtype_key = if o.get("dtype").is_some() { "dtype" } else { "torch_dtype" };
        let dtype = o.string(dtype_key)?.filter(|name| *name != "auto");
        let vocab_size = needed("vocab_size")?;
        let num_hidden_layers = needed("num_hidden_layers")?;
        let max_position_embeddings = o.size("max_position_embeddings")?;
        let max_position_embeddings =
            max_position_embeddings.unwrap_or(family.max_position_embeddings());
        let mut unread = keys::check(&o, family)?;
        let quantization = o.object("quantization_config")?;
        let quantization = quantization.map(|q| QuantizationConfig::read(&q, &mut unread));
        let rope = Rope::from_config(&o, max_position_embeddings, &mut unread)?;
        let config = Self {
            family,
            hidden_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            intermediate_size: needed("intermediate_size")?,
            vocab_size,
            rms_norm_eps: rms_norm_eps as f32,
            tie_word_embeddings: o.bool("tie_word_embeddings")?.unwrap_or(false),
            max_position_embeddings,
            sliding_window: family.sliding_window(&o, num_hidden_layers)?,
            rope,
            bos_token_id: special_token(&o, "bos_token_id")?,
            eos_token_ids: o.tokens("eos_token_id")?,
            pad_token_id: special_token(&o, "pad_token_id")?,
            dtype: dtype
                .map(|name| {
                    DType::from_torch_name(name)
                        .ok_or_else(|| o.error(dtype_key, format!("`{name}` is no known type")))
                })
                .transpose()?,
            quantization: quantization.transpose()?,
            attention_dropout: o.number("attention_dropout")?.unwrap_or(0.0),
        };
        for (key, token) in [("bos_token_id", config.bos_token_id)]
            .into_iter()
            .chain(config.eos_token_ids.iter().map(|id| ("eos_token_id", Some(*id))))
        {
            if token.is_some_and(|id| id as usize >= vocab_size) {
                return Err(o.error(key, format!("is outside the vocabulary of {vocab_size}")));
            }
        }
        Ok((config, keys::unread(label, &unread)))
    }

    /// Takes the end tokens of a `generation_config.json`, if it has any. Gives a line that names
    /// what else it asks for and answers here do not do by themselves.
    ///
    /// **Errors** [`Error::Format`] if they are no token ids.
    pub fn apply_generation_config(&mut self, label: &str, bytes: &[u8]) -> Result<Option<String>> {
        let value: Value = json::parse(label, bytes)?;
        let o = Object::new(label, &value)?;
        let eos = o.tokens("eos_token_id")?;
        if !eos.is_empty() {
            self.eos_token_ids = eos;
        }
        Ok(keys::generation(label, &o))
    }

    /// Tokens that end a text.
    pub fn eos_token_ids(&self) -> &[u32] {
        &self.eos_token_ids
    }

    /// See [`Rope::inv_freq`]: `(E/2)`.
    pub fn inv_freq(&self) -> Vec<f32> {
        self.rope.inv_freq(self.head_dim)
    }

    /// See [`Rope::tables`]: cosine and sine, each `(positions, E/2)`.
    pub fn rope_tables(&self, positions: &[u32]) -> (Vec<f32>, Vec<f32>) {
        self.rope.tables(self.head_dim, positions)
    }

    /// The checks of [`ModelConfig::from_json`], for a configuration made in code or read from
    /// another format.
    ///
    /// **Errors** [`Error::Invalid`] naming the field.
    pub fn validate(&self) -> Result<()> {
        for (name, size) in [
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("intermediate_size", self.intermediate_size),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            if !(1..1 << 31).contains(&size) {
                return Err(Error::invalid(name, format!("{size} is no size")));
            }
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(Error::invalid(
                "head_dim",
                format!("should be even, is {}", self.head_dim),
            ));
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            let why = format!("does not divide num_attention_heads {}", self.num_attention_heads);
            return Err(Error::invalid("num_key_value_heads", why));
        }
        if !(self.rope.theta > 0.0 && self.rope.theta.is_finite()) {
            return Err(Error::invalid(
                "rope_theta",
                format!("should be positive, is {}", self.rope.theta),
            ));
        }
        self.rope.scaling.validate(self.head_dim)
    }
}

/// A special token; −1, with which some old files say "none", gives `None`.
fn special_token(o: &Object<'_>, key: &str) -> Result<Option<u32>> {
    match o.get(key).and_then(Value::as_i64) {
        Some(-1) => Ok(None),
        _ => o.token(key),
    }
}
