use crate::harness::{Case, Check, floats, noise, random, words};
use wgpu_lora::gpu::{Gpu, Tensor};
use wgpu_lora::kernels::{Dense, EmbedFwd};

/// A shard of random weights as `dtype` packs them.
fn weight(gpu: &Gpu, dtype: Dense, n: usize) -> Tensor {
    let values = noise(n, "w");
    let halves = |to: fn(f32) -> u16| -> Vec<u32> {
        values
            .chunks(2)
            .map(|pair| {
                let high = pair.get(1).map_or(0, |&v| u32::from(to(v)));
                high << 16 | u32::from(to(pair[0]))
            })
            .collect()
    };
    let packed = match dtype {
        Dense::F32 => return floats(gpu, "w", &[n], &values),
        Dense::F16 => halves(|v| half::f16::from_f32(v).to_bits()),
        Dense::BF16 => halves(|v| half::bf16::from_f32(v).to_bits()),
    };
    words(gpu, "w", &[packed.len()], &packed)
}

pub fn fwd(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let (n, rows, d) = (sizes[0], sizes[1], sizes[2]);
    let first_row = 5;
    // Rows of this shard, of the shards before and behind it.
    let some: Vec<u32> = (0..n as u32).map(|i| i * 7 % (rows as u32 + 9)).collect();
    let ids = words(gpu, "ids", &[n], &some);
    let y = random(gpu, "y", &[n, d]);
    for dtype in [Dense::F32, Dense::F16, Dense::BF16] {
        let w = weight(gpu, dtype, rows * d);
        let op = EmbedFwd { ids: &ids, w: &w, dtype, first_row, rows, d, y: &y };
        check(&op, &[&EmbedFwd { first_row: 4, ..op }, &EmbedFwd { rows: rows - 1, ..op }])?;
    }
    Ok(())
}

pub fn cases() -> Vec<Case> {
    let sizes: &[&[usize]] = &[&[9, 4, 1], &[33, 21, 37], &[300, 100, 64]];
    crate::harness::cases("embed_fwd", sizes, fwd)
}
