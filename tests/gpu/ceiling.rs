use crate::harness::{Case, Check, nan, random};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::kernels::{CeilingCopy, CeilingFma};

pub fn ceiling_copy(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let (x, other, y) =
        (random(gpu, "x", sizes), random(gpu, "other", sizes), nan(gpu, "y", sizes));
    check(&CeilingCopy { x: &x, y: &y }, &[&CeilingCopy { x: &other, y: &y }])
}

pub fn ceiling_fma(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let (x, y) = (random(gpu, "x", sizes), nan(gpu, "y", sizes));
    let op = CeilingFma { x: &x, y: &y, turns: 24, a: 0.875, b: 0.25, half: false };
    for op in [op, CeilingFma { half: true, ..op }] {
        let wrong = [
            CeilingFma { turns: 16, ..op },
            CeilingFma { a: 0.75, ..op },
            CeilingFma { b: 0.5, ..op },
        ];
        check(&op, &[&wrong[0], &wrong[1], &wrong[2]])?;
    }
    Ok(())
}

pub fn cases() -> Vec<Case> {
    let sizes: &[&[usize]] = &[&[4], &[260], &[100_000]];
    let mut all = crate::harness::cases("ceiling_copy", sizes, ceiling_copy);
    let sizes: &[&[usize]] = &[&[192], &[1920], &[192_000]];
    all.extend(crate::harness::cases("ceiling_fma", sizes, ceiling_fma));
    all
}
