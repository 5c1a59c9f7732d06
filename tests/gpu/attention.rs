use crate::harness::{Case, Check, nan, random, words};
use wgpu_lora::gpu::{Gpu, Tensor};
use wgpu_lora::kernels::{
    AttentionBwdDkv, AttentionBwdDq, AttentionDecode, AttentionDelta, AttentionFwd, AttentionShape,
};

/// `B, T, S, start, H, G, E`, and perhaps `first`.
fn shape(sizes: &[usize]) -> AttentionShape {
    AttentionShape {
        batch: sizes[0],
        queries: sizes[1],
        keys: sizes[2],
        start: sizes[3],
        heads: sizes[4],
        kv_heads: sizes[5],
        head_dim: sizes[6],
        first: sizes.get(7).copied().unwrap_or(0),
    }
}

/// Shapes that compute something else: one key more per query, another kv head per query head.
fn wrong(shape: AttentionShape) -> Vec<AttentionShape> {
    let mut all = Vec::new();
    if shape.keys > 1 {
        all.push(AttentionShape { start: shape.start + 1, ..shape });
    }
    if shape.first > 0 {
        all.push(AttentionShape { first: shape.first - 1, ..shape });
    }
    if shape.kv_heads > 1 {
        all.push(AttentionShape { kv_heads: 1, ..shape });
    }
    all
}

struct Tensors {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dy: Tensor,
    lse: Tensor,
    delta: Tensor,
    other: Tensor,
}

fn tensors(gpu: &Gpu, shape: AttentionShape) -> Tensors {
    // Rows of other sequences in front, and behind where there are some in front.
    let around = shape.first + shape.first.min(3);
    let queries = [around + shape.batch * shape.queries, shape.heads * shape.head_dim];
    let keys = [around + shape.batch * shape.keys, shape.kv_heads * shape.head_dim];
    let stats = [queries[0], shape.heads];
    Tensors {
        q: random(gpu, "q", &queries),
        k: random(gpu, "k", &keys),
        v: random(gpu, "v", &keys),
        dy: random(gpu, "dy", &queries),
        lse: random(gpu, "lse", &stats),
        delta: random(gpu, "delta", &stats),
        other: random(gpu, "other", &keys),
    }
}

fn fwd(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let s = shape(sizes);
    let t = tensors(gpu, s);
    let (y, lse) = (nan(gpu, "y", t.q.dims()), nan(gpu, "lse out", t.lse.dims()));
    let op = AttentionFwd { q: &t.q, k: &t.k, v: &t.v, y: &y, lse: &lse, shape: s };
    let (swapped, others) = (AttentionFwd { k: &t.other, ..op }, wrong(s));
    let others: Vec<_> = others.into_iter().map(|shape| AttentionFwd { shape, ..op }).collect();
    let mut all: Vec<&dyn wgpu_lora::gpu::Op> = vec![&swapped];
    all.extend(others.iter().map(|o| o as &dyn wgpu_lora::gpu::Op));
    check(&op, &all)
}

fn decode(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let s = shape(sizes);
    let (n, width, half) = (s.batch, s.kv_heads * s.head_dim, s.head_dim / 2);
    // With a gap before each.
    let k = (n * s.heads * s.head_dim + 1).next_multiple_of(4);
    let v = (k + n * width + 1).next_multiple_of(4);
    let ids = |step: u32| -> Vec<u32> { (0..n as u32).map(|i| (3 + i * step) % 5).collect() };
    let (positions, shifted) =
        (words(gpu, "positions", &[n], &ids(1)), words(gpu, "shifted", &[n], &ids(4)));
    let op = AttentionDecode {
        qkv: &random(gpu, "qkv", &[v + n * width]),
        k,
        v,
        cos: &random(gpu, "cos", &[5, half]),
        sin: &random(gpu, "sin", &[5, half]),
        positions: &positions,
        keys: &random(gpu, "keys", &[n * s.keys, width]),
        values: &random(gpu, "values", &[n * s.keys, width]),
        y: &nan(gpu, "y", &[n, s.heads * s.head_dim]),
        shape: s,
    };
    let moved = AttentionDecode {
        shape: AttentionShape { start: if s.start == 0 { 1 } else { s.start - 1 }, ..s },
        ..op
    };
    let keys = AttentionDecode { k: k - 1, ..op };
    let values = AttentionDecode { v: v - 1, ..op };
    let mut wrong: Vec<&dyn wgpu_lora::gpu::Op> = vec![&moved, &keys, &values];
    let turned = AttentionDecode { positions: &shifted, ..op };
    if n > 1 {
        wrong.push(&turned);
    }
    check(&op, &wrong)
}

