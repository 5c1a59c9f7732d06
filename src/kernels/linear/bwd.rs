//! Gradients of products with a weight matrix: of the input, and of the weight.

use super::{ALIGNED_DENSE, ALIGNED_QUADS, Params, bound, context_of, work};
use crate::Result;
use crate::gpu::{Context, HostBuffers, Kernel, Op, Selection, Takes, Tensor, Work};
use crate::kernels::lora::Mask;
use crate::kernels::params;
use crate::kernels::weight::Matrix;
use crate::reference;

/// Bodies for the aligned gradient of a weight that is at least as wide as it is high, and of a
/// thin one.
const WIDE: Takes = Takes { thin: Some(false), ..Takes::ALIGNED };
const THIN: Takes = Takes { thin: Some(true), ..Takes::ALIGNED };

pub(super) static BWD: Kernel = kernel!(
    linear, "linear_bwd",
    [dy: Read, w: Read, scales: Read, nested: Read, table: Table, dx: Update],
    baseline tile Group([32, 32]);
    "tile": on Software, takes Takes::ALIGNED, tile Group([32, 128]), tuned true;
    "workgroup": on Gpu, takes Takes::ALIGNED, tile Group([64, 64]), tuned true;
    "workgroup_f16": on Gpu, needs F16, takes Takes::ALIGNED, tile Group([64, 64]), tuned true;
    "cooperative": on Asked, needs Units, takes Takes::ALIGNED, tile Group([64, 64]), tuned true;
    "subgroup8": on Software, needs Subgroups(8, 8), takes ALIGNED_QUADS, images [dy, w], tile Group([16, 64]), tuned true;
    "subgroup8_dense": on Software, needs Subgroups(8, 8), takes ALIGNED_DENSE, images [dy, w], tile Group([32, 64]), tuned true;
);
pub(super) static GRAD: Kernel = kernel!(
    linear, "linear_grad",
    [dy: Read, x: Read, dw: Update],
    baseline tile Group([32, 32]);
    "tile": on Software, takes Takes::ALIGNED, tile Group([32, 32]), tuned true;
    "workgroup": on Gpu, takes Takes::ALIGNED, tile Group([64, 64]), tuned true;
    "subgroup8": on Software, needs Subgroups(8, 8), takes WIDE, images [dy, x], tile Group([16, 32]), tuned true;
    "subgroup8_thin": on Software, needs Subgroups(8, 8), takes THIN, images [dy, x], tile Group([32, 16]), tuned true;
);

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
    fn context(&self) -> Context {
        context_of(self.w, self.dy.dim(1), self.first, self.half)
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
    fn context(&self) -> Context {
        Context {
            aligned: Some([&self.dy, &self.x].iter().all(|t| t.dim(1).is_multiple_of(4))),
            thin: Some(self.x.dim(1) < self.dy.dim(1)),
            mask: Some(self.mask.is_some()),
            ..Context::default()
        }
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
