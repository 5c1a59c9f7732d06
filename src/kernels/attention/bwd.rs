//! Attention of whole sequences, backward: what rows share, then queries, then keys and values.

use super::{
    AttentionShape, COLUMNS, IN_REGISTERS, TILE, TILE_COLUMNS, check, context_of, params_of,
    row_tiles, skew_of, work_of,
};
use crate::gpu::{Context, HostBuffers, Kernel, Op, Selection, Takes, Tensor, Work, grid};
use crate::kernels::fours;
use crate::{Result, reference};

pub(super) static DELTA: Kernel = kernel!(
    attention, "attention_delta", [y: Read, dy: Read, delta: Write],
    baseline tile Each([1, 1]);
    "vec4": on Software where |a| a.slow_loads, takes Takes::ALIGNED, images [y, dy], fours true, tile Each([1, 1]);
);
pub(super) static BWD_DQ: Kernel = kernel!(
    attention, "attention_bwd_dq",
    [q: Read, k: Read, v: Read, dy: Read, lse: Read, delta: Read, dq: Write],
    baseline tile Each([1, COLUMNS]);
    "workgroup": on Gpu, tile Group([TILE, TILE_COLUMNS]);
    "subgroup8": on Software, needs Subgroups(8, 8), takes IN_REGISTERS, images [q, k, v, dy], tile Elements(1024, 8);
);
pub(super) static BWD_DKV: Kernel = kernel!(
    attention, "attention_bwd_dkv",
    [q: Read, k: Read, v: Read, dy: Read, lse: Read, delta: Read, dk: Write, dv: Write],
    baseline tile Each([1, COLUMNS]);
    "workgroup": on Gpu, tile Group([TILE, TILE_COLUMNS]);
    "subgroup8": on Software, needs Subgroups(8, 8), takes IN_REGISTERS, images [q, k, v, dy], tile Elements(512, 8);
);

/// Invocations of a workgroup of `attention_delta`.
const LANES: usize = 64;

/// Attention backward, first step: `delta = Σₑ y·dy`, the part of every score's gradient that its
/// row shares.
///
/// **Shapes** `y, dy (B·T, H·E)`, `delta (B·T, H)`. **Errors** [`Shape`](crate::Error::Shape).
/// **Source** Dao 2023 (arXiv:2307.08691), alg. 2, line 4. **Twin** [`reference::attention_delta`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct AttentionDelta<'a> {
    pub y: &'a Tensor,
    pub dy: &'a Tensor,
    pub delta: &'a Tensor,
    pub shape: AttentionShape,
}

impl Op for AttentionDelta<'_> {
    fn kernel(&self) -> &'static Kernel {
        &DELTA
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.y, self.dy, self.delta]
    }
    fn params(&self) -> Vec<u8> {
        params_of(&self.shape)
    }
    fn context(&self) -> Context {
        fours(self.shape.head_dim)
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let s = &self.shape;
        check(DELTA.name, s, &[self.y, self.dy], &[], &[self.delta])?;
        grid((s.batch * s.queries * s.heads).div_ceil(LANES))
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [y, dy, delta] = host.all();
        reference::attention_delta(y.f32(), dy.f32(), self.shape, delta.f32_mut());
    }
    fn work(&self) -> Work {
        let bytes = self.tensors().iter().map(|t| t.bytes()).sum();
        Work { flops: 2 * self.y.len() as u64, bytes }
    }
}

/// Attention backward to the queries: `dq = Σₛ ds·k/√E` with `p = exp(q·k/√E − lse)`,
/// `ds = p·(dy·v − delta)`.
///
/// **Shapes** as in [`AttentionFwd`](super::AttentionFwd) and [`AttentionDelta`], `dq (B·T, H·E)`.
/// **Errors** [`Shape`](crate::Error::Shape), [`Invalid`](crate::Error::Invalid).
/// **Source** Dao 2023 (arXiv:2307.08691), alg. 2. **Twin** [`reference::attention_bwd_dq`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct AttentionBwdDq<'a> {
    pub q: &'a Tensor,
    pub k: &'a Tensor,
    pub v: &'a Tensor,
    pub dy: &'a Tensor,
    pub lse: &'a Tensor,
    pub delta: &'a Tensor,
    pub dq: &'a Tensor,
    pub shape: AttentionShape,
}

impl Op for AttentionBwdDq<'_> {
    fn kernel(&self) -> &'static Kernel {
        &BWD_DQ
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.q, self.k, self.v, self.dy, self.lse, self.delta, self.dq]
    }
    fn params(&self) -> Vec<u8> {
        params_of(&self.shape)
    }
    fn context(&self) -> Context {
        context_of(self.shape.head_dim)
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        let (s, queries) = (&self.shape, [self.q, self.dy, self.dq]);
        check(BWD_DQ.name, s, &queries, &[self.k, self.v], &[self.lse, self.delta])?;
        selection.body.tile.flat(s.head_dim, |rows| row_tiles(s, rows))
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [q, k, v, dy, lse, delta, dq] = host.all();
        let inputs = [q, k, v, dy, lse, delta].map(|h| h.f32());
        reference::attention_bwd_dq(inputs, self.shape, dq.f32_mut());
    }
    fn work(&self) -> Work {
        work_of(&self.shape, 3, [3, 2])
    }
    fn skew(&self) -> u64 {
        skew_of(&self.shape)
    }
}

/// Attention backward to keys and values: `dk = Σ ds·q/√E`, `dv = Σ p·dy` over the queries that
/// attend a key, in all heads of its group; `p` and `ds` as in [`AttentionBwdDq`].
///
/// **Shapes** as in [`AttentionFwd`](super::AttentionFwd) and [`AttentionDelta`],
/// `dk, dv (B·S, G·E)`. **Errors** [`Shape`](crate::Error::Shape),
/// [`Invalid`](crate::Error::Invalid). **Source** Dao 2023 (arXiv:2307.08691), alg. 2. **Twin**
/// [`reference::attention_bwd_dkv`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct AttentionBwdDkv<'a> {
    pub q: &'a Tensor,
    pub k: &'a Tensor,
    pub v: &'a Tensor,
    pub dy: &'a Tensor,
    pub lse: &'a Tensor,
    pub delta: &'a Tensor,
    pub dk: &'a Tensor,
    pub dv: &'a Tensor,
    pub shape: AttentionShape,
}

impl Op for AttentionBwdDkv<'_> {
    fn kernel(&self) -> &'static Kernel {
        &BWD_DKV
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.q, self.k, self.v, self.dy, self.lse, self.delta, self.dk, self.dv]
    }
    fn params(&self) -> Vec<u8> {
        params_of(&self.shape)
    }
    fn context(&self) -> Context {
        context_of(self.shape.head_dim)
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        let (s, keys) = (&self.shape, [self.k, self.v, self.dk, self.dv]);
        check(BWD_DKV.name, s, &[self.q, self.dy], &keys, &[self.lse, self.delta])?;
        let blocks = s.batch * s.kv_heads;
        selection.body.tile.flat(s.head_dim, |keys| blocks * s.keys.div_ceil(keys))
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [q, k, v, dy, lse, delta, dk, dv] = host.all();
        let inputs = [q, k, v, dy, lse, delta].map(|h| h.f32());
        reference::attention_bwd_dkv(inputs, self.shape, dk.f32_mut(), dv.f32_mut());
    }
    fn work(&self) -> Work {
        work_of(&self.shape, 4, [2, 4])
    }
    fn skew(&self) -> u64 {
        skew_of(&self.shape)
    }
}
