use crate::harness::{Case, Check, nan, random, words};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::kernels::{Add, AddBias, GatherRows};

pub fn add(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let (x, y) = (random(gpu, "x", sizes), random(gpu, "y", sizes));
    let other = random(gpu, "other", sizes);
    check(&Add { x: &x, y: &y }, &[&Add { x: &other, y: &y }])
}

pub fn add_bias(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let (bias, y) = (random(gpu, "bias", &sizes[1..]), random(gpu, "y", sizes));
    let other = random(gpu, "other", &sizes[1..]);
    check(&AddBias { bias: &bias, y: &y }, &[&AddBias { bias: &other, y: &y }])
}

pub fn gather_rows(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let (n, l, d) = (sizes[0], sizes[1], sizes[2]);
    let rows = |step: usize| -> Vec<u32> {
        let row = |i: usize| if i % 3 == 2 { u32::MAX } else { (i * step % n) as u32 };
        (0..l).map(row).collect()
    };
    let (index, other) = (words(gpu, "index", &[l], &rows(5)), words(gpu, "other", &[l], &rows(6)));
    let (x, y) = (random(gpu, "x", &[n, d]), nan(gpu, "y", &[l, d]));
    let op = GatherRows { x: &x, index: &index, y: &y };
    check(&op, &[&GatherRows { index: &other, ..op }])
}

pub fn cases() -> Vec<Case> {
    // The last has more workgroups than one dimension of a dispatch.
    let sizes: &[&[usize]] = &[&[1, 1], &[3, 37], &[65_536, 65]];
    let mut all = crate::harness::cases("add", sizes, add);
    all.extend(crate::harness::cases("add_bias", sizes, add_bias));
    let rows: &[&[usize]] = &[&[7, 3, 1], &[20, 33, 37], &[40, 100, 576]];
    all.extend(crate::harness::cases("gather_rows", rows, gather_rows));
    all
}
