//! The adapter, once for each kernel policy.

use std::sync::OnceLock;

use super::judge::{Judge, Outcome, wrong};
use wgpu_lora::gpu::{Gpu, GpuOptions, Policy};
use wgpu_lora::kernels;

/// A device opened under a policy.
pub struct Device {
    pub gpu: Gpu,
    /// `name of the adapter, variant`.
    pub label: String,
    pub policy: Policy,
}

/// The policies that can differ on some adapter: the default, the baseline, and bodies that
/// software adapters do not choose by themselves.
fn policies() -> Vec<Policy> {
    let workgroup =
        kernels::ALL.iter().any(|kernel| kernel.bodies.iter().any(|body| body.name == "workgroup"));
    let mut policies = vec![Policy::Auto, Policy::Baseline];
    if workgroup {
        policies.push(Policy::Prefer("workgroup".into()));
    }
    policies
}

fn open() -> Result<Vec<Device>, String> {
    let mut devices = Vec::new();
    for policy in policies() {
        let adapter = std::env::var("WGPU_LORA_DEVICE").ok();
        let options = GpuOptions { policy: policy.clone(), adapter, ..Default::default() };
        let gpu = pollster::block_on(Gpu::with(options)).map_err(|e| e.to_string())?;
        let variant = match &policy {
            Policy::Auto => "default".to_owned(),
            Policy::Baseline => "baseline".to_owned(),
            Policy::Prefer(name) => format!("prefer {name}"),
        };
        let label = format!("{}, {variant}", gpu.caps().adapter.name);
        devices.push(Device { gpu, label, policy });
    }
    Ok(devices)
}

/// All devices, opened once. No adapter is a failure.
pub fn all() -> Outcome<&'static [Device]> {
    static DEVICES: OnceLock<Result<Vec<Device>, String>> = OnceLock::new();
    match DEVICES.get_or_init(open) {
        Ok(devices) => Ok(devices),
        Err(why) => wrong(why),
    }
}

/// Runs a check on each device.
pub fn each(judge: &mut Judge, mut check: impl FnMut(&mut Judge, &Device) -> Outcome) -> Outcome {
    for device in all()? {
        judge.at(&device.label);
        check(judge, device)?;
    }
    Ok(())
}

/// Runs a check that takes minutes with the baseline on a software adapter: it is left out there,
/// unless `WGPU_LORA_GOLDEN_ALL` is set.
pub fn each_affordable(
    judge: &mut Judge,
    mut check: impl FnMut(&mut Judge, &Device) -> Outcome,
) -> Outcome {
    let all_of_them = std::env::var_os("WGPU_LORA_GOLDEN_ALL").is_some();
    for device in all()? {
        let slow = device.gpu.caps().software && device.policy != Policy::Auto;
        if slow && !all_of_them {
            judge.note(&format!("{}: left out, set WGPU_LORA_GOLDEN_ALL", device.label));
            continue;
        }
        judge.at(&device.label);
        check(judge, device)?;
    }
    Ok(())
}
