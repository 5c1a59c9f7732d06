//! One case per kernel: which tensors an operation of size M × N × K needs. M are rows (tokens), N
//! outputs, K inputs; kernels without a product use M rows of N. A family's cases stand beside its
//! operations.

pub use super::inputs::{BF16, Each, F32, Inputs, NF4, STORAGES};
use crate::Result;
use crate::gpu::Kernel;

/// A kernel's operations, and their sizes.
pub struct Case {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// M × N × K of a real model.
    pub usual: [usize; 3],
    /// M × N × K on which the twin is quick. Together they meet every body: few rows and many, rows
    /// of whole blocks, of whole eights, of whole fours, and of none of these, every head.
    pub small: &'static [[usize; 3]],
    /// Makes the tensors and hands over each operation.
    pub run: fn(&Inputs, [usize; 3], Each) -> Result<()>,
}

impl Case {
    pub(super) const fn new(
        kernel: &'static Kernel,
        usual: [usize; 3],
        small: &'static [[usize; 3]],
        run: fn(&Inputs, [usize; 3], Each) -> Result<()>,
    ) -> Case {
        Case { kernel, usual, small, run }
    }
}