fn delta(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let s = shape(sizes);
    let t = tensors(gpu, s);
    let delta = nan(gpu, "delta out", t.delta.dims());
    let op = AttentionDelta { y: &t.q, dy: &t.dy, delta: &delta, shape: s };
    check(&op, &[&AttentionDelta { y: &t.dy, ..op }])
}

fn bwd_dq(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let s = shape(sizes);
    let t = tensors(gpu, s);
    let dq = nan(gpu, "dq", t.q.dims());
    let (lse, delta) = (&t.lse, &t.delta);
    let op = AttentionBwdDq { q: &t.q, k: &t.k, v: &t.v, dy: &t.dy, lse, delta, dq: &dq, shape: s };
    let (swapped, others) = (AttentionBwdDq { lse: delta, delta: lse, ..op }, wrong(s));
    let others: Vec<_> = others.into_iter().map(|shape| AttentionBwdDq { shape, ..op }).collect();
    let mut all: Vec<&dyn wgpu_lora::gpu::Op> = vec![&swapped];
    all.extend(others.iter().map(|o| o as &dyn wgpu_lora::gpu::Op));
    check(&op, &all)
}

fn bwd_dkv(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let s = shape(sizes);
    let t = tensors(gpu, s);
    let (dk, dv) = (nan(gpu, "dk", t.k.dims()), nan(gpu, "dv", t.k.dims()));
    let Tensors { q, k, v, dy, lse, delta, .. } = &t;
    let op = AttentionBwdDkv { q, k, v, dy, lse, delta, dk: &dk, dv: &dv, shape: s };
    let (swapped, others) = (AttentionBwdDkv { lse: delta, delta: lse, ..op }, wrong(s));
    let others: Vec<_> = others.into_iter().map(|shape| AttentionBwdDkv { shape, ..op }).collect();
    let mut all: Vec<&dyn wgpu_lora::gpu::Op> = vec![&swapped];
    all.extend(others.iter().map(|o| o as &dyn wgpu_lora::gpu::Op));
    check(&op, &all)
}

pub fn cases() -> Vec<Case> {
    let sizes: &[&[usize]] = &[
        &[1, 1, 1, 0, 1, 1, 4],
        &[2, 5, 5, 0, 4, 2, 16],
        &[3, 40, 40, 0, 4, 2, 16],
        &[1, 2, 2, 0, 2, 1, 5],
        &[2, 17, 17, 0, 9, 3, 64],
        &[1, 1, 50, 23, 9, 3, 64],
        &[1, 3, 64, 10, 4, 4, 32],
        &[1, 2, 9, 3, 2, 2, 80],
        &[1, 70, 70, 0, 3, 1, 64],
        &[2, 33, 40, 4, 2, 1, 127],
        &[1, 21, 24, 2, 6, 2, 128],
        &[1, 19, 19, 0, 2, 2, 200],
        &[1, 4, 4, 0, 2, 2, 1],
        // More turns of a loop over keys and columns than llvmpipe grants an invocation.
        &[1, 1100, 1100, 0, 1, 1, 63],
    ];
    let packed: &[&[usize]] = &[
        &[1, 5, 5, 0, 4, 2, 16, 3],
        &[2, 17, 17, 0, 9, 3, 64, 21],
        &[1, 40, 40, 0, 2, 1, 32, 1],
        &[1, 21, 21, 0, 6, 2, 128, 130],
        &[1, 9, 9, 0, 2, 2, 80, 7],
    ];
    let cases = crate::harness::cases;
    let mut all = cases("attention_fwd", sizes, fwd);
    // With one key there is nothing to weigh: `y` is `v`, whatever the score.
    all.retain(|case| case.sizes[2] > 1);
    let one: &[&[usize]] = &[
        &[1, 1, 9, 3, 3, 1, 10],
        &[2, 1, 11, 7, 6, 2, 24],
        &[1, 1, 40, 39, 9, 3, 64],
        &[3, 1, 21, 1, 8, 8, 32],
        &[1, 1, 30, 18, 24, 2, 128],
        &[1, 1, 150, 140, 32, 2, 32],
        &[2, 1, 70, 66, 4, 2, 256],
        &[1, 1, 5, 0, 4, 2, 32],
    ];
    all.extend(cases("attention_decode", one, decode));
    all.extend(cases("attention_delta", sizes, delta));
    all.extend(cases("attention_bwd_dq", sizes, bwd_dq));
    all.extend(cases("attention_bwd_dkv", sizes, bwd_dkv));
    all.extend(cases("attention_fwd", packed, fwd));
    all.extend(cases("attention_bwd_dq", packed, bwd_dq));
    all.extend(cases("attention_bwd_dkv", packed, bwd_dkv));
    all
}
