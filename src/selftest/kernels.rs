//! Every kernel in every variant.

use std::collections::{BTreeMap, BTreeSet};

use super::check::{Check, Trial};
use crate::gpu::{Context, Gpu, HostBuffers, Kernel, Op, Selection, Tensor, Work};
use crate::kernels;
use crate::kernels::cases::{Case, Inputs};
use crate::{Error, Result};

/// Runs every kernel in every variant that `gpu` chooses for any data, with small reproducible
/// inputs, and compares every output with its twin's: each variant's worst [`Check`] goes to
/// `tell`. Variants in `met` are left out, and those that were met are added.
///
/// Devices under all of [`Policy::names`](crate::gpu::Policy::names) together have every variant
/// that the adapter can run. In the attention of the body `planted` keys and values are exchanged:
/// for tests that a fault is found.
///
/// **Errors** [`Error::Device`] and [`Error::DeviceLost`] name the kernel at which the driver
/// failed. Its variants count as met: another call with a new device goes on behind it.
pub async fn kernels(
    gpu: &Gpu,
    met: &mut BTreeSet<String>,
    planted: Option<&str>,
    tell: &mut dyn FnMut(Check),
) -> Result<()> {
    for case in kernels::cases() {
        let variants = gpu.caps().variants(&[case.kernel]);
        // Those with an input or a branch of their own have the same bodies and are not listed.
        let due: Vec<String> = variants.into_values().filter(|name| !met.contains(name)).collect();
        if due.is_empty() {
            continue;
        }
        let checks = worst(gpu, case, met, planted).await;
        met.extend(due);
        let checks = checks.map_err(|error| at_kernel(error, case.kernel.name))?;
        met.extend(checks.keys().cloned());
        checks.into_values().for_each(&mut *tell);
    }
    Ok(())
}

/// The worst check of each variant that was not met.
async fn worst(
    gpu: &Gpu,
    case: &Case,
    met: &BTreeSet<String>,
    planted: Option<&str>,
) -> Result<BTreeMap<String, Check>> {
    let mut worst: BTreeMap<String, Check> = BTreeMap::new();
    for &size in case.small {
        let inputs = Inputs::new(gpu).with_half(true);
        let mut trials = Vec::new();
        (case.run)(&inputs, size, &mut |op| {
            let selection = gpu.caps().select(op.kernel(), &op.context())?;
            let variant = selection.name();
            if met.contains(&variant) {
                return Ok(());
            }
            let crossed = Crossed(op);
            let is_planted = planted == Some(selection.body.name) && case.kernel.name == CROSSED;
            let ran: &dyn Op = if is_planted { &crossed } else { op };
            trials.push(Trial::begin(&inputs, ran, op, variant)?);
            Ok(())
        })?;
        for trial in trials {
            let check = trial.finish().await?;
            let all = match worst.remove(&check.variant) {
                Some(before) => before.worse(check),
                None => check,
            };
            worst.insert(all.variant.clone(), all);
        }
    }
    Ok(worst)
}

/// What the driver says, with the kernel at which it did.
fn at_kernel(error: Error, kernel: &str) -> Error {
    let during = format!("the self-test of {kernel}");
    match error {
        Error::Device { why, .. } => Error::Device { during, why },
        Error::DeviceLost { why, .. } => Error::DeviceLost { during, why },
        other => other,
    }
}

/// The kernel in which a fault can be planted.
const CROSSED: &str = "attention_fwd";

/// Attention with the keys and values of another one: its twin is not.
struct Crossed<'a>(&'a dyn Op);

impl Op for Crossed<'_> {
    fn kernel(&self) -> &'static Kernel {
        self.0.kernel()
    }
    fn tensors(&self) -> Vec<&Tensor> {
        let mut tensors = self.0.tensors();
        tensors.swap(1, 2);
        tensors
    }
    fn params(&self) -> Vec<u8> {
        self.0.params()
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        self.0.dispatch(selection)
    }
    fn context(&self) -> Context {
        self.0.context()
    }
    fn work(&self) -> Work {
        self.0.work()
    }
    fn twin(&self, host: &mut HostBuffers) {
        self.0.twin(host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{GpuOptions, Policy};
    use crate::kernels::ALL;
    use pollster::block_on;

    fn open(policy: Policy) -> Gpu {
        let adapter = std::env::var("WGPU_LORA_DEVICE").ok();
        block_on(Gpu::with(GpuOptions { adapter, policy, ..Default::default() })).unwrap()
    }

    fn checked(gpu: &Gpu, of: &str, planted: Option<&str>) -> Vec<Check> {
        let others = ALL.iter().filter(|kernel| !kernel.name.starts_with(of));
        let mut met = others.flat_map(|k| gpu.caps().variants(&[k]).into_values()).collect();
        let mut checks = Vec::new();
        block_on(kernels(gpu, &mut met, planted, &mut |check| checks.push(check))).unwrap();
        checks
    }

    #[test]
    fn every_variant_that_data_can_ask_for_has_a_case() {
        let gpu = open(Policy::Auto);
        let mut listed: BTreeSet<String> = gpu.caps().variants(ALL).into_values().collect();
        let checks = checked(&gpu, "", None);
        assert!(checks.iter().all(|check| check.ok), "{checks:?}");
        listed.retain(|variant| checks.iter().all(|check| check.variant != *variant));
        // A mask that drops nothing is none, and blocks of quads are whole products.
        let none = |v: &String| v.contains("dropout[") || v.contains("[baseline+weight_nf4_quads");
        assert!(listed.iter().all(none), "{listed:?}");
        // What a list of variants leaves out.
        assert!(checks.iter().any(|check| check.variant.contains("branch_lora")), "{checks:?}");
    }

    #[test]
    fn a_driver_that_fails_is_named_with_the_kernel_and_another_call_goes_on() {
        let gpu = block_on(Gpu::with(GpuOptions { validate_only: true, ..Default::default() }));
        let gpu = gpu.unwrap();
        gpu.destroy();
        let mut met = BTreeSet::new();
        let fail = |met: &mut BTreeSet<String>| {
            let ran = block_on(kernels(&gpu, met, None, &mut |_| panic!("nothing was run")));
            ran.unwrap_err().to_string()
        };
        assert!(fail(&mut met).contains("the self-test of linear_fwd"));
        assert!(fail(&mut met).contains("the self-test of linear_few"));
    }

    #[test]
    fn a_planted_fault_is_found_and_nothing_else() {
        let gpu = open(Policy::Baseline);
        let checks = checked(&gpu, "attention_fwd", Some("baseline"));
        assert!(checks.iter().all(|check| !check.ok) && checks.len() == 1, "{checks:?}");
        assert!(checks[0].variant.starts_with("attention_fwd[baseline"), "{checks:?}");
        assert!(checked(&gpu, "attention_delta", Some("baseline")).iter().all(|check| check.ok));
    }
}
