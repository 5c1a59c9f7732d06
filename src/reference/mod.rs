//! CPU twins: the meaning of every kernel, as plain loops with f64 accumulation over plain slices.

#[cfg(test)]
pub(crate) mod check;
mod linear;
mod rms_norm;

pub use linear::{Columns, linear_bwd, linear_fwd, linear_grad, weights};
pub use rms_norm::{rms_norm_bwd, rms_norm_fwd};
