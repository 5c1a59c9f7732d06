//! Sums, row selection and dropout.

use super::{Length, elements, params};
use crate::gpu::{HostBuffers, Kernel, Op, Selection, Tensor, Work};
use crate::{Error, Result, reference};

pub(super) static ADD: Kernel = kernel!("add", [x: Read, y: Update]);
pub(super) static GATHER_ROWS: Kernel = kernel!("gather_rows", [x: Read, index: Read, y: Write]);
pub(super) static DROPOUT: Kernel = kernel!("dropout", [x: Read, y: Write]);
pub(super) static DROPOUT_BWD: Kernel = kernel!("dropout_bwd", [dy: Read, dx: Update]);

/// Sum in place: `y += x`.
///
/// **Shapes** `x, y` alike. **Errors** [`Shape`](Error::Shape) if they are not.
/// **Source** residual connection. **Twin** [`reference::add`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct Add<'a> {
    pub x: &'a Tensor,
    pub y: &'a Tensor,
}

impl Op for Add<'_> {
    fn kernel(&self) -> &'static Kernel {
        &ADD
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.x, self.y]
    }
    fn params(&self) -> Vec<u8> {
        params(&Length::of(self.y))
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        self.y.expect(ADD.name, self.x.dims())?;
        elements(self.y.len())
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [x, y] = host.all();
        reference::add(x.f32(), y.f32_mut());
    }
    fn work(&self) -> Work {
        Work { flops: self.y.len() as u64, bytes: 3 * self.y.bytes() }
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct GatherParams {
    l: u32,
    n: u32,
    d: u32,
}

/// Row selection: `y[l] = x[index[l]]`, or zeros where `index[l]` is no row of `x` (`0xffffffff` by
/// convention). With the inverse index it scatters: each row of `y` asks where it comes from.
///
/// **Shapes** `x (N, D)`, `index (L)` words, `y (L, D)`. **Errors** [`Shape`](Error::Shape).
/// **Source** selection of the rows that have a target. **Twin** [`reference::gather_rows`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct GatherRows<'a> {
    pub x: &'a Tensor,
    pub index: &'a Tensor,
    pub y: &'a Tensor,
}

impl Op for GatherRows<'_> {
    fn kernel(&self) -> &'static Kernel {
        &GATHER_ROWS
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.x, self.index, self.y]
    }
    fn params(&self) -> Vec<u8> {
        let (n, d) = (self.x.dim(0) as u32, self.x.dim(1) as u32);
        params(&GatherParams { l: self.index.len() as u32, n, d })
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let [_, d] = self.x.matrix(GATHER_ROWS.name)?;
        let l = self.index.len();
        self.index.expect(GATHER_ROWS.name, &[l])?;
        self.y.expect(GATHER_ROWS.name, &[l, d])?;
        elements(l * d)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [x, index, y] = host.all();
        reference::gather_rows(x.f32(), index.u32(), self.x.dim(1), y.f32_mut());
    }
    fn work(&self) -> Work {
        Work { flops: 0, bytes: self.index.bytes() + 2 * self.y.bytes() }
    }
    fn bound(&self) -> f32 {
        1e-7
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct DropoutParams {
    n: u32,
    seed: u32,
    threshold: u32,
    scale: f32,
}

fn dropout_params(tensor: &Tensor, seed: u32, p: f32) -> Vec<u8> {
    let threshold = reference::dropout_threshold(p);
    let scale = reference::dropout_scale(p);
    params(&DropoutParams { n: tensor.len() as u32, seed, threshold, scale })
}

fn dropout_dispatch(op: &str, p: f32, from: &Tensor, to: &Tensor) -> Result<[u32; 3]> {
    if !(0.0..1.0).contains(&p) {
        return Err(Error::invalid(op, format!("p = {p} is not in [0, 1)")));
    }
    to.expect(op, from.dims())?;
    elements(to.len())
}

/// Dropout: `y = x · mask / (1 − p)`, where element `i` is kept if `mask_hash(seed, i)` is at least
/// `p · 2³²`. The mask is a function of `seed` and `i`: nothing is stored for the backward pass.
///
/// **Shapes** `x, y` alike. **Errors** [`Shape`](Error::Shape) if they are not,
/// [`Invalid`](Error::Invalid) unless 0 ≤ p < 1. **Source** Srivastava et al. 2014; the hash is
/// O'Neill's PCG. **Twin** [`reference::dropout`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct Dropout<'a> {
    pub x: &'a Tensor,
    pub seed: u32,
    pub p: f32,
    pub y: &'a Tensor,
}

impl Op for Dropout<'_> {
    fn kernel(&self) -> &'static Kernel {
        &DROPOUT
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.x, self.y]
    }
    fn params(&self) -> Vec<u8> {
        dropout_params(self.y, self.seed, self.p)
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        dropout_dispatch(DROPOUT.name, self.p, self.x, self.y)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [x, y] = host.all();
        reference::dropout(x.f32(), self.seed, self.p, y.f32_mut());
    }
    fn work(&self) -> Work {
        Work { flops: self.y.len() as u64, bytes: 2 * self.y.bytes() }
    }
}

/// Dropout backward: `dx += dy · mask / (1 − p)`, with the mask of [`Dropout`] under the same seed.
///
/// **Shapes** `dy, dx` alike. **Errors** [`Shape`](Error::Shape) if they are not,
/// [`Invalid`](Error::Invalid) unless 0 ≤ p < 1. **Source** derivative of [`Dropout`].
/// **Twin** [`reference::dropout_bwd`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct DropoutBwd<'a> {
    pub dy: &'a Tensor,
    pub seed: u32,
    pub p: f32,
    pub dx: &'a Tensor,
}

impl Op for DropoutBwd<'_> {
    fn kernel(&self) -> &'static Kernel {
        &DROPOUT_BWD
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.dy, self.dx]
    }
    fn params(&self) -> Vec<u8> {
        dropout_params(self.dx, self.seed, self.p)
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        dropout_dispatch(DROPOUT_BWD.name, self.p, self.dy, self.dx)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [dy, dx] = host.all();
        reference::dropout_bwd(dy.f32(), self.seed, self.p, dx.f32_mut());
    }
    fn work(&self) -> Work {
        Work { flops: 2 * self.dx.len() as u64, bytes: 3 * self.dx.bytes() }
    }
}
