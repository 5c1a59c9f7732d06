//! Products with a weight matrix `W (N, K)` and their gradients, and what these share. One set of
//! kernels serves frozen NF4 and dense weights and LoRA's trainable B.

mod bwd;
mod fwd;

use super::weight::Matrix;
use crate::gpu::{HALF, Work};
pub(super) use bwd::{BWD, GRAD};
pub use bwd::{LinearBwd, LinearGrad};
pub use fwd::{Branch, Input, LinearFwd};
pub(super) use fwd::{FEW_ROWS, FWD};

/// Bodies for aligned products with weights in NF4 quads.
const ALIGNED_QUADS: [&str; 3] = ["weight_nf4_quads", "rows_nf4_quads", "aligned"];

/// Bodies for aligned products with dense weights.
const ALIGNED_DENSE: [&str; 7] =
    ["weight_f32", "weight_f16", "weight_bf16", "rows_f32", "rows_f16", "rows_bf16", "aligned"];

/// Bodies for aligned products with any weights.
const ALIGNED: [&str; 13] = [
    "weight_f32",
    "weight_f16",
    "weight_bf16",
    "weight_nf4_quads",
    "weight_nf4",
    "weight_nf4_single",
    "rows_f32",
    "rows_f16",
    "rows_bf16",
    "rows_nf4_quads",
    "rows_nf4",
    "rows_nf4_single",
    "aligned",
];

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

/// What the data decide: the weights' module, whether all that the fast bodies read or write four
/// columns at a time begins at such a border, and whether 16 bits are allowed.
fn roles(w: &Matrix, stride: usize, first: usize, half: bool) -> Vec<(&'static str, &'static str)> {
    let fours = [stride, first, w.rows].iter().all(|n| n.is_multiple_of(4));
    let aligned = fours && w.cols.is_multiple_of(8);
    let shape = ("shape", if aligned { "aligned" } else { "ragged" });
    [w.role(), w.rows_role(), shape].into_iter().chain((half && w.halves).then_some(HALF)).collect()
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
