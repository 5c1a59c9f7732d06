//! Embedding look-up.

use super::cases::{Case, Each, Inputs};
use super::{Dense, elements, params};
use crate::gpu::{Context, HostBuffers, Kernel, Op, Selection, Tensor, Work};
use crate::{Error, Result, reference};

static FWD: Kernel = kernel!(rows, "embed_fwd", [ids: Read, w: Read, y: Update]);

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    n: u32,
    d: u32,
    first_row: u32,
    rows: u32,
}

/// Embedding of one shard: `y[n] = w[ids[n] − first_row]` for `ids[n]` in
/// `[first_row, first_row + rows)`; other rows of `y` stay as they are, for the other shards'
/// calls.
///
/// **Shapes** `ids (N)` words, `w (rows, D)` as `dtype` packs it, `y (N, D)`.
/// **Errors** [`Shape`](Error::Shape) if they disagree. **Source** table look-up.
/// **Twin** [`reference::embed_fwd`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct EmbedFwd<'a> {
    pub ids: &'a Tensor,
    pub w: &'a Tensor,
    pub dtype: Dense,
    pub first_row: usize,
    pub rows: usize,
    pub d: usize,
    pub y: &'a Tensor,
}

impl Op for EmbedFwd<'_> {
    fn kernel(&self) -> &'static Kernel {
        &FWD
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.ids, self.w, self.y]
    }
    fn params(&self) -> Vec<u8> {
        let (n, d) = (self.ids.len() as u32, self.d as u32);
        params(&Params { n, d, first_row: self.first_row as u32, rows: self.rows as u32 })
    }
    fn context(&self) -> Context {
        Context { weight: Some(self.dtype.weight()), ..Context::default() }
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let n = self.ids.len();
        self.ids.expect(FWD.name, &[n])?;
        self.y.expect(FWD.name, &[n, self.d])?;
        let words = self.dtype.words(self.rows * self.d);
        if self.w.len() != words {
            return Err(Error::Shape {
                op: FWD.name.into(),
                tensor: self.w.name().into(),
                expected: format!("{words} words: {} × {} {:?}", self.rows, self.d, self.dtype),
                got: format!("{:?}", self.w.dims()),
            });
        }
        elements(n * self.d)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [ids, w, y] = host.all();
        let at = |i| self.dtype.at(w.u32(), i);
        reference::embed_fwd(ids.u32(), at, self.first_row, self.rows, self.d, y.f32_mut());
    }
    fn work(&self) -> Work {
        let read = (self.y.len() * self.dtype.bytes()) as u64;
        Work { flops: 0, bytes: self.ids.bytes() + read + self.y.bytes() }
    }
    fn bound(&self) -> f32 {
        1e-7
    }
}

pub(super) const CASES: &[Case] = &[Case::new(&FWD, [512, 8192, 2048], &[[7, 20, 100]], embed_fwd)];

fn embed_fwd(i: &Inputs, [m, n, k]: [usize; 3], each: Each) -> Result<()> {
    let (ids, y) = (i.indices("ids", m, n)?, i.zeros("y", &[m, k])?);
    let all = [Dense::F32, Dense::F16, Dense::BF16].into_iter().enumerate();
    for (storage, dtype) in all.filter(|(storage, _)| i.storages.contains(storage)) {
        let w = i.matrix(n, k, storage)?.w;
        each(&EmbedFwd { ids: &ids, w: &w, dtype, first_row: 0, rows: n, d: k, y: &y })?;
    }
    Ok(())
}
