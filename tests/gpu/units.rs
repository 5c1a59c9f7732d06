//! Matrix units: which of them this adapter has, so that a log says what was not tested, and what
//! runs on them.

use libtest_mimic::{Failed, Trial};
use wgpu_lora::gpu::{Gpu, GpuOptions, HALF, Policy, library};
use wgpu_lora::kernels::ALL;

pub fn trials() -> Vec<Trial> {
    vec![Trial::test("units::f32_never_comes_from_f16", factors)]
}

fn factors() -> Result<(), Failed> {
    let policy = Policy::named("cooperative", ALL)?;
    let adapter = std::env::var("WGPU_LORA_DEVICE").ok();
    let options = GpuOptions { adapter, policy, ..Default::default() };
    let gpu = pollster::block_on(Gpu::with(options))?;
    let variants = gpu.caps().variants(ALL);
    for (unit, _) in library().iter().filter(|(name, _)| name.starts_with("unit_")) {
        let of = variants.iter().filter(|(_, variant)| variant.contains(unit));
        let contexts: Vec<&str> = of.map(|(context, _)| context.as_str()).collect();
        match contexts.len() {
            0 => println!("{unit}: untested, this adapter has none"),
            n => println!("{unit}: {n} products"),
        }
        let is_half = |context: &&str| context.ends_with(HALF);
        assert!(unit.contains("f32") || contexts.iter().all(is_half), "{contexts:?}");
        for kernel in ["linear_fwd ", "linear_bwd "] {
            let has = contexts.iter().any(|context| context.starts_with(kernel));
            assert!(has || contexts.is_empty(), "{unit}: no {kernel}");
        }
    }
    Ok(())
}
