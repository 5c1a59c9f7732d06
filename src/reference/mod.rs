//! CPU twins: the meaning of every kernel, as plain loops with f64 accumulation over plain slices.

mod attention;
#[cfg(test)]
pub(crate) mod check;
mod rms_norm;

pub use attention::{
    AttentionShape, attention_bwd_dkv, attention_bwd_dq, attention_delta, attention_fwd,
};
pub use rms_norm::{rms_norm_bwd, rms_norm_fwd};
