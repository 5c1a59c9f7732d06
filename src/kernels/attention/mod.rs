//! Causal grouped-query attention without the matrix of scores.

mod bwd;
mod cases;
mod decode;
mod fwd;
mod gather;

use super::params;
use crate::gpu::{Context, HEADS, Takes, Tensor, Work};
pub use crate::reference::AttentionShape;
use crate::{Error, Result};
pub use bwd::{AttentionBwdDkv, AttentionBwdDq, AttentionDelta};
pub(super) use cases::CASES;
pub use decode::AttentionDecode;
pub use fwd::AttentionFwd;
pub use gather::{AttentionGather, GatherShape};

/// Bodies that keep a head in registers.
const IN_REGISTERS: Takes = Takes { heads: &HEADS, ..Takes::ANY };

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

/// Columns of a head that one invocation or workgroup of a baseline body accumulates.
const COLUMNS: usize = 32;
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

fn context_of(head_dim: usize) -> Context {
    Context { head: Some(head_dim), ..Context::default() }
}

/// Checks the shape itself, then the tensors that are stored per query, per key, and per query and
/// head; they may have further rows.
fn check(
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
fn row_tiles(shape: &AttentionShape, rows: usize) -> usize {
    let pairs = shape.queries * (shape.heads / shape.kv_heads);
    shape.batch * shape.kv_heads * pairs.div_ceil(rows)
}

/// `products` multiply-adds per column of each pair of a query and a key that it attends, on so
/// many matrices of a row per query, and per key.
fn work_of(shape: &AttentionShape, products: usize, matrices: [usize; 2]) -> Work {
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
