use crate::harness::{Case, Check, floats, nan, noise, random};
use wgpu_lora::gpu::{Gpu, Tensor};
use wgpu_lora::kernels::{SwigluBwd, SwigluFwd};

/// Gates over the whole range of the sigmoid; the smallest case overflows a careless exp instead.
fn gates(gpu: &Gpu, dims: &[usize]) -> Tensor {
    let gate: Vec<f32> = match dims {
        [1, 2] => vec![-200.0, 200.0],
        _ => noise(dims.iter().product(), "gate").iter().map(|g| 10.0 * g).collect(),
    };
    floats(gpu, "gate", dims, &gate)
}

pub fn fwd(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let (gate, up) = (gates(gpu, sizes), random(gpu, "up", sizes));
    let op = SwigluFwd { gate: &gate, up: &up, y: &nan(gpu, "y", sizes) };
    check(&op, &[&SwigluFwd { gate: &up, up: &gate, ..op }])
}

pub fn bwd(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let (gate, up, dy) = (gates(gpu, sizes), random(gpu, "up", sizes), random(gpu, "dy", sizes));
    let (dgate, dup) = (nan(gpu, "dgate", sizes), nan(gpu, "dup", sizes));
    let op = SwigluBwd { gate: &gate, up: &up, dy: &dy, dgate: &dgate, dup: &dup };
    check(&op, &[&SwigluBwd { gate: &up, up: &gate, ..op }, &SwigluBwd { dy: &up, ..op }])
}

pub fn cases() -> Vec<Case> {
    let sizes: &[&[usize]] = &[&[1, 2], &[3, 37], &[257, 576]];
    let mut all = crate::harness::cases("swiglu_fwd", sizes, fwd);
    all.extend(crate::harness::cases("swiglu_bwd", sizes, bwd));
    all
}
