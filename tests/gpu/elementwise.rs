use crate::harness::{Case, Check, floats, guarded, nan, noise, random, words};
use wgpu_lora::gpu::{Elem, Gpu, Tensor};
use wgpu_lora::kernels::{Add, AddBias, GatherRows, PackF16, UnpackF16};

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

fn pairs(gpu: &Gpu, name: &str, n: usize) -> Tensor {
    let mut packed = vec![0; n.div_ceil(2)];
    wgpu_lora::reference::pack_f16(&noise(n, name), &mut packed);
    guarded(gpu, name, &[packed.len()], Elem::F16Pairs, &packed)
}

pub fn pack_f16(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let n = sizes.iter().product();
    // One in two lies beyond f16's range.
    let wide = |name: &str| -> Vec<f32> { noise(n, name).iter().map(|v| v * 131_072.0).collect() };
    let [x, other] = ["x", "other"].map(|name| floats(gpu, name, sizes, &wide(name)));
    let (y, counts) = (pairs(gpu, "y", n), words(gpu, "counts", &[8], &[1, 2, 3, 4, 5, 6, 7, 8]));
    let op = PackF16 { x: &x, y: &y, counts: &counts, slot: 3 };
    check(&op, &[&PackF16 { x: &other, ..op }])
}

pub fn unpack_f16(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let n = sizes.iter().product();
    let (x, other) = (pairs(gpu, "x", n), pairs(gpu, "other", n));
    let y = nan(gpu, "y", sizes);
    check(&UnpackF16 { x: &x, y: &y }, &[&UnpackF16 { x: &other, y: &y }])
}

pub fn cases() -> Vec<Case> {
    // The last has more workgroups than one dimension of a dispatch.
    let sizes: &[&[usize]] = &[&[1, 1], &[3, 37], &[65_536, 65]];
    let mut all = crate::harness::cases("add", sizes, add);
    all.extend(crate::harness::cases("add_bias", sizes, add_bias));
    all.extend(crate::harness::cases("pack_f16", sizes, pack_f16));
    all.extend(crate::harness::cases("unpack_f16", sizes, unpack_f16));
    let rows: &[&[usize]] = &[&[7, 3, 1], &[20, 33, 37], &[40, 100, 576]];
    all.extend(crate::harness::cases("gather_rows", rows, gather_rows));
    all
}
