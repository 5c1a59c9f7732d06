//! A model's configuration from GGUF metadata.

use super::family::Family;
use super::gguf::GgufFile;
use super::gguf_weights::ROPE_FACTORS;
use super::hf_config::ModelConfig;
use super::rope::{Rope, RopeScaling};
use crate::error::{Error, Result};

/// The family under `general.architecture`.
pub(super) fn family(file: &GgufFile) -> Result<Family> {
    const KEY: &str = "general.architecture";
    match file.text(KEY)? {
        Some("llama") => Ok(Family::Llama),
        Some("qwen2") => Ok(Family::Qwen2),
        Some(other) => {
            let hint = "llama (also Mistral) and qwen2 work";
            Err(file.unsupported(format!("architecture `{other}`"), hint))
        }
        None => Err(file.error(KEY, "is missing: this GGUF file holds no language model")),
    }
}

impl GgufFile {
    /// The configuration in the metadata.
    ///
    /// **Errors** [`Error::Unsupported`] for another architecture, a mixture of experts, or a rotary embedding that
    /// is not done here; [`Error::Format`] with the key for a value that is missing, of the wrong type or inconsistent.
    pub fn config(&self) -> Result<ModelConfig> {
        let family = family(self)?;
        let arch = family.gguf();
        let key = |name: &str| format!("{arch}.{name}");
        let size = |name: &str| self.size(&key(name));
        let needed = |name: &str| -> Result<usize> {
            size(name)?.ok_or_else(|| self.error(&key(name), "is missing"))
        };
        if self.number(&key("expert_count"))?.is_some_and(|n| n > 0.0) {
            return Err(self.unsupported("a mixture of experts", "dense models work"));
        }
        let (hidden_size, heads) = (needed("embedding_length")?, needed("attention.head_count")?);
        let head_dim = match size("attention.key_length")? {
            Some(length) => length,
            None if hidden_size.is_multiple_of(heads) => hidden_size / heads,
            None => {
                let why = format!("{heads} heads do not divide {hidden_size}");
                return Err(self.error(&key("attention.head_count"), why));
            }
        };
        for other in ["attention.value_length", "rope.dimension_count"] {
            if let Some(length) = size(other)?.filter(|length| *length != head_dim) {
                let what = format!("`{}` = {length} with heads of {head_dim}", key(other));
                return Err(self.unsupported(what, "heads that are rotated whole work"));
            }
        }
        let eps = self.number(&key("attention.layer_norm_rms_epsilon"))?.unwrap_or(1e-5);
        if !(0.0..1.0).contains(&eps) {
            let why = format!("should be in 0..1, is {eps}");
            return Err(self.error(&key("attention.layer_norm_rms_epsilon"), why));
        }
        let embedding =
            self.tensors().get("token_embd.weight").ok_or_else(|| Error::MissingTensor {
                name: "token_embd.weight".into(),
                file: self.name().into(),
                hint: ": this GGUF file holds no whole model (an adapter?)".into(),
            })?;
        let theta = self.number(&key("rope.freq_base"))?.unwrap_or(10_000.0);
        let special = |name: &str| self.token(&format!("tokenizer.ggml.{name}_token_id"));
        let mut eos_token_ids = Vec::new();
        for name in ["eos", "eot", "eom"] {
            eos_token_ids.extend(special(name)?.filter(|id| !eos_token_ids.contains(id)));
        }
        let config = ModelConfig {
            family,
            hidden_size,
            num_hidden_layers: needed("block_count")?,
            num_attention_heads: heads,
            num_key_value_heads: size("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            intermediate_size: needed("feed_forward_length")?,
            vocab_size: embedding.shape.first().copied().unwrap_or(0),
            rms_norm_eps: eps as f32,
            tie_word_embeddings: !self.tensors().contains_key("output.weight"),
            max_position_embeddings: size("context_length")?.unwrap_or(2048),
            sliding_window: size("attention.sliding_window")?,
            rope: Rope { theta, scaling: self.rope_scaling(arch, theta, head_dim)? },
            bos_token_id: special("bos")?,
            eos_token_ids,
            pad_token_id: special("padding")?,
            dtype: None,
            quantization: None,
        };
        let named = |e| match e {
            Error::Invalid { what, why } => Error::format(self.name(), what, why),
            other => other,
        };
        config.validate().map_err(named)?;
        Ok(config)
    }

    fn rope_scaling(&self, arch: &str, theta: f64, head_dim: usize) -> Result<RopeScaling> {
        const HINT: &str = "none, linear, and Llama 3's `rope_freqs.weight` work";
        if self.tensors().contains_key(ROPE_FACTORS) {
            return self.llama3_scaling(theta, head_dim);
        }
        let key = |name: &str| format!("{arch}.rope.scaling.{name}");
        match self.text(&key("type"))? {
            Some("linear") => match self.number(&key("factor"))? {
                Some(factor) if factor > 0.0 => Ok(RopeScaling::Linear { factor }),
                _ => Err(self.error(&key("factor"), "should be positive")),
            },
            None | Some("none") => Ok(RopeScaling::None),
            Some(other) => Err(self.unsupported(format!("rope scaling `{other}`"), HINT)),
        }
    }

    /// The settings behind the factors by which frequencies are divided. They are rounded; the settings are not.
    fn llama3_scaling(&self, theta: f64, head_dim: usize) -> Result<RopeScaling> {
        let tensor = &self.tensors()[ROPE_FACTORS];
        if tensor.bytes > 1 << 16 {
            let at = format!("tensor `{ROPE_FACTORS}`");
            return Err(Error::format(self.name(), at, "should hold half a head's frequencies"));
        }
        let mut raw = vec![0; tensor.bytes as usize];
        self.read_at(tensor, 0, &mut raw)?;
        let mut factors = Vec::new();
        tensor.kind.dequantize(&raw, &mut factors);
        let scaling = RopeScaling::Llama3 {
            factor: factors.iter().copied().fold(1.0, f32::max).into(),
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        };
        let plain = Rope { theta, scaling: RopeScaling::None }.frequencies(head_dim);
        let scaled = Rope { theta, scaling }.frequencies(head_dim);
        let same = |((plain, scaled), factor): ((&f64, &f64), &f32)| {
            (plain / scaled / f64::from(*factor) - 1.0).abs() < 1e-4
        };
        if factors.len() == plain.len() && plain.iter().zip(&scaled).zip(&factors).all(same) {
            return Ok(scaling);
        }
        let hint = "Llama 3's factors (low 1, high 4, original context 8192) work";
        Err(self.unsupported(format!("`{ROPE_FACTORS}` with other factors than Llama 3's"), hint))
    }
}
