//! Attention of whole sequences, forward.

use super::{
    AttentionShape, COLUMNS, IN_REGISTERS, TILE, TILE_COLUMNS, check, context_of, params_of,
    row_tiles, skew_of, work_of,
};
use crate::gpu::{Context, HostBuffers, Kernel, Op, Selection, Tensor, Work};
use crate::{Result, reference};

pub(super) static FWD: Kernel = kernel!(
    attention, "attention_fwd", [q: Read, k: Read, v: Read, y: Write, lse: Write],
    baseline tile Each([1, COLUMNS]);
    "workgroup": on Gpu, tile Group([TILE, TILE_COLUMNS]);
    "subgroup8": on Software, needs Subgroups(8, 8), takes IN_REGISTERS, images [q, k, v], tile Elements(1024, 8);
);

/// Attention forward: `y = softmax(q·kᵀ/√E)·v` over the keys `0..=start + t`,
/// `lse = ln Σ exp(q·kᵀ/√E)`.
///
/// **Shapes** `q, y (B·T, H·E)`, `k, v (B·S, G·E)`, `lse (B·T, H)`; `E` from 1 to 256,
/// `start + T ≤ S`. With `first`, `q, y, lse` have `first` rows more in front, and `k, v` too:
/// sequences that lie end to end. **Errors** [`Shape`](crate::Error::Shape),
/// [`Invalid`](crate::Error::Invalid). **Source** Dao 2023 (arXiv:2307.08691), alg. 1; Ainslie et
/// al. 2023 (arXiv:2305.13245). **Twin** [`reference::attention_fwd`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct AttentionFwd<'a> {
    pub q: &'a Tensor,
    pub k: &'a Tensor,
    pub v: &'a Tensor,
    pub y: &'a Tensor,
    pub lse: &'a Tensor,
    pub shape: AttentionShape,
}

impl Op for AttentionFwd<'_> {
    fn kernel(&self) -> &'static Kernel {
        &FWD
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.q, self.k, self.v, self.y, self.lse]
    }
    fn params(&self) -> Vec<u8> {
        params_of(&self.shape)
    }
    fn context(&self) -> Context {
        context_of(self.shape.head_dim)
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        let s = &self.shape;
        check(FWD.name, s, &[self.q, self.y], &[self.k, self.v], &[self.lse])?;
        selection.body.tile.flat(s.head_dim, |rows| row_tiles(s, rows))
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [q, k, v, y, lse] = host.all();
        let inputs = [q.f32(), k.f32(), v.f32()];
        reference::attention_fwd(inputs, self.shape, y.f32_mut(), Some(lse.f32_mut()));
    }
    fn work(&self) -> Work {
        work_of(&self.shape, 2, [2, 2])
    }
    fn skew(&self) -> u64 {
        skew_of(&self.shape)
    }
}
