//! A token's attention to a cache.

use super::{AttentionShape, COLUMNS, IN_REGISTERS, check, context_of, row_tiles, work_of};
use crate::gpu::{Context, HostBuffers, Kernel, Op, Selection, Tensor, Work};
use crate::kernels::params;
use crate::kernels::rope::check_qkv;
use crate::{Error, Result, reference};

pub(super) static DECODE: Kernel = kernel!(
    attention, "attention_decode",
    [qkv: Read, cos: Read, sin: Read, positions: Read, keys: Update, values: Update, y: Write],
    baseline tile Group([1, COLUMNS]);
    "subgroup8": on Software, needs Subgroups(8, 8), takes IN_REGISTERS, tile Rows(8);
);

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    batch: u32,
    keys: u32,
    start: u32,
    heads: u32,
    kv_heads: u32,
    e: u32,
    positions: u32,
    k: u32,
    v: u32,
    scale: f32,
}

/// What generation does between its products, for one token a sequence:
/// [`RopeAppend`](crate::kernels::RopeAppend), then [`AttentionFwd`](super::AttentionFwd) over the
/// cache, without `lse`; `q` itself stays as it is.
///
/// **Shapes** `q (B, H·E)` at the beginning of `qkv`, `k, v (B, G·E)` in it from words `k` and `v`
/// on, multiples of four; `keys, values (B·S, G·E)`, `y (B, H·E)`; tables and positions as in
/// [`Rope`](crate::kernels::Rope); `shape` with one query, and the length of the cache before it in
/// `start`. **Errors** [`Shape`](Error::Shape), [`Invalid`](Error::Invalid). **Source** Dao et al.
/// 2023, Flash-Decoding. **Twin** theirs, one after the other.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct AttentionDecode<'a> {
    pub qkv: &'a Tensor,
    pub k: usize,
    pub v: usize,
    pub cos: &'a Tensor,
    pub sin: &'a Tensor,
    pub positions: &'a Tensor,
    pub keys: &'a Tensor,
    pub values: &'a Tensor,
    pub y: &'a Tensor,
    pub shape: AttentionShape,
}

impl Op for AttentionDecode<'_> {
    fn kernel(&self) -> &'static Kernel {
        &DECODE
    }
    fn tensors(&self) -> Vec<&Tensor> {
        let (tables, cache) = ([self.cos, self.sin, self.positions], [self.keys, self.values]);
        [[self.qkv].as_slice(), &tables, &cache, &[self.y]].concat()
    }
    fn params(&self) -> Vec<u8> {
        let shape = self.shape;
        params(&Params {
            batch: shape.batch as u32,
            keys: shape.keys as u32,
            start: shape.start as u32,
            heads: shape.heads as u32,
            kv_heads: shape.kv_heads as u32,
            e: shape.head_dim as u32,
            positions: self.cos.dim(0) as u32,
            k: self.k as u32,
            v: self.v as u32,
            scale: 1.0 / (shape.head_dim as f32).sqrt(),
        })
    }
    fn context(&self) -> Context {
        context_of(self.shape.head_dim)
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        let (name, s) = (DECODE.name, &self.shape);
        check(name, s, &[self.y], &[self.keys, self.values], &[])?;
        let [count, half] = self.cos.matrix(name)?;
        self.sin.expect(name, &[count, half])?;
        self.positions.expect(name, &[s.batch])?;
        if count == 0 || s.queries != 1 || s.first != 0 || s.head_dim != 2 * half {
            let why = format!("{count} rows of {half} cosines for {s:?}");
            return Err(Error::invalid(name, why));
        }
        let places = [self.k, self.v];
        check_qkv(name, s, self.qkv, places)?;
        if places.iter().any(|at| !at.is_multiple_of(4)) {
            let why = format!("k and v begin at words {places:?}, which are no multiples of four");
            return Err(Error::invalid(name, why));
        }
        selection.body.tile.flat(s.head_dim, |rows| row_tiles(s, rows))
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [qkv, cos, sin, positions, keys, values, y] = host.all();
        let (s, cos, sin, positions) = (self.shape, cos.f32(), sin.f32(), positions.u32());
        let width = s.kv_heads * s.head_dim;
        let mut q = qkv.f32()[..s.batch * s.heads * s.head_dim].to_vec();
        let mut k = qkv.f32()[self.k..][..s.batch * width].to_vec();
        let v = &qkv.f32()[self.v..][..s.batch * width];
        reference::rope(&mut q, cos, sin, positions, s.heads, false);
        reference::rope(&mut k, cos, sin, positions, s.kv_heads, false);
        reference::copy_rows(&k, width, 1, s.keys, s.start, keys.f32_mut());
        reference::copy_rows(v, width, 1, s.keys, s.start, values.f32_mut());
        reference::attention_fwd([&q, keys.f32(), values.f32()], s, y.f32_mut(), None);
    }
    fn work(&self) -> Work {
        let s = &self.shape;
        let Work { flops, bytes } = work_of(s, 2, [2, 2]);
        let elements = (s.batch * (s.heads + s.kv_heads) * s.head_dim) as u64;
        Work { flops: flops + 3 * elements, bytes: bytes + 8 * elements }
    }
}
