//! LoRA's skinny products and dropout's mask of its input, which is computed where the input is
//! loaded. The way up is [`LinearFwd`](super::LinearFwd) of B, the gradients of A and B are
//! [`LinearGrad`](super::LinearGrad).

use super::cases::{Case, Each, Inputs};
use super::{elements, params};
use crate::gpu::{Context, HostBuffers, Kernel, Op, Selection, Takes, Tensor, Work};
use crate::{Error, Result, reference};

static DOWN: Kernel = kernel!(
    joins lora, "lora_down",
    [x: Read, a: Read, low: Write],
    baseline tile Each([1, 1]);
    "workgroup": on Gpu, takes Takes::ALIGNED, tile Group([16, 16]);
    "subgroup8": on Software, needs Subgroups(8, 8), takes Takes::ALIGNED, images [x, a], tile Group([32, 16]);
);
static DOWN_BWD: Kernel = kernel!(
    lora, "lora_down_bwd",
    [dlow: Read, a: Read, dx: Update],
    baseline tile Each([1, 4]);
    "subgroup8": on Software, needs Subgroups(8, 8), takes Takes::ALIGNED, images [dlow, a, dx], tile Group([16, 64]);
);
static UP_BWD: Kernel = kernel!(
    lora, "lora_up_bwd",
    [dy: Read, b: Read, dlow: Write],
    baseline tile Each([1, 1]);
    "workgroup": on Gpu, takes Takes::ALIGNED, tile Group([16, 16]);
    "subgroup8": on Software, needs Subgroups(8, 8), takes Takes::ALIGNED, images [dy], tile Group([32, 16]);
);

static DROPOUT: Kernel = kernel!(lora, "dropout", [x: Read, y: Update]);

/// Dropout of a tensor: element `i` becomes `x / (1 − p)` where `mask_hash(seed, i) ≥ p · 2³²`,
/// else 0. A function of `seed` and `i`: nothing is stored for the backward pass. Srivastava et al.
/// 2014; the hash is O'Neill's PCG.
#[derive(Clone, Copy, Debug)]
pub struct Mask {
    /// Share that is dropped, in [0, 1).
    pub p: f32,
    /// Seed of the hash.
    pub seed: u32,
}

impl Mask {
    /// Seed, smallest hash that is kept, and what kept elements are multiplied with.
    pub(super) fn params(mask: Option<Mask>) -> (u32, u32, f32) {
        let seed_and_p =
            |Mask { p, seed }| (seed, reference::dropout_threshold(p), reference::dropout_scale(p));
        mask.map_or((0, 0, 1.0), seed_and_p)
    }

    pub(super) fn check(mask: Option<Mask>, op: &str) -> Result<()> {
        match mask {
            Some(Mask { p, .. }) if !(0.0..1.0).contains(&p) => {
                Err(Error::invalid(op, format!("dropout {p} is not in [0, 1)")))
            }
            _ => Ok(()),
        }
    }

    /// `x` behind the mask, on the host.
    pub(super) fn on_host(mask: Option<Mask>, x: &[f32]) -> Vec<f32> {
        let mut y = x.to_vec();
        if let Some(Mask { p, seed }) = mask {
            reference::dropout(x, seed, p, &mut y);
        }
        y
    }
}

/// `low = dropout(x)·Aᵀ`: LoRA's way down.
///
/// **Shapes** `x (M, K)`, `a (R, K)`, `low (M, R)`. **Errors** [`Shape`](Error::Shape),
/// [`Invalid`](Error::Invalid) unless dropout is in [0, 1). **Source** Hu et al. 2021
/// (arXiv:2106.09685), eq. 3. **Twin** [`reference::linear_fwd`] of what [`reference::dropout`]
/// gives.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct LoraDown<'a> {
    pub x: &'a Tensor,
    pub a: &'a Tensor,
    pub mask: Option<Mask>,
    pub low: &'a Tensor,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct DownParams {
    m: u32,
    k: u32,
    rank: u32,
    seed: u32,
    threshold: u32,
    keep: f32,
}

fn aligned(rank: usize, features: usize) -> Context {
    let aligned = rank.is_multiple_of(4) && features.is_multiple_of(8);
    Context { aligned: Some(aligned), ..Context::default() }
}

