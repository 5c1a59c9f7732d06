use crate::harness::{Case, Check, nan, random};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::kernels::{RmsNormBwd, RmsNormFwd};

pub fn fwd(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let (n, d) = (sizes[0], sizes[1]);
    let (x, w) = (random(gpu, "x", &[n, d]), random(gpu, "w", &[d]));
    let (y, rstd) = (nan(gpu, "y", &[n, d]), nan(gpu, "rstd", &[n]));
    let op = |eps| RmsNormFwd { x: &x, w: &w, eps, y: &y, rstd: &rstd };
    check(&op(1e-3), &[&op(1e-2)])
}

pub fn bwd(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let (n, d) = (sizes[0], sizes[1]);
    let (x, w, dy) =
        (random(gpu, "x", &[n, d]), random(gpu, "w", &[d]), random(gpu, "dy", &[n, d]));
    let (rstd, dx) = (random(gpu, "rstd", &[n]), random(gpu, "dx", &[n, d]));
    let op = RmsNormBwd { x: &x, w: &w, rstd: &rstd, dy: &dy, dx: &dx, accumulate: true };
    let other = random(gpu, "other rstd", &[n]);
    check(&op, &[&RmsNormBwd { rstd: &other, ..op }, &RmsNormBwd { accumulate: false, ..op }])
}

pub fn cases() -> Vec<Case> {
    let sizes: &[&[usize]] = &[&[1, 4], &[3, 37], &[1, 2048], &[257, 576]];
    let mut all = crate::harness::cases("rms_norm_fwd", sizes, fwd);
    all.extend(crate::harness::cases("rms_norm_bwd", sizes, bwd));
    all
}
