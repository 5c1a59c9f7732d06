//! Products with a weight matrix, of many rows and of few.

use super::{ALIGNED_DENSE, ALIGNED_QUADS, Params, bound, context_of, work};
use crate::gpu::{
    Context, Gpu, HostBuffers, Kernel, Op, Prologue, Rank, Selection, Takes, Tensor, Work,
};
use crate::kernels::params;
use crate::kernels::weight::Matrix;
use crate::{Error, Result, reference};

/// The product of many rows.
pub(super) static FWD: Kernel = kernel!(
    joins linear, "linear_fwd",
    [
        x: Read, w: Read, scales: Read, nested: Read, table: Table, down: Read, b: Read, y: Update,
    ],
    baseline tile Group([32, 32]);
    "tile": on Software, takes Takes::ALIGNED, tile Group([32, 64]), tuned true;
    "workgroup": on Gpu, takes Takes::ALIGNED, tile Group([64, 64]), tuned true;
    "workgroup_f16": on Gpu, needs F16, takes Takes::ALIGNED, tile Group([64, 64]), tuned true;
    "cooperative": on Asked, needs Units, takes Takes::ALIGNED, tile Group([64, 64]), tuned true;
    "subgroup8": on Software, needs Subgroups(8, 8), takes ALIGNED_QUADS, images [x, w, down, b], tile Group([16, 64]), tuned true;
    "subgroup8_dense": on Software, needs Subgroups(8, 8), takes ALIGNED_DENSE, images [x, w, down, b], tile Group([32, 32]), tuned true;
);

/// The product of up to [`FEW`] rows, for which the weights are read once or nearly so: whatever
/// they are multiplied with is made as it is read, and LoRA's branch is added before anything is
/// written.
pub(super) static FEW_ROWS: Kernel = kernel!(
    joins linear, "linear_few",
    [
        x: Read, norm: Read, w: Read, scales: Read, nested: Read, table: Table, down: Read, b: Read,
        y: Update,
    ],
    baseline tile Group([1, 1]);
    "vec": on Software, takes Takes::ALIGNED, tile Group([1, 256]), tuned true;
    "workgroup": on Gpu, takes Takes::ALIGNED, tile Group([1, 4]), tuned true;
    "workgroup_nf4": on Gpu, takes ALIGNED_QUADS, tile Group([1, 8]), tuned true;
    "vec8": on Software, needs Subgroups(8, 8), takes ALIGNED_QUADS, images [x, w, norm], tile Group([1, 32]), tuned true;
    "vec8_dense": on Software, needs Subgroups(8, 8), takes ALIGNED_DENSE, images [x, w, norm], tile Group([1, 8]), tuned true;
);

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct FwdParams {
    product: Params,
    rank: u32,
    branch_scale: f32,
    eps: f32,
}

/// Up to so many rows of `x` the tiles of the bodies for many would be mostly idle.
const FEW: usize = 4;

/// What a product makes of `x` as it reads it.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// `x (M, K)` as it lies.
    Plain,
    /// `in = x · rstd · weight`, `rstd = 1/√(mean(x²) + eps)`:
    /// [`RmsNormFwd`](crate::kernels::RmsNormFwd) of `x (M, K)`.
    Norm {
        /// `(K)`.
        weight: &'a Tensor,
        /// ε.
        eps: f32,
    },
    /// `in = silu(gate) ⊙ up`: [`SwigluFwd`](crate::kernels::SwigluFwd) of `x (2, M, K)`, which is
    /// gate and then up.
    Swiglu,
}

/// LoRA's way up: `scale · low·Bᵀ`.
#[derive(Clone, Copy, Debug)]
pub struct Branch<'a> {
    /// `in·Aᵀ`, `(M, R)`.
    pub low: &'a Tensor,
    /// `(N, R)`.
    pub b: &'a Tensor,
    /// alpha/R or alpha/√R.
    pub scale: f32,
}

