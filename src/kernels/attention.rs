//! Causal grouped-query attention without the matrix of scores.

use super::params;
use crate::gpu::{HostBuffers, Kernel, Op, Selection, Tensor, Work, grid};
pub use crate::reference::AttentionShape;
use crate::{Error, Result, reference};

/// Heads that bodies for subgroups of 8 take.
pub(super) const LANES8_HEADS: [&str; 3] = ["head_32", "head_64", "head_128"];

pub(super) static FWD: Kernel = kernel!(
    attention, "attention_fwd", [q: Read, k: Read, v: Read, y: Write, lse: Write],
    baseline tile Each([1, COLUMNS]);
    "workgroup": on Gpu, tile Group([TILE, TILE_COLUMNS]);
    "subgroup8": on Software, needs Subgroups(8, 8), takes LANES8_HEADS, images [q, k, v], tile Elements(1024, 8);
);
pub(super) static DELTA: Kernel =
    kernel!(attention, "attention_delta", [y: Read, dy: Read, delta: Write]);
pub(super) static BWD_DQ: Kernel = kernel!(
    attention, "attention_bwd_dq",
    [q: Read, k: Read, v: Read, dy: Read, lse: Read, delta: Read, dq: Write],
    baseline tile Each([1, COLUMNS]);
    "workgroup": on Gpu, tile Group([TILE, TILE_COLUMNS]);
    "subgroup8": on Software, needs Subgroups(8, 8), takes LANES8_HEADS, images [q, k, v, dy], tile Elements(1024, 8);
);
pub(super) static BWD_DKV: Kernel = kernel!(
    attention, "attention_bwd_dkv",
    [q: Read, k: Read, v: Read, dy: Read, lse: Read, delta: Read, dk: Write, dv: Write],
    baseline tile Each([1, COLUMNS]);
    "workgroup": on Gpu, tile Group([TILE, TILE_COLUMNS]);
    "subgroup8": on Software, needs Subgroups(8, 8), takes LANES8_HEADS, images [q, k, v, dy], tile Elements(512, 8);
);

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    batch: u32,
    queries: u32,
    keys: u32,
    start: u32,
    heads: u32,
    kv_heads: u32,
    e: u32,
    scale: f32,
    first: u32,
}

/// Invocations of a workgroup in the baseline bodies.
const LANES: usize = 64;
/// Columns of a head that one invocation or workgroup of a baseline body accumulates.
pub(super) const COLUMNS: usize = 32;
/// Rows, and keys at a time, of a workgroup in a `workgroup` body.
const TILE: usize = 32;
/// Columns of a head that a workgroup of a `workgroup` body accumulates.
const TILE_COLUMNS: usize = 64;

fn params_of(shape: &AttentionShape) -> Vec<u8> {
    params(&Params {
        batch: shape.batch as u32,
        queries: shape.queries as u32,
        keys: shape.keys as u32,
        start: shape.start as u32,
        heads: shape.heads as u32,
        kv_heads: shape.kv_heads as u32,
        e: shape.head_dim as u32,
        scale: 1.0 / (shape.head_dim as f32).sqrt(),
        first: shape.first as u32,
    })
}

pub(super) fn roles_of(shape: &AttentionShape) -> Vec<(&'static str, &'static str)> {
    vec![head_role(shape.head_dim)]
}

/// The number of columns as a constant, for the bodies that keep a head in registers.
pub(super) fn head_role(head_dim: usize) -> (&'static str, &'static str) {
    let module = match head_dim {
        32 => "head_32",
        64 => "head_64",
        128 => "head_128",
        _ => "head_any",
    };
    ("head", module)
}

/// Checks the shape itself, then the tensors that are stored per query, per key, and per query and
/// head; they may have further rows.
pub(super) fn check(
    op: &str,
    shape: &AttentionShape,
    queries: &[&Tensor],
    keys: &[&Tensor],
    stats: &[&Tensor],
) -> Result<()> {
    let AttentionShape { batch, queries: t, keys: s, start, heads, kv_heads, head_dim, first } =
        *shape;
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        return Err(Error::invalid(op, format!("{heads} heads over {kv_heads} kv heads")));
    }
    if !(1..=256).contains(&head_dim) {
        return Err(Error::invalid(op, format!("head dim {head_dim} is not within 1 to 256")));
    }
    if start + t > s {
        return Err(Error::invalid(op, format!("query {} of {s} keys", start + t)));
    }
    let expect = |tensors: &[&Tensor], dims: [usize; 2]| {
        tensors.iter().try_for_each(|tensor| {
            let rows = tensor.dim(0).max(first + dims[0]);
            tensor.expect(op, &[rows, dims[1]])
        })
    };
    expect(queries, [batch * t, heads * head_dim])?;
    expect(keys, [batch * s, kv_heads * head_dim])?;
    expect(stats, [batch * t, heads])
}

/// Workgroups over rows, a row being a pair of a query and one of the heads that share its keys.
pub(super) fn row_tiles(shape: &AttentionShape, rows: usize) -> usize {
    let pairs = shape.queries * (shape.heads / shape.kv_heads);
    shape.batch * shape.kv_heads * pairs.div_ceil(rows)
}

/// `products` multiply-adds per column of each pair of a query and a key that it attends, on so
/// many matrices of a row per query, and per key.
pub(super) fn work_of(shape: &AttentionShape, products: usize, matrices: [usize; 2]) -> Work {
    let AttentionShape { batch, queries: t, start, heads, kv_heads, head_dim, .. } = *shape;
    let pairs = batch * heads * (t * start + t * (t + 1) / 2);
    let widths = matrices[0] * t * heads + matrices[1] * (start + t) * kv_heads;
    Work {
        flops: 2 * (products * pairs * head_dim) as u64,
        bytes: 4 * (batch * widths * head_dim) as u64,
    }
}

/// The last query attends all keys and the first key is attended by all queries: up to twice the
/// average.
fn skew_of(shape: &AttentionShape) -> u64 {
    if shape.queries == 1 { 1 } else { 2 }
}

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
    fn roles(&self) -> Vec<(&'static str, &'static str)> {
        roles_of(&self.shape)
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
/// **Shapes** as in [`AttentionFwd`] and [`AttentionDelta`], `dq (B·T, H·E)`.
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
    fn roles(&self) -> Vec<(&'static str, &'static str)> {
        roles_of(&self.shape)
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
/// **Shapes** as in [`AttentionFwd`] and [`AttentionDelta`], `dk, dv (B·S, G·E)`.
/// **Errors** [`Shape`](crate::Error::Shape), [`Invalid`](crate::Error::Invalid).
/// **Source** Dao 2023 (arXiv:2307.08691), alg. 2. **Twin** [`reference::attention_bwd_dkv`].
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
    fn roles(&self) -> Vec<(&'static str, &'static str)> {
        roles_of(&self.shape)
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
