//! Activations at 16 bits, for as long as nothing reads them.

use super::cases::{Case, Each, Inputs};
use super::{Length, elements, params};
use crate::gpu::{HostBuffers, Kernel, Op, Selection, Tensor, Work};
use crate::{Result, reference};

static PACK: Kernel = kernel!(rows, "pack_f16", [x: Read, y: Write, counts: Update]);
static UNPACK: Kernel = kernel!(rows, "unpack_f16", [x: Read, y: Write]);

/// Two floats a word: `y[i] = (f16(x[2i]), f16(x[2i + 1]))`, the first in the low half, nearest to
/// even; what f16 cannot hold becomes ± 65504, and adds one to `counts[slot]`.
///
/// **Shapes** `x` of n floats, `y (⌈n/2⌉)` words, `counts (8)` words. **Errors**
/// [`Shape`](crate::Error::Shape). **Source** 16-bit storage, Micikevicius et al. 2018
/// (arXiv:1710.03740). **Twin** [`reference::pack_f16`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct PackF16<'a> {
    pub x: &'a Tensor,
    pub y: &'a Tensor,
    pub counts: &'a Tensor,
    pub slot: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct PackParams {
    n: u32,
    slot: u32,
}

impl Op for PackF16<'_> {
    fn kernel(&self) -> &'static Kernel {
        &PACK
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.x, self.y, self.counts]
    }
    fn params(&self) -> Vec<u8> {
        params(&PackParams { n: self.x.len() as u32, slot: self.slot as u32 })
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let words = self.x.len().div_ceil(2);
        self.y.expect(PACK.name, &[words])?;
        self.counts.expect(PACK.name, &[8])?;
        elements(words)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [x, y, counts] = host.all();
        counts.u32_mut()[self.slot] += reference::pack_f16(x.f32(), y.u32_mut());
    }
    fn work(&self) -> Work {
        Work { flops: 0, bytes: self.x.bytes() + self.y.bytes() }
    }
    /// Drivers may round either way.
    fn bound(&self) -> f32 {
        1e-3
    }
}

/// The way back: `y[2i], y[2i + 1]` from the halves of `x[i]`.
///
/// **Shapes** `x (⌈n/2⌉)` words, `y` of n floats. **Errors** [`Shape`](crate::Error::Shape).
/// **Source** as [`PackF16`]. **Twin** [`reference::unpack_f16`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct UnpackF16<'a> {
    pub x: &'a Tensor,
    pub y: &'a Tensor,
}

impl Op for UnpackF16<'_> {
    fn kernel(&self) -> &'static Kernel {
        &UNPACK
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.x, self.y]
    }
    fn params(&self) -> Vec<u8> {
        params(&Length::of(self.y))
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let words = self.y.len().div_ceil(2);
        self.x.expect(UNPACK.name, &[words])?;
        elements(words)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [x, y] = host.all();
        reference::unpack_f16(x.u32(), y.f32_mut());
    }
    fn work(&self) -> Work {
        Work { flops: 0, bytes: self.x.bytes() + self.y.bytes() }
    }
    fn bound(&self) -> f32 {
        0.0
    }
}

pub(super) const CASES: &[Case] = &[
    Case::new(&PACK, [512, 2048, 1], &[[7, 101, 1]], pack_f16),
    Case::new(&UNPACK, [512, 2048, 1], &[[7, 101, 1]], unpack_f16),
];

fn pack_f16(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (x, y) = (i.random("x", &[m, n])?, i.pairs("y", m * n)?);
    each(&PackF16 { x: &x, y: &y, counts: &i.words("counts", &[0; 8])?, slot: 3 })
}

fn unpack_f16(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (x, y) = (i.pairs("x", m * n)?, i.zeros("y", &[m, n])?);
    each(&UnpackF16 { x: &x, y: &y })
}
