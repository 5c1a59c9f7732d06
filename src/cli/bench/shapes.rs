//! The sizes at which kernels are timed: those of real models, the ones that matter most first.

use crate::kernels::LinearFwd;
use crate::kernels::cases::{BF16, Case, F32, NF4, STORAGES};

/// M × N × K.
pub(super) type Size = [usize; 3];

/// A model's widths.
pub(super) struct Shape {
    pub(super) name: &'static str,
    hidden: usize,
    intermediate: usize,
    vocabulary: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

pub(super) const MODELS: [Shape; 3] = [
    Shape {
        name: "SmolLM2-135M",
        hidden: 576,
        intermediate: 1536,
        vocabulary: 49_152,
        heads: 9,
        kv_heads: 3,
        head_dim: 64,
    },
    Shape {
        name: "Llama-3.2-1B",
        hidden: 2048,
        intermediate: 8192,
        vocabulary: 128_256,
        heads: 32,
        kv_heads: 8,
        head_dim: 64,
    },
    Shape {
        name: "Llama-3.2-3B",
        hidden: 3072,
        intermediate: 8192,
        vocabulary: 128_256,
        heads: 24,
        kv_heads: 8,
        head_dim: 128,
    },
];

/// Rows: a training batch, one token, a prompt, a long prompt, a few tokens.
pub(super) const ROWS: [usize; 5] = [512, 1, 128, 2048, 16];

/// Rank of the LoRA products.
const RANK: usize = 16;

/// Rows of logits at a time, and rows of a vocabulary's shard.
const CHUNK: usize = 64;
const SHARD: usize = 32_768;

/// Sizes of a kernel in this model at `m` rows, each with the storages of its matrix.
pub(super) fn sizes(case: &Case, shape: &Shape, m: usize) -> Vec<(Size, &'static [usize])> {
    let (d, f, h, e) = (shape.hidden, shape.intermediate, shape.heads, shape.head_dim);
    let (q, kv) = (h * e, shape.kv_heads * e);
    let shard = shape.vocabulary.min(SHARD);
    let alone = |n: usize, k: usize| vec![([m, n, k], STORAGES)];
    match case.kernel {
        "linear_fwd" if m <= LinearFwd::FEW => Vec::new(),
        "linear_few" if m > LinearFwd::FEW => Vec::new(),
        "linear_fwd" | "linear_few" | "linear_bwd" => {
            let mut layers = vec![(q, d), (kv, d), (f, d), (d, f)];
            if q != d {
                layers.insert(1, (d, q));
            }
            let mut all: Vec<_> = layers.into_iter().map(|(n, k)| ([m, n, k], NF4)).collect();
            // LoRA's pair of the widest layer, and the head.
            all.extend([
                ([m, RANK, d], F32),
                ([m, f, RANK], F32),
                ([m.min(CHUNK), shard, d], BF16),
            ]);
            all
        }
        "linear_grad" => vec![([m, RANK, d], F32), ([m, f, RANK], F32)],
        "dora_norm" => vec![([RANK, f, d], NF4)],
        "attention_decode" => alone(h, e),
        name if name.starts_with("attention") => {
            if m > 1 {
                alone(h, e)
            } else {
                Vec::new()
            }
        }
        "rope" => alone(h, e),
        "swiglu_fwd" | "swiglu_bwd" => alone(f, 1),
        "embed_fwd" => vec![([m, shard, d], BF16)],
        "cross_entropy_fused" => vec![([m.min(CHUNK), shape.vocabulary, 1], STORAGES)],
        "gather_rows" => alone(d, m),
        "copy_rows" => alone(kv, 64),
        "rms_norm_fwd" | "rms_norm_bwd" | "add" | "pack_f16" | "unpack_f16" | "dropout"
        | "dropout_bwd" | "dora_scale" | "dora_bwd" => alone(d, 1),
        // Of the optimizer and of ceilings: no rows.
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cases::CASES;

    #[test]
    fn most_kernels_have_sizes_in_every_model() {
        for shape in &MODELS {
            let with = CASES.iter().filter(|case| !sizes(case, shape, 512).is_empty()).count();
            assert!(with >= 19, "{}: {with} of {}", shape.name, CASES.len());
        }
    }
}
