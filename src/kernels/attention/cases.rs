//! Cases of attention.

use super::bwd::{BWD_DKV, BWD_DQ, DELTA};
use super::decode::DECODE;
use super::fwd::FWD;
use super::gather::GATHER;
use super::*;
use crate::gpu::Op;
use crate::kernels::cases::{Case, Each, Inputs};

pub(in crate::kernels) const CASES: &[Case] = &[
    Case::new(
        &FWD,
        [512, 32, 64],
        &[[37, 8, 32], [37, 8, 16], [37, 8, 64], [37, 8, 128]],
        |i, s, e| attention(i, s, false, "fwd", e),
    ),
    Case::new(
        &DELTA,
        [512, 32, 64],
        &[[37, 8, 32], [37, 8, 16], [37, 8, 64], [37, 8, 128], [37, 8, 30]],
        |i, s, e| attention(i, s, false, "delta", e),
    ),
    Case::new(
        &BWD_DQ,
        [512, 32, 64],
        &[[37, 8, 32], [37, 8, 16], [37, 8, 64], [37, 8, 128]],
        |i, s, e| attention(i, s, false, "dq", e),
    ),
    Case::new(
        &BWD_DKV,
        [512, 32, 64],
        &[[37, 8, 32], [37, 8, 16], [37, 8, 64], [37, 8, 128]],
        |i, s, e| attention(i, s, false, "dkv", e),
    ),
    Case::new(
        &DECODE,
        [512, 32, 64],
        &[[37, 8, 32], [37, 8, 16], [37, 8, 64], [37, 8, 128]],
        |i, s, e| attention(i, s, true, "", e),
    ),
    Case::new(
        &GATHER,
        [128, 32, 64],
        &[[37, 8, 32], [37, 8, 16], [37, 8, 64], [37, 8, 128]],
        attention_gather,
    ),
];

/// One sequence: M queries and keys, N query heads that share N/4 key heads, K the head's
/// dimension.
fn attention(
    i: &Inputs,
    [m, n, k]: [usize; 3],
    decode: bool,
    only: &str,
    each: Each,
) -> Result<()> {
    let kv_heads = match n {
        // Llama 3.2 and SmolLM2.
        32 | 24 => 8,
        9 => 3,
        n if n.is_multiple_of(4) => n / 4,
        n => n,
    };
    let queries = if decode { 1 } else { m };
    let shape = AttentionShape {
        batch: 1,
        queries,
        keys: m,
        start: m - queries,
        heads: n,
        kv_heads,
        head_dim: k,
        first: 0,
    };
    let (wide, narrow) = ([queries, n * k], [m, kv_heads * k]);
    if decode {
        return each(&AttentionDecode {
            qkv: &i.random("qkv", &[(n + 2 * kv_heads) * k])?,
            k: n * k,
            v: (n + kv_heads) * k,
            cos: &i.random("cos", &[m, k / 2])?,
            sin: &i.random("sin", &[m, k / 2])?,
            positions: &i.indices("positions", 1, m)?,
            keys: &i.random("keys", &narrow)?,
            values: &i.random("values", &narrow)?,
            y: &i.zeros("y", &wide)?,
            shape,
        });
    }
    let (q, key, v) = (i.random("q", &wide)?, i.random("k", &narrow)?, i.random("v", &narrow)?);
    let (y, lse) = (i.zeros("y", &wide)?, i.zeros("lse", &[queries, n])?);
    let forward = AttentionFwd { q: &q, k: &key, v: &v, y: &y, lse: &lse, shape };
    if only == "fwd" {
        return each(&forward);
    }
    let (dy, delta) = (i.random("dy", &wide)?, i.zeros("delta", &[queries, n])?);
    let before = AttentionDelta { y: &y, dy: &dy, delta: &delta, shape };
    let mut rec = i.gpu.recorder("bench");
    for first in [&forward as &dyn Op, &before] {
        rec.record(first)?;
        i.twin(first);
    }
    rec.submit()?;
    let (k, lse, delta) = (&key, &lse, &delta);
    match only {
        "delta" => each(&before),
        "dq" => {
            let dq = i.zeros("dq", &wide)?;
            each(&AttentionBwdDq { q: &q, k, v: &v, dy: &dy, lse, delta, dq: &dq, shape })
        }
        _ => {
            let (dk, dv) = (i.zeros("dk", &narrow)?, i.zeros("dv", &narrow)?);
            let (dk, dv) = (&dk, &dv);
            each(&AttentionBwdDkv { q: &q, k, v: &v, dy: &dy, lse, delta, dk, dv, shape })
        }
    }
}

/// Row r of M lists r + 1 of M + 3 slots; N query heads share N/4 key heads, K is the head's
/// dimension.
fn attention_gather(i: &Inputs, [m, n, k]: [usize; 3], each: Each) -> Result<()> {
    let kv_heads = if n.is_multiple_of(4) { n / 4 } else { n };
    let slots = m + 3;
    let shape = GatherShape { rows: m, listed: m, slots, heads: n, kv_heads, head_dim: k };
    let (wide, narrow) = ([m, n * k], [slots, kv_heads * k]);
    let (q, key, v) = (i.random("q", &wide)?, i.random("k", &narrow)?, i.random("v", &narrow)?);
    // Row r lists r + 1 slots, from one that is its own; what follows is no slot.
    let list = |at: usize| {
        let (row, place) = (at / m, at % m);
        if place <= row { ((row * 5 + place) % slots) as u32 } else { u32::MAX }
    };
    let words: Vec<u32> = (0..m * m).map(list).collect();
    let index = i.words("index", &words)?.view(&[m, m])?;
    let y = i.zeros("y", &wide)?;
    each(&AttentionGather { q: &q, k: &key, v: &v, index: &index, y: &y, shape })
}
