//! Shapes of published models: what can be measured of them without their files.

use super::family::Family;
use super::hf::ModelConfig;
use super::rope::{Rope, RopeScaling};
use super::safetensors::DType;
use crate::error::{Error, Result};

/// A model's widths, by a name in the hub's spelling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModelShape {
    /// `llama-3.2-1b`.
    pub name: &'static str,
    hidden: usize,
    layers: usize,
    /// Query heads, key-value heads, dimension.
    heads: [usize; 3],
    intermediate: usize,
    vocabulary: usize,
    positions: usize,
    theta: f64,
    /// Factor of Llama 3's frequencies, which were trained on 8,192 positions.
    factor: Option<f64>,
    tied: bool,
}

impl ModelShape {
    /// All of them, by size. `tiny` is nobody's: two blocks for tests.
    ///
    /// **Source** `config.json` of HuggingFaceTB/SmolLM2-135M and of meta-llama's Llama-3.2-1B,
    /// Llama-3.2-3B and Llama-3.1-8B.
    pub const ALL: [ModelShape; 5] = [
        ModelShape {
            name: "tiny",
            hidden: 64,
            layers: 2,
            heads: [2, 1, 32],
            intermediate: 128,
            vocabulary: 256,
            positions: 512,
            theta: 10_000.0,
            factor: None,
            tied: true,
        },
        ModelShape {
            name: "smollm2-135m",
            hidden: 576,
            layers: 30,
            heads: [9, 3, 64],
            intermediate: 1536,
            vocabulary: 49_152,
            positions: 8192,
            theta: 100_000.0,
            factor: None,
            tied: true,
        },
        ModelShape {
            name: "llama-3.2-1b",
            hidden: 2048,
            layers: 16,
            heads: [32, 8, 64],
            intermediate: 8192,
            vocabulary: 128_256,
            positions: 131_072,
            theta: 500_000.0,
            factor: Some(32.0),
            tied: true,
        },
        ModelShape {
            name: "llama-3.2-3b",
            hidden: 3072,
            layers: 28,
            heads: [24, 8, 128],
            intermediate: 8192,
            vocabulary: 128_256,
            positions: 131_072,
            theta: 500_000.0,
            factor: Some(32.0),
            tied: true,
        },
        ModelShape {
            name: "llama-3.1-8b",
            hidden: 4096,
            layers: 32,
            heads: [32, 8, 128],
            intermediate: 14_336,
            vocabulary: 128_256,
            positions: 131_072,
            theta: 500_000.0,
            factor: Some(8.0),
            tied: false,
        },
    ];

    /// The shape of this name.
    ///
    /// **Errors** [`Error::Invalid`] with the names that there are.
    pub fn named(name: &str) -> Result<ModelShape> {
        let known = || ModelShape::ALL.map(|shape| shape.name).join(", ");
        let found = ModelShape::ALL.into_iter().find(|shape| shape.name == name);
        found
            .ok_or_else(|| Error::invalid("model shape", format!("`{name}`; there is {}", known())))
    }

    /// The configuration of a model of this shape.
    pub fn config(&self) -> ModelConfig {
        let [heads, kv_heads, head_dim] = self.heads;
        let scaling = match self.factor {
            None => RopeScaling::None,
            Some(factor) => RopeScaling::Llama3 {
                factor,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_max_position_embeddings: 8192,
            },
        };
        ModelConfig {
            family: Family::Llama,
            hidden_size: self.hidden,
            num_hidden_layers: self.layers,
            num_attention_heads: heads,
            num_key_value_heads: kv_heads,
            head_dim,
            intermediate_size: self.intermediate,
            vocab_size: self.vocabulary,
            rms_norm_eps: 1e-5,
            tie_word_embeddings: self.tied,
            max_position_embeddings: self.positions,
            sliding_window: None,
            rope: Rope { theta: self.theta, scaling },
            bos_token_id: None,
            eos_token_ids: Vec::new(),
            pad_token_id: None,
            dtype: Some(DType::BF16),
            quantization: None,
            attention_dropout: 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights of a model without biases.
    fn parameters(c: &ModelConfig) -> usize {
        let (d, f) = (c.hidden_size, c.intermediate_size);
        let [q, kv] = [c.num_attention_heads, c.num_key_value_heads].map(|n| n * c.head_dim);
        let block = 2 * d * q + 2 * d * kv + 3 * d * f + 2 * d;
        let heads = if c.tie_word_embeddings { 1 } else { 2 };
        c.num_hidden_layers * block + d + heads * c.vocab_size * d
    }

    #[test]
    fn shapes_have_the_parameters_that_were_published() {
        for (name, all) in [
            ("smollm2-135m", 134_515_008),
            ("llama-3.2-1b", 1_235_814_400),
            ("llama-3.2-3b", 3_212_749_824),
            ("llama-3.1-8b", 8_030_261_248),
        ] {
            let config = ModelShape::named(name).unwrap().config();
            assert_eq!(parameters(&config), all, "{name}");
            config.validate().unwrap();
        }
        let why = ModelShape::named("llama-4").unwrap_err().to_string();
        assert!(why.contains("llama-4") && why.contains("llama-3.1-8b"), "{why}");
    }
}
