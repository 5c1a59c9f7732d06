//! What the drivers of other people's machines make of our kernels, which cannot be tested
//! beforehand: kernels against their CPU twins, in the variants that a model will run ([`run`]) or
//! in all ([`kernels`]), and training against PyTorch's numbers ([`training`]).

mod check;
mod kernels;
mod model;
mod training;

pub use check::{Check, require};
pub use kernels::kernels;
pub use model::{Scope, run};
pub use training::{Deviation, Probe, training};
