//! The seven linear layers of a block.

use super::ModelConfig;

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

    /// Their names, likewise.
    pub const NAMES: [&str; 7] =
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

    /// `q_proj`.
    pub fn name(self) -> &'static str {
        Module::NAMES[self as usize]
    }

    /// `model.layers.3.self_attn.q_proj`.
    pub fn path(self, layer: usize) -> String {
        let part = if (self as u32) < 4 { "self_attn" } else { "mlp" };
        format!("model.layers.{layer}.{part}.{}", self.name())
    }

    /// `model.layers.3.self_attn.q_proj.weight`.
    pub(crate) fn weight(self, layer: usize) -> String {
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
