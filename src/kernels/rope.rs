//! Rotary position embedding.

use super::cases::{Case, Each, Inputs};
use super::{AttentionShape, elements, fours, params};
use crate::gpu::{Context, HostBuffers, Kernel, Op, Selection, Takes, Tensor, Work};
use crate::{Error, Result, reference};

static ROPE: Kernel = kernel!(
    rope, "rope", [x: Update, cos: Read, sin: Read, positions: Read],
    baseline tile Each([1, 1]);
    "vec4": on Software where |a| a.slow_loads, takes Takes::ALIGNED, images [x], fours true, tile Each([1, 4]);
);
static ROPE_APPEND: Kernel = kernel!(
    rope, "rope_append",
    [qkv: Update, cos: Read, sin: Read, positions: Read, keys: Update, values: Update],
);

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
/// **Shapes** `x (N, H·E)`, `cos, sin (P, E/2)`, `positions (N)` words below `P` (larger ones count
/// as `P − 1`). **Errors** [`Shape`](Error::Shape) if they disagree. **Source** Su et al. 2021
/// (arXiv:2104.09864), eq. 34, in the half-split layout of Hugging Face. **Twin**
/// [`reference::rope`].
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
    fn context(&self) -> Context {
        fours(self.cos.dim(1))
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        let [count, half] = self.cos.matrix(ROPE.name)?;
        if count == 0 {
            return Err(Error::invalid(ROPE.name, "the table of cosines has no rows"));
        }
        self.sin.expect(ROPE.name, &[count, half])?;
        let n = self.positions.len();
        self.positions.expect(ROPE.name, &[n])?;
        self.x.expect(ROPE.name, &[n, self.heads * half * 2])?;
        selection.body.tile.matrix(1, n * half)
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

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct AppendParams {
    n: u32,
    heads: u32,
    kv_heads: u32,
    half: u32,
    positions: u32,
    queries: u32,
    capacity: u32,
    start: u32,
    k: u32,
    v: u32,
}

/// Checks that q from word 0, k and v from these words on lie one behind the other in `qkv`.
pub(super) fn check_qkv(
    op: &str,
    shape: &AttentionShape,
    qkv: &Tensor,
    [k, v]: [usize; 2],
) -> Result<()> {
    let columns = shape.batch * shape.queries * shape.head_dim;
    let kv = columns * shape.kv_heads;
    let ends = [columns * shape.heads, k + kv, v + kv];
    if [k, v, qkv.len()].iter().zip(ends).any(|(next, end)| *next < end) {
        let why = format!("q, k and v end at words {ends:?} of {qkv:?}, k and v begin at {k}, {v}");
        return Err(Error::invalid(op, why));
    }
    Ok(())
}

/// What generation does between its products and attention, in one dispatch: [`Rope`] of `q` in
/// place, and for token `t` of sequence `b` `keys[b·S + start + t] = rope(k[b·T + t])`,
/// `values[b·S + start + t] = v[b·T + t]`; other rows of the cache stay.
///
/// **Shapes** `q (B·T, H·E)` at the beginning of `qkv`, `k, v (B·T, G·E)` in it from words `k` and
/// `v` on, `keys, values (B·S, G·E)`; tables and positions as in [`Rope`]; `shape` has `S` as
/// `keys`. **Errors** [`Shape`](Error::Shape), [`Invalid`](Error::Invalid) if they disagree.
/// **Source** as [`Rope`]; key-value caching. **Twin** [`reference::rope`],
/// [`reference::copy_rows`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct RopeAppend<'a> {
    pub qkv: &'a Tensor,
    pub k: usize,
    pub v: usize,
    pub cos: &'a Tensor,
    pub sin: &'a Tensor,
    pub positions: &'a Tensor,
    pub keys: &'a Tensor,
    pub values: &'a Tensor,
    pub shape: AttentionShape,
}

