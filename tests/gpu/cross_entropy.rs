use crate::harness::{Case, Check, floats, nan, noise, random, words};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::kernels::{CrossEntropyFused, ReduceSum};

pub fn fused(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let (l, v, largest) = (sizes[0], sizes[1], sizes[2] as f32);
    let values: Vec<f32> = noise(l * v, "logits").iter().map(|x| largest * x).collect();
    let logits = floats(gpu, "logits", &[l, v], &values);
    let label = |i: usize| if i % 5 == 3 { u32::MAX } else { (i * 7919 % v) as u32 };
    let some: Vec<u32> = (0..l).map(label).collect();
    let shifted: Vec<u32> = some.iter().map(|&label| label ^ 1).collect();
    let (labels, other) = (words(gpu, "labels", &[l], &some), words(gpu, "other", &[l], &shifted));
    let nll = nan(gpu, "nll", &[l]);
    for gradient in [true, false] {
        let op =
            CrossEntropyFused { logits: &logits, labels: &labels, scale: 0.3, gradient, nll: &nll };
        let wrong = CrossEntropyFused { gradient: !gradient, ..op };
        check(&op, &[&CrossEntropyFused { labels: &other, ..op }, &wrong])?;
    }
    Ok(())
}

pub fn reduce_sum(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let (x, y) = (random(gpu, "x", sizes), random(gpu, "y", &[3]));
    let op = ReduceSum { x: &x, y: &y, slot: 1 };
    check(&op, &[&ReduceSum { slot: 2, ..op }])
}

pub fn cases() -> Vec<Case> {
    // Rows, vocabulary, largest logit.
    let sizes: &[&[usize]] = &[
        &[1, 2, 1],
        &[5, 1000, 20],
        &[4, 49_152, 375],
        &[3, 128_256, 30],
        &[2, 128_256, 1],
        &[1, 600_001, 9],
    ];
    let mut all = crate::harness::cases("cross_entropy_fused", sizes, fused);
    let sizes: &[&[usize]] = &[&[1], &[100], &[5000]];
    all.extend(crate::harness::cases("reduce_sum", sizes, reduce_sum));
    all
}
