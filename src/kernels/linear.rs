//! Gradients of products with a weight matrix `W (N, K)`: of the input, of the weight; and what
//! they share with the products themselves. One set of kernels serves frozen NF4 and dense weights
//! and LoRA's trainable B.

use super::lora::Mask;
use super::params;
use super::weight::Matrix;
use crate::Result;
use crate::gpu::{HALF, HostBuffers, Kernel, Op, Selection, Tensor, Work};
use crate::reference;

/// Bodies for aligned products with weights in NF4 quads.
pub(super) const ALIGNED_QUADS: [&str; 3] = ["weight_nf4_quads", "rows_nf4_quads", "aligned"];

/// Bodies for aligned products with dense weights.
pub(super) const ALIGNED_DENSE: [&str; 7] =
    ["weight_f32", "weight_f16", "weight_bf16", "rows_f32", "rows_f16", "rows_bf16", "aligned"];

/// Bodies for aligned products with any weights.
pub(super) const ALIGNED: [&str; 13] = [
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

/// Bodies for the aligned gradient of a weight: of any, of one at least as wide as it is high, of a
/// thin one.
const ANY_RATIO: [&str; 5] = ["aligned", "wide", "thin", "mask_none", "mask_pcg"];
const WIDE: [&str; 4] = ["aligned", "wide", "mask_none", "mask_pcg"];
const THIN: [&str; 4] = ["aligned", "thin", "mask_none", "mask_pcg"];

pub(super) static BWD: Kernel = kernel!(
    linear, "linear_bwd",
    [dy: Read, w: Read, scales: Read, nested: Read, table: Table, dx: Update],
    baseline tile Group([32, 32]);
    "tile": on Software, takes ALIGNED, tile Group([32, 128]), tuned true;
    "workgroup": on Gpu, takes ALIGNED, tile Group([64, 64]), tuned true;
    "workgroup_f16": on Gpu, needs F16, takes ALIGNED, tile Group([64, 64]), tuned true;
    "subgroup8": on Software, needs Subgroups(8, 8), takes ALIGNED_QUADS, images [dy, w], tile Group([16, 64]), tuned true;
    "subgroup8_dense": on Software, needs Subgroups(8, 8), takes ALIGNED_DENSE, images [dy, w], tile Group([32, 64]), tuned true;
);
pub(super) static GRAD: Kernel = kernel!(
    linear, "linear_grad",
    [dy: Read, x: Read, dw: Update],
    baseline tile Group([32, 32]);
    "tile": on Software, takes ANY_RATIO, tile Group([32, 32]), tuned true;
    "workgroup": on Gpu, takes ANY_RATIO, tile Group([64, 64]), tuned true;
    "subgroup8": on Software, needs Subgroups(8, 8), takes WIDE, images [dy, x], tile Group([16, 32]), tuned true;
    "subgroup8_thin": on Software, needs Subgroups(8, 8), takes THIN, images [dy, x], tile Group([32, 16]), tuned true;
);

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Params {
    pub(super) m: u32,
    pub(super) n: u32,
    pub(super) k: u32,
    pub(super) stride: u32,
    pub(super) first: u32,
    pub(super) accumulate: u32,
    pub(super) scale: f32,
    pub(super) offset: f32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct GradParams {
    m: u32,
    n: u32,
    k: u32,
    scale: f32,
    seed: u32,
    threshold: u32,
    keep: f32,
}

/// What the data decide: the weights' module, whether all that the fast bodies read or write four
/// columns at a time begins at such a border, and whether 16 bits are allowed.
pub(super) fn roles(
    w: &Matrix,
    stride: usize,
    first: usize,
    half: bool,
) -> Vec<(&'static str, &'static str)> {
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

pub(super) fn bound(half: bool) -> f32 {
    if half { HALF_BOUND } else { 1e-5 }
}

pub(super) fn work(m: usize, w: &Matrix) -> Work {
    let (m, n, k) = (m as u64, w.rows as u64, w.cols as u64);
    Work { flops: 2 * m * n * k, bytes: w.bytes() + 4 * m * (n + k) }
}

/// `dx[m, k] = scale · Σ_n dy[m, first + n] · w[n, k]`, or `+=` with `accumulate`.
///
/// `half` as in [`LinearFwd`](super::LinearFwd). **Shapes** `dy (M, stride)`, `w (N, K)`,
/// `dx (M, K)`. **Errors** [`Shape`](crate::Error::Shape). **Source** derivative of
/// [`LinearFwd`](super::LinearFwd) by its input. **Twin** [`reference::linear_bwd`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct LinearBwd<'a> {
    pub dy: &'a Tensor,
    pub first: usize,
    pub w: &'a Matrix,
    pub dx: &'a Tensor,
    pub accumulate: bool,
    pub scale: f32,
    pub half: bool,
}

impl Op for LinearBwd<'_> {
    fn kernel(&self) -> &'static Kernel {
        &BWD
    }
    fn tensors(&self) -> Vec<&Tensor> {
        let w = self.w;
        vec![self.dy, &w.w, &w.scales, &w.nested, &w.table, self.dx]
    }
    fn roles(&self) -> Vec<(&'static str, &'static str)> {
        roles(self.w, self.dy.dim(1), self.first, self.half)
    }
    fn params(&self) -> Vec<u8> {
        params(&Params {
            m: self.dy.dim(0) as u32,
            n: self.w.rows as u32,
            k: self.w.cols as u32,
            stride: self.dy.dim(1) as u32,
            first: self.first as u32,
            accumulate: self.accumulate.into(),
            scale: self.scale,
            offset: self.w.offset(),
        })
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        let [m, stride] = self.dy.matrix(BWD.name)?;
        self.dy.expect(BWD.name, &[m, stride.max(self.first + self.w.rows)])?;
        self.dx.expect(BWD.name, &[m, self.w.cols])?;
        selection.body.tile.matrix(m, self.w.cols)
    }
    fn work(&self) -> Work {
        work(self.dy.dim(0), self.w)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [dy, w, scales, nested, table, dx] = host.all();
        let w = self.w.values(w, scales, nested, table);
        let from = reference::Columns { stride: self.dy.dim(1), first: self.first };
        reference::linear_bwd(
            dy.f32(),
            from,
            &w,
            self.w.cols,
            self.accumulate,
            self.scale,
            dx.f32_mut(),
        );
    }
    fn bound(&self) -> f32 {
        bound(self.half)
    }
}