impl Op for LoraDown<'_> {
    fn kernel(&self) -> &'static Kernel {
        &DOWN
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.x, self.a, self.low]
    }
    fn context(&self) -> Context {
        Context { mask: Some(self.mask.is_some()), ..aligned(self.a.dim(0), self.a.dim(1)) }
    }
    fn params(&self) -> Vec<u8> {
        let (seed, threshold, keep) = Mask::params(self.mask);
        let (m, k, rank) = (self.x.dim(0) as u32, self.a.dim(1) as u32, self.a.dim(0) as u32);
        params(&DownParams { m, k, rank, seed, threshold, keep })
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        let ([m, k], [rank, _]) = (self.x.matrix(DOWN.name)?, self.a.matrix(DOWN.name)?);
        self.a.expect(DOWN.name, &[rank, k])?;
        self.low.expect(DOWN.name, &[m, rank])?;
        Mask::check(self.mask, DOWN.name)?;
        selection.body.tile.matrix(m, rank)
    }
    fn work(&self) -> Work {
        let (m, k, r) = (self.x.dim(0) as u64, self.a.dim(1) as u64, self.a.dim(0) as u64);
        Work { flops: 2 * m * k * r, bytes: 4 * (m * (k + r) + k * r) }
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [x, a, low] = host.all();
        let (k, rank) = (self.a.dim(1), self.a.dim(0));
        let x = Mask::on_host(self.mask, x.f32());
        let out = reference::Columns { stride: rank, first: 0 };
        reference::linear_fwd(&x, a.f32(), k, false, 1.0, out, low.f32_mut());
    }
}

/// `dlow = scale · dy·B`: the gradient of [`LoraDown`]'s output.
///
/// **Shapes** `dy (M, N)`, `b (N, R)`, `dlow (M, R)`. **Errors** [`Shape`](Error::Shape).
/// **Source** derivative of LoRA's branch by `x·Aᵀ`. **Twin** [`reference::linear_bwd`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct LoraUpBwd<'a> {
    pub dy: &'a Tensor,
    pub b: &'a Tensor,
    pub scale: f32,
    pub dlow: &'a Tensor,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct UpBwdParams {
    m: u32,
    n: u32,
    rank: u32,
    scale: f32,
}

impl Op for LoraUpBwd<'_> {
    fn kernel(&self) -> &'static Kernel {
        &UP_BWD
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.dy, self.b, self.dlow]
    }
    fn context(&self) -> Context {
        aligned(self.b.dim(1), self.b.dim(0))
    }
    fn params(&self) -> Vec<u8> {
        let (m, n, rank) = (self.dy.dim(0) as u32, self.b.dim(0) as u32, self.b.dim(1) as u32);
        params(&UpBwdParams { m, n, rank, scale: self.scale })
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        let ([m, n], [_, rank]) = (self.dy.matrix(UP_BWD.name)?, self.b.matrix(UP_BWD.name)?);
        self.b.expect(UP_BWD.name, &[n, rank])?;
        self.dlow.expect(UP_BWD.name, &[m, rank])?;
        selection.body.tile.matrix(m, rank)
    }
    fn work(&self) -> Work {
        let (m, n, r) = (self.dy.dim(0) as u64, self.b.dim(0) as u64, self.b.dim(1) as u64);
        Work { flops: 2 * m * n * r, bytes: 4 * (m * (n + r) + n * r) }
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [dy, b, dlow] = host.all();
        let from = reference::Columns { stride: self.b.dim(0), first: 0 };
        let rank = self.b.dim(1);
        reference::linear_bwd(dy.f32(), from, b.f32(), rank, false, self.scale, dlow.f32_mut());
    }
}

/// `dx += mask ⊙ dlow·A`: the gradient of [`LoraDown`] by its input.
///
/// **Shapes** `dlow (M, R)`, `a (R, K)`, `dx (M, K)`. **Errors** [`Shape`](Error::Shape),
/// [`Invalid`](Error::Invalid) unless dropout is in [0, 1). **Source** derivative of [`LoraDown`].
/// **Twin** [`reference::dropout_bwd`] of what [`reference::linear_bwd`] gives.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct LoraDownBwd<'a> {
    pub dlow: &'a Tensor,
    pub a: &'a Tensor,
    pub mask: Option<Mask>,
    pub dx: &'a Tensor,
}

impl Op for LoraDownBwd<'_> {
    fn kernel(&self) -> &'static Kernel {
        &DOWN_BWD
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.dlow, self.a, self.dx]
    }
    fn context(&self) -> Context {
        Context { mask: Some(self.mask.is_some()), ..aligned(self.a.dim(0), self.a.dim(1)) }
    }
    fn params(&self) -> Vec<u8> {
        let (seed, threshold, keep) = Mask::params(self.mask);
        let (m, k, rank) = (self.dlow.dim(0) as u32, self.a.dim(1) as u32, self.a.dim(0) as u32);
        params(&DownParams { m, k, rank, seed, threshold, keep })
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        let name = DOWN_BWD.name;
        let ([m, rank], [_, k]) = (self.dlow.matrix(name)?, self.a.matrix(name)?);
        self.a.expect(name, &[rank, k])?;
        self.dx.expect(name, &[m, k])?;
        Mask::check(self.mask, name)?;
        selection.body.tile.matrix(m, k)
    }
    fn work(&self) -> Work {
        let (m, k, r) = (self.dlow.dim(0) as u64, self.a.dim(1) as u64, self.a.dim(0) as u64);
        Work { flops: 2 * m * k * r, bytes: 4 * (m * (2 * k + r) + k * r) }
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [dlow, a, dx] = host.all();
        let from = reference::Columns { stride: self.a.dim(0), first: 0 };
        let mut low = vec![0.0; self.dx.len()];
        reference::linear_bwd(dlow.f32(), from, a.f32(), self.a.dim(1), false, 1.0, &mut low);
        match self.mask {
            None => reference::add(&low, dx.f32_mut()),
            Some(Mask { p, seed }) => reference::dropout_bwd(&low, seed, p, dx.f32_mut()),
        }
    }
}

