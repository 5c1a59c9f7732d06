//! A model's configuration from GGUF metadata.

use super::file::GgufFile;
use super::special::Tokens;
use crate::error::{Error, Result};
use crate::format::family::Family;
use crate::format::hf::ModelConfig;
use crate::format::rope::{Rope, RopeScaling};

/// The frequency factors of Llama 3's rotary embedding: part of the configuration, not a weight.
pub(crate) const ROPE_FACTORS: &str = "rope_freqs.weight";

/// `general.architecture`.
///
/// **Errors** [`Error::Unsupported`] for another than `llama` and `qwen2`.
pub(super) fn architecture(file: &GgufFile) -> Result<&str> {
    const KEY: &str = "general.architecture";
    match file.text(KEY)? {
        Some(arch) if [Family::Llama, Family::Qwen2].iter().any(|f| f.gguf() == arch) => Ok(arch),
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
    /// **Errors** [`Error::Unsupported`] for another architecture, a mixture of experts, or a
    /// rotary embedding that is not done here; [`Error::Format`] with the key for a value that is
    /// missing, of the wrong type or inconsistent.
    pub fn config(&self) -> Result<ModelConfig> {
        let arch = architecture(self)?;
        self.check_keys(arch)?;
        let key = |name: &str| format!("{arch}.{name}");
        let size = |name: &str| self.size(&key(name));
        let needed = |name: &str| -> Result<usize> {
            size(name)?.ok_or_else(|| self.error(&key(name), "is missing"))
        };
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
        let (bos_token_id, eos_token_ids, pad_token_id) = self.special_tokens()?;
        let config = ModelConfig {
            family: self.family(arch),
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
            // llama.cpp looks back all the way in models of these architectures.
            sliding_window: None,
            rope: Rope { theta, scaling: self.rope_scaling(arch, theta, head_dim)? },
            bos_token_id,
            eos_token_ids,
            pad_token_id,
            dtype: None,
            quantization: None,
            attention_dropout: 0.0,
        };
        let named = |e| match e {
            Error::Invalid { what, why } => Error::format(self.name(), what, why),
            other => other,
        };
        config.validate().map_err(named)?;
        Ok(config)
    }

    /// Whose blocks these are. Those of a Llama whose q, k or v have biases are Qwen2's.
    fn family(&self, arch: &str) -> Family {
        let biased = self.tensors().keys().any(|name| {
            [".attn_q.bias", ".attn_k.bias", ".attn_v.bias"].iter().any(|end| name.ends_with(end))
        });
        if biased || arch == Family::Qwen2.gguf() { Family::Qwen2 } else { Family::Llama }
    }

    /// The first token of texts, those that end them, and that of unused places.
    fn special_tokens(&self) -> Result<(Option<u32>, Vec<u32>, Option<u32>)> {
        if self.metadata().contains_key("tokenizer.ggml.tokens") {
            let tokens = Tokens::read(self)?;
            return Ok((tokens.bos, tokens.ends, tokens.padding));
        }
        let special = |name: &str| self.token(&format!("tokenizer.ggml.{name}_token_id"));
        let mut ends = Vec::new();
        for name in ["eos", "eot", "eom"] {
            ends.extend(special(name)?.filter(|id| !ends.contains(id)));
        }
        Ok((special("bos")?, ends, special("padding")?))
    }

    /// What is done to the frequencies: a factor without a type is linear, and old files have it
    /// under another key.
    ///
    /// **Source** `llama_model_base::load_hparams`, `llama_context` and `ggml_rope_yarn_corr_dims`
    /// of llama.cpp.
    fn rope_scaling(&self, arch: &str, theta: f64, head_dim: usize) -> Result<RopeScaling> {
        let key = |name: &str| format!("{arch}.rope.{name}");
        let kind = self.text(&key("scaling.type"))?.unwrap_or("linear");
        if !["none", "linear", "yarn"].contains(&kind) {
            let hint = "none, linear, yarn, and factors in `rope_freqs.weight` work";
            return Err(self.unsupported(format!("rope scaling `{kind}`"), hint));
        }
        let named = match self.number(&key("scaling.factor"))? {
            Some(factor) => Some((key("scaling.factor"), factor)),
            None => self.number(&key("scale_linear"))?.map(|factor| (key("scale_linear"), factor)),
        };
        let factor = match named {
            Some((key, factor)) if factor < 0.0 => {
                return Err(self.error(&key, format!("should be positive, is {factor}")));
            }
            // 0 says that there is none.
            Some((_, factor)) if factor > 0.0 && kind != "none" => factor,
            _ => 1.0,
        };
        if self.tensors().contains_key(ROPE_FACTORS) {
            if kind == "yarn" {
                let what = format!("rope scaling `yarn` over `{ROPE_FACTORS}`");
                return Err(self.unsupported(what, "one of them works"));
            }
            return self.listed_factors(theta, head_dim, factor);
        }
        Ok(match kind {
            _ if factor == 1.0 => RopeScaling::None,
            "yarn" => self.yarn(arch, factor)?,
            _ => RopeScaling::Linear { factor },
        })
    }

    /// llama.cpp reads other turns than 32 and 1 for other architectures only.
    fn yarn(&self, arch: &str, factor: f64) -> Result<RopeScaling> {
        let key = |name: &str| format!("{arch}.{name}");
        let original = match self.size(&key("rope.scaling.original_context_length"))? {
            Some(original) => Some(original),
            None => self.size(&key("context_length"))?,
        };
        Ok(RopeScaling::Yarn {
            factor,
            original_max_position_embeddings: original.unwrap_or(2048),
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate: true,
            attention_factor: if factor <= 1.0 { 1.0 } else { 0.1 * factor.ln() + 1.0 },
        })
    }

    /// What `rope_freqs.weight` divides the frequencies by, and `factor` besides. Llama 3's
    /// settings are found behind its numbers, which are rounded; the settings are not.
    fn listed_factors(&self, theta: f64, head_dim: usize, factor: f64) -> Result<RopeScaling> {
        let tensor = &self.tensors()[ROPE_FACTORS];
        let bad = |why: &str| {
            let at = format!("tensor `{ROPE_FACTORS}`");
            Error::format(self.name(), at, why)
        };
        let size = "should hold half a head's frequencies";
        if tensor.bytes > 1 << 16 {
            return Err(bad(size));
        }
        let mut raw = vec![0; tensor.bytes as usize];
        self.read_at(tensor, 0, &mut raw)?;
        let mut listed = Vec::new();
        tensor.kind.dequantize(&raw, &mut listed);
        let factors: Vec<f64> = listed.iter().map(|f| f64::from(*f) * factor).collect();
        if factors.iter().any(|f| !f.is_finite() || *f <= 0.0) {
            return Err(bad("should hold positive numbers"));
        }
        let llama3 = RopeScaling::Llama3 {
            factor: factors.iter().copied().fold(1.0, f64::max),
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        };
        let plain = Rope { theta, scaling: RopeScaling::None }.frequencies(head_dim);
        let scaled = Rope { theta, scaling: llama3.clone() }.frequencies(head_dim);
        if factors.len() != plain.len() {
            return Err(bad(size));
        }
        let same = |((plain, scaled), factor): ((&f64, &f64), &f64)| {
            (plain / scaled / factor - 1.0).abs() < 1e-4
        };
        if plain.iter().zip(&scaled).zip(&factors).all(same) {
            return Ok(llama3);
        }
        Ok(RopeScaling::LongRope {
            short_factor: factors.clone(),
            long_factor: factors,
            // The same on either side of it.
            original_max_position_embeddings: 8192,
            attention_factor: 1.0,
        })
    }
}
