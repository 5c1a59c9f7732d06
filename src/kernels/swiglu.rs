//! SwiGLU.

use super::cases::{Case, Each, Inputs};
use super::{Length, fours, params};
use crate::gpu::{Context, HostBuffers, Kernel, Op, Selection, Takes, Tensor, Work};
use crate::{Result, reference};

static FWD: Kernel = kernel!(
    mlp, "swiglu_fwd", [gate: Read, up: Read, y: Write],
    baseline tile Each([1, 1]);
    "vec4": on Software where |a| a.slow_loads, takes Takes::ALIGNED, images [gate, up], fours true, tile Each([1, 4]);
);
static BWD: Kernel = kernel!(
    mlp, "swiglu_bwd", [gate: Read, up: Read, dy: Read, dgate: Write, dup: Write],
    baseline tile Each([1, 1]);
    "vec4": on Software where |a| a.slow_loads, takes Takes::ALIGNED, images [gate, up, dy], fours true, tile Each([1, 4]);
);

/// SwiGLU forward: `y = silu(gate) · up`, `silu(g) = g / (1 + exp(−g))`.
///
/// **Shapes** all alike, `(N, F)`. **Errors** [`Shape`](crate::Error::Shape) if they are not.
/// **Source** Shazeer 2020 (arXiv:2002.05202), eq. 5, with β = 1. **Twin**
/// [`reference::swiglu_fwd`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct SwigluFwd<'a> {
    pub gate: &'a Tensor,
    pub up: &'a Tensor,
    pub y: &'a Tensor,
}

impl Op for SwigluFwd<'_> {
    fn kernel(&self) -> &'static Kernel {
        &FWD
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.gate, self.up, self.y]
    }
    fn params(&self) -> Vec<u8> {
        params(&Length::of(self.y))
    }
    fn context(&self) -> Context {
        fours(self.y.len())
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        self.up.expect(FWD.name, self.gate.dims())?;
        self.y.expect(FWD.name, self.gate.dims())?;
        selection.body.tile.matrix(1, self.y.len())
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [gate, up, y] = host.all();
        reference::swiglu_fwd(gate.f32(), up.f32(), y.f32_mut());
    }
    fn work(&self) -> Work {
        Work { flops: 5 * self.y.len() as u64, bytes: 3 * self.y.bytes() }
    }
}

/// SwiGLU backward: `dup = dy · g·s`, `dgate = dy · up · s · (1 + g·(1 − s))` with `g = gate`,
/// `s = 1 / (1 + exp(−g))`. Both are overwritten.
///
/// **Shapes** all alike, `(N, F)`. **Errors** [`Shape`](crate::Error::Shape) if they are not.
/// **Source** derivative of [`SwigluFwd`]. **Twin** [`reference::swiglu_bwd`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct SwigluBwd<'a> {
    pub gate: &'a Tensor,
    pub up: &'a Tensor,
    pub dy: &'a Tensor,
    pub dgate: &'a Tensor,
    pub dup: &'a Tensor,
}

impl Op for SwigluBwd<'_> {
    fn kernel(&self) -> &'static Kernel {
        &BWD
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.gate, self.up, self.dy, self.dgate, self.dup]
    }
    fn params(&self) -> Vec<u8> {
        params(&Length::of(self.gate))
    }
    fn context(&self) -> Context {
        fours(self.gate.len())
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        for tensor in [self.up, self.dy, self.dgate, self.dup] {
            tensor.expect(BWD.name, self.gate.dims())?;
        }
        selection.body.tile.matrix(1, self.gate.len())
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [gate, up, dy, dgate, dup] = host.all();
        let (dgate, dup) = (dgate.f32_mut(), dup.f32_mut());
        reference::swiglu_bwd(gate.f32(), up.f32(), dy.f32(), dgate, dup);
    }
    fn work(&self) -> Work {
        Work { flops: 11 * self.gate.len() as u64, bytes: 5 * self.gate.bytes() }
    }
}

pub(super) const CASES: &[Case] = &[
    Case::new(&FWD, [512, 8192, 1], &[[7, 100, 1], [7, 99, 1]], swiglu_fwd),
    Case::new(&BWD, [512, 8192, 1], &[[7, 100, 1], [7, 99, 1]], swiglu_bwd),
];

fn swiglu_fwd(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (gate, up) = (i.random("gate", &[m, n])?, i.random("up", &[m, n])?);
    each(&SwigluFwd { gate: &gate, up: &up, y: &i.zeros("y", &[m, n])? })
}

fn swiglu_bwd(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (gate, up) = (i.random("gate", &[m, n])?, i.random("up", &[m, n])?);
    let (dgate, dup) = (i.zeros("dgate", &[m, n])?, i.zeros("dup", &[m, n])?);
    let dy = i.random("dy", &[m, n])?;
    each(&SwigluBwd { gate: &gate, up: &up, dy: &dy, dgate: &dgate, dup: &dup })
}
