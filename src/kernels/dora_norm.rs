//! DoRA's row norms.

use super::cases::{Case, Each, Inputs};
use super::params;
use super::weight::Matrix;
use crate::Result;
use crate::gpu::{Context, HostBuffers, Kernel, Op, Selection, Tensor, Work, grid};
use crate::reference;

static DORA_NORM: Kernel = kernel!(
    lora, "dora_norm",
    [w: Read, scales: Read, nested: Read, table: Table, a: Read, b: Read, norm: Update]
);

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    n: u32,
    k: u32,
    r: u32,
    first: u32,
    scale: f32,
    offset: f32,
}

/// Row norms of an adapted weight:
/// `norm[first + n] = ‖w[n, :] + scale · Σ_r b[first + n, r] · a[r, :]‖₂`.
///
/// **Shapes** `w (N, K)` a shard of rows, `a (R, K)`, `b (out, R)`, `norm (out)`.
/// **Errors** [`Shape`](crate::Error::Shape). **Source** Liu et al. 2024 (arXiv:2402.09353), eq. 5.
/// **Twin** [`reference::dora_norm`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct DoraNorm<'a> {
    pub w: &'a Matrix,
    pub first: usize,
    pub a: &'a Tensor,
    pub b: &'a Tensor,
    pub scale: f32,
    pub norm: &'a Tensor,
}

impl Op for DoraNorm<'_> {
    fn kernel(&self) -> &'static Kernel {
        &DORA_NORM
    }
    fn tensors(&self) -> Vec<&Tensor> {
        let w = self.w;
        vec![&w.w, &w.scales, &w.nested, &w.table, self.a, self.b, self.norm]
    }
    fn context(&self) -> Context {
        Context { weight: Some(self.w.storage.weight()), ..Context::default() }
    }
    fn params(&self) -> Vec<u8> {
        params(&Params {
            n: self.w.rows as u32,
            k: self.w.cols as u32,
            r: self.a.dim(0) as u32,
            first: self.first as u32,
            scale: self.scale,
            offset: self.w.offset(),
        })
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let [r, _] = self.a.matrix(DORA_NORM.name)?;
        let [out, _] = self.b.matrix(DORA_NORM.name)?;
        self.a.expect(DORA_NORM.name, &[r, self.w.cols])?;
        self.b.expect(DORA_NORM.name, &[out.max(self.first + self.w.rows), r])?;
        self.norm.expect(DORA_NORM.name, &[out])?;
        grid(self.w.rows)
    }
    fn work(&self) -> Work {
        let per_weight = 2 * self.a.dim(0) as u64 + 4;
        let flops = per_weight * (self.w.rows * self.w.cols) as u64;
        Work { flops, bytes: self.w.bytes() + self.a.bytes() + self.b.bytes() }
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [w, scales, nested, table, a, b, norm] = host.all();
        let w = self.w.values(w, scales, nested, table);
        let rank = self.a.dim(0);
        let b = &b.f32()[self.first * rank..];
        let norm = &mut norm.f32_mut()[self.first..][..self.w.rows];
        reference::dora_norm(&w, a.f32(), b, rank, self.scale, norm);
    }
}

pub(super) const CASES: &[Case] =
    &[Case::new(&DORA_NORM, [16, 2048, 2048], &[[4, 72, 128], [4, 72, 120]], dora_norm)];

fn dora_norm(i: &Inputs, [r, n, k]: [usize; 3], each: Each) -> Result<()> {
    let (a, b) = (i.random("a", &[r, k])?, i.random("b", &[n, r])?);
    let norm = i.zeros("norm", &[n])?;
    for &storage in i.storages {
        let w = i.matrix(n, k, storage)?;
        each(&DoraNorm { w: &w, first: 0, a: &a, b: &b, scale: 0.5, norm: &norm })?;
    }
    Ok(())
}