/// Which part of its input [`Dropout`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// `x · mask / (1 − p)`: what dropout lets through.
    Kept,
    /// `x − x · mask / (1 − p)`: the difference that dropout makes.
    Rest,
}

/// `y = part(x)`, or `+=` with `accumulate`: dropout as an operation of its own, for DoRA, whose
/// frozen product sees the input behind the mask too. Its own derivative, with the gradient in the
/// place of `x`.
///
/// **Shapes** `x, y` alike. **Errors** [`Shape`](Error::Shape), [`Invalid`](Error::Invalid) unless
/// dropout is in [0, 1). **Source** Srivastava et al. 2014. **Twin** [`reference::dropout`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct Dropout<'a> {
    pub x: &'a Tensor,
    pub mask: Mask,
    pub part: Share,
    pub accumulate: bool,
    pub y: &'a Tensor,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct DropoutParams {
    n: u32,
    rest: u32,
    accumulate: u32,
    seed: u32,
    threshold: u32,
    keep: f32,
}

impl Op for Dropout<'_> {
    fn kernel(&self) -> &'static Kernel {
        &DROPOUT
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.x, self.y]
    }
    fn context(&self) -> Context {
        Context { mask: Some(true), ..Context::default() }
    }
    fn params(&self) -> Vec<u8> {
        let (seed, threshold, keep) = Mask::params(Some(self.mask));
        let (n, rest) = (self.y.len() as u32, (self.part == Share::Rest).into());
        let accumulate = self.accumulate.into();
        params(&DropoutParams { n, rest, accumulate, seed, threshold, keep })
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        self.y.expect(DROPOUT.name, self.x.dims())?;
        Mask::check(Some(self.mask), DROPOUT.name)?;
        elements(self.y.len().div_ceil(4))
    }
    fn work(&self) -> Work {
        Work {
            flops: self.y.len() as u64,
            bytes: (2 + u64::from(self.accumulate)) * self.y.bytes(),
        }
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [x, y] = host.all();
        let kept = Mask::on_host(Some(self.mask), x.f32());
        for ((y, &x), kept) in y.f32_mut().iter_mut().zip(x.f32()).zip(kept) {
            let part = if self.part == Share::Kept { kept } else { x - kept };
            *y = if self.accumulate { *y + part } else { part };
        }
    }
}

pub(super) const CASES: &[Case] = &[
    Case::new(&DOWN, [512, 16, 2048], &[[33, 24, 128], [33, 24, 127]], lora_down),
    Case::new(&DOWN_BWD, [512, 16, 2048], &[[33, 24, 128], [33, 24, 127]], lora_down_bwd),
    Case::new(&UP_BWD, [512, 16, 2048], &[[33, 24, 128], [33, 24, 127]], lora_up_bwd),
    Case::new(&DROPOUT, [512, 2048, 1], &[[7, 37, 1]], dropout),
];

fn lora_down(i: &Inputs, [m, r, k]: [usize; 3], each: Each) -> Result<()> {
    let (x, a) = (i.random("x", &[m, k])?, i.random("a", &[r, k])?);
    let low = i.zeros("low", &[m, r])?;
    for mask in [None, Some(Mask { p: 0.1, seed: 7 })] {
        each(&LoraDown { x: &x, a: &a, mask, low: &low })?;
    }
    Ok(())
}

fn lora_down_bwd(i: &Inputs, [m, r, k]: [usize; 3], each: Each) -> Result<()> {
    let (dlow, a) = (i.random("dlow", &[m, r])?, i.random("a", &[r, k])?);
    let dx = i.zeros("dx", &[m, k])?;
    for mask in [None, Some(Mask { p: 0.1, seed: 7 })] {
        each(&LoraDownBwd { dlow: &dlow, a: &a, mask, dx: &dx })?;
    }
    Ok(())
}

fn lora_up_bwd(i: &Inputs, [m, r, n]: [usize; 3], each: Each) -> Result<()> {
    let (dy, b) = (i.random("dy", &[m, n])?, i.random("b", &[n, r])?);
    each(&LoraUpBwd { dy: &dy, b: &b, scale: 1.0, dlow: &i.zeros("dlow", &[m, r])? })
}

fn dropout(i: &Inputs, [m, k, _]: [usize; 3], each: Each) -> Result<()> {
    let (x, y) = (i.random("x", &[m, k])?, i.zeros("y", &[m, k])?);
    for (part, accumulate) in [(Share::Kept, false), (Share::Rest, true)] {
        each(&Dropout { x: &x, mask: Mask { p: 0.1, seed: 7 }, part, accumulate, y: &y })?;
    }
    Ok(())
}
