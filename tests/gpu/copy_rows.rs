use crate::harness::{Case, Check, random};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::kernels::CopyRows;

fn body(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let &[batch, rows, stride, first, width] = sizes else { return Err("sizes".into()) };
    let x = random(gpu, "x", &[batch * rows, width]);
    let y = random(gpu, "y", &[batch * stride, width]);
    let op = CopyRows { x: &x, y: &y, rows, stride, first };
    check(&op, &[&CopyRows { first: first - 1, ..op }])
}

pub fn cases() -> Vec<Case> {
    crate::harness::cases("copy_rows", &[&[1, 1, 9, 3, 5], &[3, 4, 11, 7, 24]], body)
}
