//! Rotary position embedding.

use super::{elements, params};
use crate::gpu::{HostBuffers, Kernel, Op, Selection, Tensor, Work};
use crate::{Error, Result, reference};

pub(super) static ROPE: Kernel =
    kernel!("rope", [x: Update, cos: Read, sin: Read, positions: Read]);

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    n: u32,
    heads: u32,
    half: u32,
    positions: u32,
    sign: f32,
}

/// Rotary position embedding, in place: for each head and `j < E/2`, with `a = x[j]`,
/// `b = x[j + E/2]`: `x[j] = a·cos − b·sin`, `x[j + E/2] = b·cos + a·sin`. `inverse` negates the
/// sine: that undoes the rotation, and is the backward pass when `x` holds a gradient.
///
/// **Shapes** `x (N, H·E)`, `cos, sin (P, E/2)`, `positions (N)` words below `P` (larger ones count as
/// `P − 1`). **Errors** [`Shape`](Error::Shape) if they disagree.
/// **Source** Su et al. 2021 (arXiv:2104.09864), eq. 34, in the half-split layout of Hugging Face.
/// **Twin** [`reference::rope`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct Rope<'a> {
    pub x: &'a Tensor,
    pub cos: &'a Tensor,
    pub sin: &'a Tensor,
    pub positions: &'a Tensor,
    pub heads: usize,
    pub inverse: bool,
}

impl Op for Rope<'_> {
    fn kernel(&self) -> &'static Kernel {
        &ROPE
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.x, self.cos, self.sin, self.positions]
    }
    fn params(&self) -> Vec<u8> {
        params(&Params {
            n: self.x.dim(0) as u32,
            heads: self.heads as u32,
            half: self.cos.dim(1) as u32,
            positions: self.cos.dim(0) as u32,
            sign: if self.inverse { -1.0 } else { 1.0 },
        })
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let [count, half] = self.cos.matrix(ROPE.name)?;
        if count == 0 {
            return Err(Error::invalid(ROPE.name, "the table of cosines has no rows"));
        }
        self.sin.expect(ROPE.name, &[count, half])?;
        let n = self.positions.len();
        self.positions.expect(ROPE.name, &[n])?;
        self.x.expect(ROPE.name, &[n, self.heads * half * 2])?;
        elements(self.x.len() / 2)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [x, cos, sin, positions] = host.all();
        let (cos, sin, positions) = (cos.f32(), sin.f32(), positions.u32());
        reference::rope(x.f32_mut(), cos, sin, positions, self.heads, self.inverse);
    }
    fn work(&self) -> Work {
        Work { flops: 3 * self.x.len() as u64, bytes: 2 * self.x.bytes() + self.positions.bytes() }
    }
}