/// `dw[n, k] += scale · Σ_m dy[m, n] · dropout(x)[m, k]`: the gradient of a trainable matrix.
///
/// **Shapes** `dy (M, N)`, `x (M, K)`, `dw (N, K)`. **Errors** [`Shape`](crate::Error::Shape),
/// [`Invalid`](crate::Error::Invalid) unless dropout is in [0, 1). **Source** derivative of
/// [`LinearFwd`](super::LinearFwd) by its weight. **Twin** [`reference::linear_grad`] of what
/// [`reference::dropout`] gives.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct LinearGrad<'a> {
    pub dy: &'a Tensor,
    pub x: &'a Tensor,
    pub dw: &'a Tensor,
    pub scale: f32,
    pub mask: Option<Mask>,
}

impl Op for LinearGrad<'_> {
    fn kernel(&self) -> &'static Kernel {
        &GRAD
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.dy, self.x, self.dw]
    }
    fn roles(&self) -> Vec<(&'static str, &'static str)> {
        let aligned = [&self.dy, &self.x].iter().all(|t| t.dim(1).is_multiple_of(4));
        let thin = self.x.dim(1) < self.dy.dim(1);
        vec![
            ("shape", if aligned { "aligned" } else { "ragged" }),
            ("ratio", if thin { "thin" } else { "wide" }),
            Mask::role(self.mask),
        ]
    }
    fn params(&self) -> Vec<u8> {
        let (seed, threshold, keep) = Mask::params(self.mask);
        params(&GradParams {
            m: self.dy.dim(0) as u32,
            n: self.dy.dim(1) as u32,
            k: self.x.dim(1) as u32,
            scale: self.scale,
            seed,
            threshold,
            keep,
        })
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        let ([m, n], [_, k]) = (self.dy.matrix(GRAD.name)?, self.x.matrix(GRAD.name)?);
        self.x.expect(GRAD.name, &[m, k])?;
        self.dw.expect(GRAD.name, &[n, k])?;
        Mask::check(self.mask, GRAD.name)?;
        selection.body.tile.matrix(n, k)
    }
    fn work(&self) -> Work {
        let (m, n, k) = (self.dy.dim(0) as u64, self.dy.dim(1) as u64, self.x.dim(1) as u64);
        Work { flops: 2 * m * n * k, bytes: 4 * (m * (n + k) + 2 * n * k) }
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [dy, x, dw] = host.all();
        let (n, k) = (self.dy.dim(1), self.x.dim(1));
        let x = Mask::on_host(self.mask, x.f32());
        reference::linear_grad(dy.f32(), &x, n, k, self.scale, dw.f32_mut());
    }
}
