use crate::harness::{Case, Check, floats, random, words};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::kernels::Rope;

pub fn rope(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let (n, heads, half) = (sizes[0], sizes[1], sizes[2]);
    let count = n + 1;
    let table = |name, f: fn(f32) -> f32| {
        let angle = |i: usize| (i / half) as f32 / 10f32.powf((i % half) as f32 / half as f32);
        let values: Vec<f32> = (0..count * half).map(|i| f(angle(i))).collect();
        floats(gpu, name, &[count, half], &values)
    };
    let (cos, sin) = (table("cos", f32::cos), table("sin", f32::sin));
    let ids = |first: u32| -> Vec<u32> { (first..first + n as u32).rev().collect() };
    let positions = words(gpu, "positions", &[n], &ids(1));
    let shifted = words(gpu, "shifted", &[n], &ids(0));
    let x = random(gpu, "x", &[n, heads * half * 2]);
    for inverse in [true, false] {
        let op = Rope { x: &x, cos: &cos, sin: &sin, positions: &positions, heads, inverse };
        let other = Rope { inverse: !inverse, ..op };
        check(&op, &[&other, &Rope { positions: &shifted, ..op }])?;
    }
    Ok(())
}

pub fn cases() -> Vec<Case> {
    let sizes: &[&[usize]] = &[&[1, 1, 1], &[7, 3, 5], &[65, 9, 32]];
    crate::harness::cases("rope", sizes, rope)
}