/// `y[m, first + n] = scale · Σ_k in(x)[m, k] · w[n, k] + branch.scale · Σ_r low[m, r] · b[n,
/// r]`, or `+=` with `accumulate`; without a branch only the former. What is made of `x` is never
/// stored.
///
/// `half` allows all factors to be rounded to 16 bits where the adapter gains by it; sums are f32.
/// **Shapes** `x` as [`Input`] says, `w (N, K)`, `y (M, stride)` with `first + N ≤ stride`: the
/// shards of a large matrix fill their columns of one `y`. Anything but a plain input: at most
/// [`LinearFwd::FEW`] rows. **Errors** [`Shape`](crate::Error::Shape);
/// [`Invalid`](crate::Error::Invalid) for more rows than that. **Source** Dettmers et al. 2023
/// (arXiv:2305.14314), eq. 5 and 6. **Twin** [`reference::rms_norm_fwd`] or
/// [`reference::swiglu_fwd`], then [`reference::linear_fwd`] of each product.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct LinearFwd<'a> {
    pub x: &'a Tensor,
    pub input: Input<'a>,
    pub w: &'a Matrix,
    pub branch: Option<Branch<'a>>,
    pub y: &'a Tensor,
    pub first: usize,
    pub accumulate: bool,
    pub scale: f32,
    pub half: bool,
}

impl<'a> LinearFwd<'a> {
    /// Up to so many rows a product may make its input itself.
    pub const FEW: usize = FEW;

