use crate::harness::{Case, Check, floats, nan, noise, random};
use wgpu_lora::gpu::{Gpu, Tensor};
use wgpu_lora::kernels::{DoraBwd, DoraScale};

/// Norms: between 1 and 2.
fn norms(gpu: &Gpu, name: &str, n: usize) -> Tensor {
    let values: Vec<f32> = noise(n, name).iter().map(|v| 1.5 + v / 2.0).collect();
    floats(gpu, name, &[n], &values)
}

pub fn scale(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let n = sizes[1];
    let (z, magnitude) = (random(gpu, "z", sizes), random(gpu, "magnitude", &[n]));
    let (norm, other) = (norms(gpu, "norm", n), norms(gpu, "other", n));
    let op = DoraScale { z: &z, magnitude: &magnitude, norm: &norm, y: &nan(gpu, "y", sizes) };
    check(&op, &[&DoraScale { norm: &other, ..op }])
}

pub fn bwd(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let n = sizes[1];
    let (dy, z) = (random(gpu, "dy", sizes), random(gpu, "z", sizes));
    let (magnitude, norm) = (random(gpu, "magnitude", &[n]), norms(gpu, "norm", n));
    let (dz, d_magnitude) = (nan(gpu, "dz", sizes), random(gpu, "d_magnitude", &[n]));
    let op = DoraBwd {
        dy: &dy,
        z: &z,
        magnitude: &magnitude,
        norm: &norm,
        dz: &dz,
        d_magnitude: &d_magnitude,
    };
    let other = random(gpu, "other", sizes);
    check(&op, &[&DoraBwd { z: &other, ..op }, &DoraBwd { dy: &other, ..op }])
}

pub fn cases() -> Vec<Case> {
    let sizes: &[&[usize]] = &[&[1, 1], &[3, 37], &[257, 576]];
    let mut all = crate::harness::cases("dora_scale", sizes, scale);
    all.extend(crate::harness::cases("dora_bwd", sizes, bwd));
    all
}
