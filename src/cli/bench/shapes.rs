//! The sizes at which kernels are timed: those of real models, the ones that matter most first.

use crate::format::ModelConfig;
use crate::kernels::LinearFwd;
use crate::kernels::cases::{BF16, Case, F32, NF4, STORAGES};

/// M × N × K.
pub(in crate::cli) type Size = [usize; 3];

/// Whose sizes are timed.
pub(super) const MODELS: [&str; 3] = ["smollm2-135m", "llama-3.2-1b", "llama-3.2-3b"];

/// Rows: a training batch, one token, a prompt, a long prompt, a few tokens.
pub(super) const ROWS: [usize; 5] = [512, 1, 128, 2048, 16];

/// Rank of the LoRA products.
const RANK: usize = 16;

/// Rows of logits at a time, and rows of a vocabulary's shard.
const CHUNK: usize = 64;
const SHARD: usize = 32_768;

/// Sizes of a kernel in this model at `m` rows, each with the storages of its matrix.
pub(in crate::cli) fn sizes(
    case: &Case,
    model: &ModelConfig,
    m: usize,
) -> Vec<(Size, &'static [usize])> {
    let (d, f) = (model.hidden_size, model.intermediate_size);
    let (h, e, vocabulary) = (model.num_attention_heads, model.head_dim, model.vocab_size);
    let (q, kv) = (h * e, model.num_key_value_heads * e);
    let shard = vocabulary.min(SHARD);
    let alone = |n: usize, k: usize| vec![([m, n, k], STORAGES)];
    match case.kernel.name {
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
        "cross_entropy_fused" => vec![([m.min(CHUNK), vocabulary, 1], STORAGES)],
        "gather_rows" => alone(d, m),
        "copy_rows" => alone(kv, 64),
        "rms_norm_fwd" | "rms_norm_bwd" | "add" | "pack_f16" | "unpack_f16" | "dropout"
        | "dora_scale" | "dora_bwd" => alone(d, 1),
        // Of the optimizer and of ceilings: no rows.
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ModelShape;
    use crate::kernels;

    #[test]
    fn most_kernels_have_sizes_in_every_model() {
        for name in MODELS {
            let model = ModelShape::named(name).unwrap().config();
            let with = kernels::cases().filter(|case| !sizes(case, &model, 512).is_empty()).count();
            assert!(with >= 19, "{name}: {with} of {}", kernels::ALL.len());
        }
    }
}