impl Op for RopeAppend<'_> {
    fn kernel(&self) -> &'static Kernel {
        &ROPE_APPEND
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.qkv, self.cos, self.sin, self.positions, self.keys, self.values]
    }
    fn params(&self) -> Vec<u8> {
        let shape = self.shape;
        params(&AppendParams {
            n: (shape.batch * shape.queries) as u32,
            heads: shape.heads as u32,
            kv_heads: shape.kv_heads as u32,
            half: self.cos.dim(1) as u32,
            positions: self.cos.dim(0) as u32,
            queries: shape.queries as u32,
            capacity: shape.keys as u32,
            start: shape.start as u32,
            k: self.k as u32,
            v: self.v as u32,
        })
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let (name, shape) = (ROPE_APPEND.name, self.shape);
        let [count, half] = self.cos.matrix(name)?;
        if count == 0 || shape.start + shape.queries > shape.keys || shape.head_dim != 2 * half {
            let why = format!("{count} rows of {half} cosines for {shape:?}");
            return Err(Error::invalid(name, why));
        }
        self.sin.expect(name, &[count, half])?;
        let (n, width) = (shape.batch * shape.queries, shape.kv_heads * shape.head_dim);
        self.positions.expect(name, &[n])?;
        check_qkv(name, &shape, self.qkv, [self.k, self.v])?;
        for cache in [self.keys, self.values] {
            cache.expect(name, &[shape.batch * shape.keys, width])?;
        }
        elements(n * half)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [qkv, cos, sin, positions, keys, values] = host.all();
        let (cos, sin, positions) = (cos.f32(), sin.f32(), positions.u32());
        let shape = self.shape;
        let n = shape.batch * shape.queries;
        let (q, width) = (n * shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
        reference::rope(&mut qkv.f32_mut()[..q], cos, sin, positions, shape.heads, false);
        let mut k = qkv.f32()[self.k..][..n * width].to_vec();
        let v = &qkv.f32()[self.v..][..n * width];
        reference::rope(&mut k, cos, sin, positions, shape.kv_heads, false);
        let (rows, stride, first) = (shape.queries, shape.keys, shape.start);
        reference::copy_rows(&k, width, rows, stride, first, keys.f32_mut());
        reference::copy_rows(v, width, rows, stride, first, values.f32_mut());
    }
    fn work(&self) -> Work {
        let shape = self.shape;
        let (n, e) = (shape.batch * shape.queries, shape.head_dim);
        let (flops, words) = (shape.heads + shape.kv_heads, shape.heads + 2 * shape.kv_heads);
        Work { flops: (3 * n * e * flops) as u64, bytes: (8 * n * e * words) as u64 }
    }
}

pub(super) const CASES: &[Case] = &[
    Case::new(&ROPE, [512, 32, 64], &[[7, 3, 32], [7, 3, 30]], rope),
    Case::new(&ROPE_APPEND, [512, 32, 32], &[[7, 3, 16]], rope_append),
];

fn rope(i: &Inputs, [m, n, k]: [usize; 3], each: Each) -> Result<()> {
    let half = (k / 2).max(1);
    let (cos, sin) = (i.random("cos", &[m, half])?, i.random("sin", &[m, half])?);
    let (x, positions) = (i.random("x", &[m, n * half * 2])?, i.indices("positions", m, m)?);
    let op = Rope { x: &x, cos: &cos, sin: &sin, positions: &positions, heads: n, inverse: false };
    each(&op)
}

fn rope_append(i: &Inputs, [m, heads, half]: [usize; 3], each: Each) -> Result<()> {
    let (kv_heads, head_dim) = (heads.div_ceil(3), 2 * half);
    let width = kv_heads * head_dim;
    let shape = AttentionShape {
        batch: 1,
        queries: m,
        keys: m + 3,
        start: 2,
        heads,
        kv_heads,
        head_dim,
        first: 0,
    };
    each(&RopeAppend {
        qkv: &i.random("qkv", &[m * (heads * head_dim + 2 * width)])?,
        k: m * heads * head_dim,
        v: m * (heads * head_dim + width),
        cos: &i.random("cos", &[m, half])?,
        sin: &i.random("sin", &[m, half])?,
        positions: &i.indices("positions", m, m)?,
        keys: &i.zeros("keys", &[m + 3, width])?,
        values: &i.zeros("values", &[m + 3, width])?,
        shape,
    })
}
