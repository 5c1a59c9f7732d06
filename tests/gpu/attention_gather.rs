use crate::harness::{Case, Check, nan, random, words};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::kernels::{AttentionGather, GatherShape};

/// `N, S, C, H, G, E`; lists of every length from none to all, in no order.
fn body(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let &[rows, listed, slots, heads, kv_heads, head_dim] = sizes else {
        return Err("sizes".into());
    };
    let shape = GatherShape { rows, listed, slots, heads, kv_heads, head_dim };
    let q = random(gpu, "q", &[rows, heads * head_dim]);
    let k = random(gpu, "k", &[slots, kv_heads * head_dim]);
    let v = random(gpu, "v", &[slots, kv_heads * head_dim]);
    let lists = |step: usize| -> Vec<u32> {
        let slot = |n: usize, s: usize| match s < (n * 7 + 1) % (listed + 1) {
            true => ((n * 5 + s * step) % slots) as u32,
            // What stands behind the end of a list is not read.
            false if s.is_multiple_of(2) => u32::MAX,
            false => slots as u32,
        };
        (0..rows * listed).map(|i| slot(i / listed, i % listed)).collect()
    };
    let index = words(gpu, "index", &[rows, listed], &lists(3));
    let other = words(gpu, "other index", &[rows, listed], &lists(2));
    let y = nan(gpu, "y", &[rows, heads * head_dim]);
    let op = AttentionGather { q: &q, k: &k, v: &v, index: &index, y: &y, shape };
    let swapped = AttentionGather { k: &v, v: &k, ..op };
    let elsewhere = AttentionGather { index: &other, ..op };
    check(&op, &[&swapped, &elsewhere])
}

pub fn cases() -> Vec<Case> {
    let sizes: [&[usize]; 5] = [
        &[2, 4, 5, 1, 1, 5],
        &[5, 9, 31, 4, 2, 32],
        &[17, 130, 257, 9, 3, 64],
        &[3, 40, 64, 6, 1, 128],
        &[4, 16, 20, 2, 2, 64],
    ];
    crate::harness::cases("attention_gather", &sizes, body)
}
