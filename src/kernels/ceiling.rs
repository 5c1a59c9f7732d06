//! What an adapter can do at most: operations without a use but to be timed.

use super::cases::{Case, Each, Inputs};
use super::{Length, params};
use crate::gpu::{Context, HostBuffers, Kernel, Op, Selection, Tensor, Work, grid};
use crate::{Error, Result, reference};

static COPY: Kernel = kernel!(ceiling, "ceiling_copy", [x: Read, y: Write]);
static FMA: Kernel = kernel!(
    ceiling, "ceiling_fma", [x: Read, y: Write],
    baseline tile Each([1, 64]);
    "registers": on Software, tile Each([1, 12]);
    "f16": on Any, needs F16, tile Each([1, 64]);
);

/// `y = x`: as fast as this adapter reads and writes memory.
///
/// **Shapes** `x, y (n)` with `n` a multiple of 4. **Errors** [`Shape`](crate::Error::Shape),
/// [`Invalid`](Error::Invalid). **Source** STREAM (McCalpin 1995). **Twin**
/// [`reference::ceiling_copy`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct CeilingCopy<'a> {
    pub x: &'a Tensor,
    pub y: &'a Tensor,
}

impl Op for CeilingCopy<'_> {
    fn kernel(&self) -> &'static Kernel {
        &COPY
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.x, self.y]
    }
    fn params(&self) -> Vec<u8> {
        params(&Length::of(self.x))
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        self.y.expect(COPY.name, self.x.dims())?;
        grid(parts(self.x.len(), 4)?.div_ceil(64))
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [x, y] = host.all();
        reference::ceiling_copy(x.f32(), y.f32_mut());
    }
}

/// How many times `of` elements there are. **Errors** [`Error::Invalid`] with a rest.
fn parts(n: usize, of: usize) -> Result<usize> {
    match n.is_multiple_of(of) {
        true => Ok(n / of),
        false => Err(Error::invalid("x", format!("{n} elements are no multiple of {of}"))),
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct FmaParams {
    n: u32,
    turns: u32,
    a: f32,
    b: f32,
}

/// `y = f(f(… f(x)))` with `f(x) = x·a + b`, `turns` times: as fast as this adapter multiplies and
/// adds.
///
/// `half` computes with 16 bits where the adapter can. **Shapes** `x, y (n)` with `n` a multiple of
/// 192, `turns` of 8. **Errors** [`Shape`](crate::Error::Shape), [`Invalid`](Error::Invalid).
/// **Source** independent chains, as many as hide the latency of an operation. **Twin**
/// [`reference::ceiling_fma`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct CeilingFma<'a> {
    pub x: &'a Tensor,
    pub y: &'a Tensor,
    pub turns: u32,
    pub a: f32,
    pub b: f32,
    pub half: bool,
}

impl Op for CeilingFma<'_> {
    fn kernel(&self) -> &'static Kernel {
        &FMA
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.x, self.y]
    }
    fn context(&self) -> Context {
        Context { half: self.half, ..Context::default() }
    }
    fn params(&self) -> Vec<u8> {
        let (n, turns) = (self.x.len() as u32, self.turns);
        params(&FmaParams { n, turns, a: self.a, b: self.b })
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        self.y.expect(FMA.name, self.x.dims())?;
        parts(self.x.len(), 192)?;
        parts(self.turns as usize, 8)?;
        selection.body.tile.matrix(1, self.x.len())
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [x, y] = host.all();
        reference::ceiling_fma(x.f32(), self.turns, self.a, self.b, y.f32_mut());
    }
    fn work(&self) -> Work {
        let n = self.x.len() as u64;
        Work { flops: 2 * n * u64::from(self.turns), bytes: 8 * n }
    }
    fn bound(&self) -> f32 {
        // Two roundings a turn, each of at most 2⁻¹⁰ of the largest value; a turn shrinks earlier
        // ones by a.
        if self.half { 2.0 / 1024.0 / (1.0 - self.a.abs()) } else { 1e-5 }
    }
}

pub(super) const CASES: &[Case] = &[
    Case::new(&COPY, [4096, 4096, 1], &[[3, 100, 1]], ceiling_copy),
    Case::new(&FMA, [192, 1024, 2048], &[[192, 4, 24]], ceiling_fma),
];

fn ceiling_copy(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    each(&CeilingCopy { x: &i.random("x", &[m * n])?, y: &i.zeros("y", &[m * n])? })
}

/// K operations on each of M · N elements.
fn ceiling_fma(i: &Inputs, [m, n, k]: [usize; 3], each: Each) -> Result<()> {
    let (n, turns) = ((m * n).next_multiple_of(192), k.next_multiple_of(8) as u32);
    let (x, y) = (i.random("x", &[n])?, i.zeros("y", &[n])?);
    let op = CeilingFma { x: &x, y: &y, turns, a: 0.875, b: 0.25, half: false };
    i.both(&op, &CeilingFma { half: true, ..op }, each)
}
