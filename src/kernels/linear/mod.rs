//! Products with a weight matrix `W (N, K)` and their gradients, and what these share. One set of
//! kernels serves frozen NF4 and dense weights and LoRA's trainable B.

mod bwd;
mod cases;
mod fwd;

use super::weight::Matrix;
use crate::gpu::{Context, Takes, Weight, Work};
pub use bwd::{LinearBwd, LinearGrad};
pub(super) use cases::CASES;
pub use fwd::{Branch, Input, LinearFwd};

/// Bodies for aligned products with weights in NF4 quads.
const ALIGNED_QUADS: Takes = Takes { weights: &[Weight::Nf4Quads], ..Takes::ALIGNED };

/// Bodies for aligned products with dense weights.
const ALIGNED_DENSE: Takes = Takes { weights: &Weight::DENSE, ..Takes::ALIGNED };

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    m: u32,
    n: u32,
    k: u32,
    stride: u32,
    first: u32,
    accumulate: u32,
    scale: f32,
    offset: f32,
}

/// What the data decide of a product that reads or writes columns from `first` of a matrix of
/// `stride`.
fn context_of(w: &Matrix, stride: usize, first: usize, half: bool) -> Context {
    let fours = [stride, first, w.rows].iter().all(|n| n.is_multiple_of(4));
    Context {
        weight: Some(w.storage.weight()),
        aligned: Some(fours && w.cols.is_multiple_of(8)),
        half: half && w.halves,
        ..Context::default()
    }
}

/// The bound of a product whose factors may be rounded to 16 bits, relative to its largest element.
///
/// With u = 2⁻¹⁰ (WGSL lets a conversion round either way), a term x·w carries an error of at most
/// u from each factor and from its own rounding, and shares in that of the three partial sums of
/// its four, whose squares are 2, 3 and 4 terms' on average: a variance of (3 + 9/4)·u²/3 of a
/// term's square, where errors are even within ±u. So the error of a sum is 1.33·u of its root of
/// squares, which is the size of an output of terms of either sign. Four of these deviations; no
/// element of the tests' sizes is expected beyond.
const HALF_BOUND: f32 = 4.0 * 1.33 / 1024.0;

fn bound(half: bool) -> f32 {
    if half { HALF_BOUND } else { 1e-5 }
}

fn work(m: usize, w: &Matrix) -> Work {
    let (m, n, k) = (m as u64, w.rows as u64, w.cols as u64);
    Work { flops: 2 * m * n * k, bytes: w.bytes() + 4 * m * (n + k) }
}
