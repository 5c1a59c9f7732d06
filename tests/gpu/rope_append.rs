use crate::harness::{Case, Check, random, words};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::kernels::{AttentionShape, RopeAppend};

fn body(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let &[batch, queries, keys, start, heads, kv_heads, half] = sizes else {
        return Err("sizes".into());
    };
    let (n, head_dim) = (batch * queries, 2 * half);
    let width = kv_heads * head_dim;
    let ids =
        |step: u32| -> Vec<u32> { (0..n as u32).map(|i| (start as u32 + i * step) % 5).collect() };
    let positions = words(gpu, "positions", &[n], &ids(1));
    let shifted = words(gpu, "shifted", &[n], &ids(2));
    let shape = AttentionShape { batch, queries, keys, start, heads, kv_heads, head_dim, first: 0 };
    // With a gap before each.
    let k = n * heads * head_dim + 3;
    let v = k + n * width + 2;
    let op = RopeAppend {
        qkv: &random(gpu, "qkv", &[v + n * width]),
        k,
        v,
        cos: &random(gpu, "cos", &[5, half]),
        sin: &random(gpu, "sin", &[5, half]),
        positions: &positions,
        keys: &random(gpu, "keys", &[batch * keys, width]),
        values: &random(gpu, "values", &[batch * keys, width]),
        shape,
    };
    let before = AttentionShape { start: start - 1, ..shape };
    let moved = RopeAppend { shape: before, ..op };
    check(&op, &[&RopeAppend { k: k + 1, ..op }, &RopeAppend { v: v - 1, ..op }])?;
    match n {
        1 => check(&op, &[&moved]),
        _ => check(&op, &[&moved, &RopeAppend { positions: &shifted, ..op }]),
    }
}

pub fn cases() -> Vec<Case> {
    let sizes: &[&[usize]] =
        &[&[1, 1, 9, 3, 3, 1, 5], &[3, 4, 11, 7, 6, 2, 12], &[1, 33, 40, 7, 9, 3, 32]];
    crate::harness::cases("rope_append", sizes, body)
}
