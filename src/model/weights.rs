//! A model's frozen weights on the device, and how they are kept there.

use serde::{Deserialize, Serialize};

use crate::gpu::Tensor;
use crate::kernels::Matrix;

/// How the linear layers of the blocks are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quant {
    /// NF4 with 8-bit scales (QLoRA's double quantization).
    #[default]
    Nf4,
    /// NF4 with f32 scales; no setting of a run.
    #[serde(skip)]
    Nf4Single,
    /// As the checkpoint has them.
    None,
}

/// Settings of [`Model::load`](super::Model::load).
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Storage of the linear layers; checkpoints that are quantized already are taken as they are.
    pub quant: Quant,
    /// Longest sequence that the rotary tables serve.
    pub max_positions: usize,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions { quant: Quant::Nf4, max_positions: 2048 }
    }
}

/// Some rows of a matrix.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Number of the first.
    pub first: usize,
    /// The rows.
    pub matrix: Matrix,
}

impl Shard {
    /// The same rows, at most so many at a time; all at once where they cannot be parted.
    pub(super) fn bands(&self, most: usize) -> Vec<Shard> {
        let rows = self.matrix.rows;
        let band = |first: usize| {
            let matrix = self.matrix.band(first, most.min(rows - first))?;
            Some(Shard { first: self.first + first, matrix })
        };
        (0..rows)
            .step_by(most)
            .map(band)
            .collect::<Option<_>>()
            .unwrap_or_else(|| vec![self.clone()])
    }
}

/// A block's frozen weights.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) input_norm: Tensor,
    pub(super) post_norm: Tensor,
    /// By number of [`Module`].
    pub(super) linears: [Vec<Shard>; 7],
    /// `(out)` of the layers that have one (q, k, v of Qwen2).
    pub(super) biases: [Option<Tensor>; 7],
}
