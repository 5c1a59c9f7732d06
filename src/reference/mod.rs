//! CPU twins: the meaning of every kernel, as plain loops with f64 accumulation over plain slices.

mod attention;
mod attention_gather;
mod ceiling;
#[cfg(test)]
pub(crate) mod check;
mod copy_rows;
mod cross_entropy;
mod dora;
mod dora_norm;
mod dropout;
mod elementwise;
mod embed;

mod linear;
mod optimizer;
mod pack;
mod rms_norm;
mod rope;
mod soft_target;
mod swiglu;

pub use attention::{
    AttentionShape, attention_bwd_dkv, attention_bwd_dq, attention_delta, attention_fwd,
};
pub use attention_gather::{GatherShape, attention_gather};
pub use ceiling::{ceiling_copy, ceiling_fma};
pub use copy_rows::copy_rows;
pub use cross_entropy::{cross_entropy_fused, reduce_sum};
pub use dora::{dora_bwd, dora_scale};
pub use dora_norm::dora_norm;
pub use dropout::{dropout, dropout_bwd, dropout_scale, dropout_threshold};
pub use elementwise::{add, add_bias, gather_rows};
pub use embed::embed_fwd;
pub use linear::{Columns, linear_bwd, linear_fwd, linear_grad};
pub use optimizer::{AdamWFactors, BLOCK8, CHUNK, adamw, adamw8bit, clip_coefficient, sum_squares};
pub use pack::{pack_f16, unpack_f16};
pub use rms_norm::{rms_norm_bwd, rms_norm_fwd};
pub use rope::rope;
pub use soft_target::{SparseRows, add_entries, crps, soft_target};
pub use swiglu::{swiglu_bwd, swiglu_fwd};
