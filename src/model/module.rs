//! The seven linear layers of a block.

use crate::format::ModelConfig;

/// A linear layer of a block; the numbers are fixed, because dropout masks depend on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Module {
    /// Queries.
    Q = 0,
    /// Keys.
    K = 1,
    /// Values.
    V = 2,
    /// Attention output.
    O = 3,
    /// SwiGLU gate.
    Gate = 4,
    /// SwiGLU up.
    Up = 5,
    /// SwiGLU down.
    Down = 6,
}

impl Module {
    /// All seven, in the order of their numbers.
    pub const ALL: [Module; 7] =
        [Module::Q, Module::K, Module::V, Module::O, Module::Gate, Module::Up, Module::Down];

    /// `q_proj`.
    pub fn name(self) -> &'static str {
        match self {
            Module::Q => "q_proj",
            Module::K => "k_proj",
            Module::V => "v_proj",
            Module::O => "o_proj",
            Module::Gate => "gate_proj",
            Module::Up => "up_proj",
            Module::Down => "down_proj",
        }
    }

    /// `model.layers.3.self_attn.q_proj`.
    pub fn path(self, layer: usize) -> String {
        let part = if (self as u32) < 4 { "self_attn" } else { "mlp" };
        format!("model.layers.{layer}.{part}.{}", self.name())
    }

    /// `model.layers.3.self_attn.q_proj.weight`.
    pub(super) fn weight(self, layer: usize) -> String {
        format!("{}.weight", self.path(layer))
    }

    /// Whether it has a bias.
    pub fn has_bias(self, config: &ModelConfig) -> bool {
        config.family.qkv_bias() && matches!(self, Module::Q | Module::K | Module::V)
    }

    /// `(out, in)` of its weight.
    pub fn shape(self, config: &ModelConfig) -> (usize, usize) {
        let (d, f) = (config.hidden_size, config.intermediate_size);
        let q = config.num_attention_heads * config.head_dim;
        let kv = config.num_key_value_heads * config.head_dim;
        match self {
            Module::Q => (q, d),
            Module::K | Module::V => (kv, d),
            Module::O => (d, q),
            Module::Gate | Module::Up => (f, d),
            Module::Down => (d, f),
        }
    }
}
