//! CPU twins: the meaning of every kernel, as plain loops with f64 accumulation over plain slices.

#[cfg(test)]
pub(crate) mod check;
mod rms_norm;

pub use rms_norm::{rms_norm_bwd, rms_norm_fwd};