    /// `y = x·Wᵀ`.
    pub fn new(x: &'a Tensor, w: &'a Matrix, y: &'a Tensor) -> LinearFwd<'a> {
        let (input, branch, first, accumulate) = (Input::Plain, None, 0, false);
        LinearFwd { x, input, w, branch, y, first, accumulate, scale: 1.0, half: false }
    }

    /// Whether this device does well to add the branch as it makes this product: of few rows
    /// always, of many where what it runs without the branch, a body that was written for such
    /// data, takes one.
    ///
    /// **Errors** [`Unsupported`](crate::Error::Unsupported) if no body takes such data, which is a
    /// bug.
    pub fn adds_branch(&self, gpu: &Gpu) -> Result<bool> {
        if self.is_few() {
            return Ok(true);
        }
        let body = gpu.body(self)?;
        let without = gpu.body(&LinearFwd { branch: None, ..*self })?;
        Ok(body.name == without.name && !body.is_baseline())
    }

    fn is_few(&self) -> bool {
        self.y.dim(0) <= FEW
    }

    fn product(&self) -> Params {
        Params {
            m: self.y.dim(0) as u32,
            n: self.w.rows as u32,
            k: self.w.cols as u32,
            stride: self.y.dim(1) as u32,
            first: self.first as u32,
            accumulate: self.accumulate.into(),
            scale: self.scale,
            offset: self.w.offset(),
        }
    }

    fn check(&self, name: &str, m: usize) -> Result<()> {
        let k = self.w.cols;
        if !self.is_few() && !matches!(self.input, Input::Plain) {
            let why = format!("{m} rows, and only {FEW} may have an input of their own");
            return Err(Error::invalid(name, why));
        }
        match self.input {
            Input::Plain => self.x.expect(name, &[m, k])?,
            Input::Norm { weight, .. } => {
                self.x.expect(name, &[m, k])?;
                weight.expect(name, &[k])?;
            }
            Input::Swiglu => self.x.expect(name, &[2, m, k])?,
        }
        if let Some(Branch { low, b, .. }) = self.branch {
            let [_, rank] = low.matrix(name)?;
            low.expect(name, &[m, rank])?;
            b.expect(name, &[self.w.rows, rank])?;
        }
        self.y.expect(name, &[m, self.y.dim(1).max(self.first + self.w.rows)])
    }

    /// What is multiplied with the weights, on the host.
    fn input_on_host(&self, x: &[f32], norm: &[f32]) -> Vec<f32> {
        match self.input {
            Input::Plain => x.to_vec(),
            Input::Norm { eps, .. } => {
                let (mut y, mut rstd) = (vec![0.0; x.len()], vec![0.0; self.y.dim(0)]);
                reference::rms_norm_fwd(x, norm, eps, &mut y, &mut rstd);
                y
            }
            Input::Swiglu => {
                let (gate, up) = x.split_at(x.len() / 2);
                let mut y = vec![0.0; gate.len()];
                reference::swiglu_fwd(gate, up, &mut y);
                y
            }
        }
    }
}

impl Op for LinearFwd<'_> {
    fn kernel(&self) -> &'static Kernel {
        if self.is_few() { &FEW_ROWS } else { &FWD }
    }
    fn tensors(&self) -> Vec<&Tensor> {
        let (x, w) = (self.x, self.w);
        // What is not used only fills its binding.
        let norm = if let Input::Norm { weight, .. } = self.input { weight } else { x };
        let (low, b) = self.branch.map_or((x, x), |branch| (branch.low, branch.b));
        let others = [&w.w, &w.scales, &w.nested, &w.table, low, b, self.y];
        let first = if self.is_few() { &[x, norm][..] } else { &[x] };
        first.iter().copied().chain(others).collect()
    }
    fn context(&self) -> Context {
        let half = self.half && !self.is_few();
        let prologue = match self.input {
            Input::Plain => Prologue::Plain,
            Input::Norm { .. } => Prologue::Norm,
            Input::Swiglu => Prologue::Swiglu,
        };
        let product = context_of(self.w, self.y.dim(1), self.first, half);
        let branch = self.branch.map(|branch| match branch.low.dim(1).is_multiple_of(8) {
            true => Rank::Eights,
            false => Rank::Ragged,
        });
        Context { prologue, branch, ..product }
    }
    fn params(&self) -> Vec<u8> {
        let product = self.product();
        let (rank, branch_scale) = self.branch.map_or((0, 0.0), |b| (b.low.dim(1) as u32, b.scale));
        let eps = if let Input::Norm { eps, .. } = self.input { eps } else { 0.0 };
        params(&FwdParams { product, rank, branch_scale, eps })
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        let name = selection.kernel.name;
        let [m, _] = self.y.matrix(name)?;
        self.check(name, m)?;
        let tile = selection.body.tile;
        if !self.is_few() {
            return tile.matrix(m, self.w.rows);
        }
        // One of the rows in each workgroup.
        let [x, y, _] = tile.flat(self.w.rows, |_| 1)?;
        Ok([x, y, m as u32])
    }
    fn work(&self) -> Work {
        let (m, n, k) = (self.y.dim(0) as u64, self.w.rows as u64, self.w.cols as u64);
        let Work { mut flops, mut bytes } = work(self.y.dim(0), self.w);
        match self.input {
            Input::Plain => {}
            Input::Norm { .. } => (flops, bytes) = (flops + 4 * m * k, bytes + 4 * k),
            Input::Swiglu => (flops, bytes) = (flops + 5 * m * k, bytes + 4 * m * k),
        }
        if let Some(branch) = self.branch {
            let r = branch.low.dim(1) as u64;
            (flops, bytes) = (flops + 2 * m * n * r, bytes + 4 * r * (m + n));
        }
        Work { flops, bytes }
    }
    fn twin(&self, host: &mut HostBuffers) {
        let out = reference::Columns { stride: self.y.dim(1), first: self.first };
        let (k, scale, accumulate) = (self.w.cols, self.scale, self.accumulate);
        let (x, norm, others) = if self.is_few() {
            let [x, norm, others @ ..] = host.all::<9>();
            (x.f32(), norm.f32(), others)
        } else {
            let [x, others @ ..] = host.all::<8>();
            (x.f32(), &[][..], others)
        };
        let [w, scales, nested, table, low, b, y] = others;
        let x = self.input_on_host(x, norm);
        let w = self.w.values(w, scales, nested, table);
        reference::linear_fwd(&x, &w, k, accumulate, scale, out, y.f32_mut());
        if let Some(Branch { low: shape, scale, .. }) = self.branch {
            let rank = shape.dim(1);
            reference::linear_fwd(low.f32(), b.f32(), rank, true, scale, out, y.f32_mut());
        }
    }
    fn bound(&self) -> f32 {
        bound(self.half && !self.is_few())
    }
}
