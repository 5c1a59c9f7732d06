//! RMSNorm.

use super::cases::{Case, Each, Inputs};
use super::{fours, params};
use crate::Result;
use crate::gpu::{Context, HostBuffers, Kernel, Op, Selection, Takes, Tensor, Work, grid};
use crate::reference;

static FWD: Kernel = kernel!(
    norm, "rms_norm_fwd", [x: Read, w: Read, y: Write, rstd: Write],
    baseline tile Rows(1);
    "vec4": on Software where |a| a.slow_loads, takes Takes::ALIGNED, images [x, w], fours true, tile Rows(1);
);
static BWD: Kernel = kernel!(
    norm, "rms_norm_bwd", [x: Read, w: Read, rstd: Read, dy: Read, dx: Update],
    baseline tile Rows(1);
    "vec4": on Software where |a| a.slow_loads, takes Takes::ALIGNED, images [x, dy, w, dx], fours true, tile Rows(1);
);

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    n: u32,
    d: u32,
    eps: f32,
    accumulate: u32,
}

/// RMSNorm forward: `y = x · rstd · w`, `rstd = 1/√(mean(x²) + eps)`.
///
/// **Shapes** `x (N, D)`, `w (D)` → `y (N, D)`, `rstd (N)`. **Errors**
/// [`Shape`](crate::Error::Shape) if they disagree. **Source** Zhang & Sennrich 2019
/// (arXiv:1910.07467), eq. 4. **Twin** [`reference::rms_norm_fwd`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct RmsNormFwd<'a> {
    pub x: &'a Tensor,
    pub w: &'a Tensor,
    pub eps: f32,
    pub y: &'a Tensor,
    pub rstd: &'a Tensor,
}

impl Op for RmsNormFwd<'_> {
    fn kernel(&self) -> &'static Kernel {
        &FWD
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.x, self.w, self.y, self.rstd]
    }
    fn params(&self) -> Vec<u8> {
        let (n, d) = (self.x.dim(0) as u32, self.x.dim(1) as u32);
        params(&Params { n, d, eps: self.eps, accumulate: 0 })
    }
    fn context(&self) -> Context {
        fours(self.w.len())
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let [n, d] = self.x.matrix(FWD.name)?;
        self.w.expect(FWD.name, &[d])?;
        self.y.expect(FWD.name, &[n, d])?;
        self.rstd.expect(FWD.name, &[n])?;
        grid(n)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [x, w, y, rstd] = host.all();
        reference::rms_norm_fwd(x.f32(), w.f32(), self.eps, y.f32_mut(), rstd.f32_mut());
    }
    fn work(&self) -> Work {
        Work { flops: 4 * self.x.len() as u64, bytes: self.x.bytes() + self.y.bytes() }
    }
}

/// RMSNorm backward to the input: `dx += rstd · (w∘dy − x · rstd² · mean(x∘w∘dy))`. Without
/// `accumulate`, `=`. The weight is frozen and gets no gradient.
///
/// **Shapes** `x, dy, dx (N, D)`, `w (D)`, `rstd (N)` as [`RmsNormFwd`] left it.
/// **Errors** [`Shape`](crate::Error::Shape). **Source** derivative of eq. 4.
/// **Twin** [`reference::rms_norm_bwd`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct RmsNormBwd<'a> {
    pub x: &'a Tensor,
    pub w: &'a Tensor,
    pub rstd: &'a Tensor,
    pub dy: &'a Tensor,
    pub dx: &'a Tensor,
    pub accumulate: bool,
}

impl Op for RmsNormBwd<'_> {
    fn kernel(&self) -> &'static Kernel {
        &BWD
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.x, self.w, self.rstd, self.dy, self.dx]
    }
    fn params(&self) -> Vec<u8> {
        let (n, d) = (self.x.dim(0) as u32, self.x.dim(1) as u32);
        params(&Params { n, d, eps: 0.0, accumulate: self.accumulate.into() })
    }
    fn context(&self) -> Context {
        fours(self.w.len())
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let [n, d] = self.x.matrix(BWD.name)?;
        self.w.expect(BWD.name, &[d])?;
        self.rstd.expect(BWD.name, &[n])?;
        self.dy.expect(BWD.name, &[n, d])?;
        self.dx.expect(BWD.name, &[n, d])?;
        grid(n)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [x, w, rstd, dy, dx] = host.all();
        reference::rms_norm_bwd(
            x.f32(),
            w.f32(),
            rstd.f32(),
            dy.f32(),
            self.accumulate,
            dx.f32_mut(),
        );
    }
    fn work(&self) -> Work {
        Work { flops: 8 * self.x.len() as u64, bytes: 4 * self.x.bytes() }
    }
}

pub(super) const CASES: &[Case] = &[
    Case::new(&FWD, [512, 2048, 1], &[[7, 100, 1], [7, 99, 1]], rms_norm_fwd),
    Case::new(&BWD, [512, 2048, 1], &[[7, 100, 1], [7, 99, 1]], rms_norm_bwd),
];

fn rms_norm_fwd(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (x, w) = (i.random("x", &[m, n])?, i.random("w", &[n])?);
    let (y, rstd) = (i.zeros("y", &[m, n])?, i.zeros("rstd", &[m])?);
    each(&RmsNormFwd { x: &x, w: &w, eps: 1e-5, y: &y, rstd: &rstd })
}

fn rms_norm_bwd(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (x, dy) = (i.random("x", &[m, n])?, i.random("dy", &[m, n])?);
    let (w, rstd) = (i.random("w", &[n])?, i.positive("rstd", &[m])?);
    let dx = i.zeros("dx", &[m, n])?;
    each(&RmsNormBwd { x: &x, w: &w, rstd: &rstd, dy: &dy, dx: &dx, accumulate: false })
}
