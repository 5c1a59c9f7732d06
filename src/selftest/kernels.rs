//! Every kernel in every variant.

use std::collections::{BTreeMap, BTreeSet};

use super::check::{Check, Trial};
use crate::gpu::{Gpu, HostBuffers, Kernel, Op, Selection, Tensor, Work};
use crate::kernels::ALL;
use crate::kernels::cases::{CASES, Case, Inputs};
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
    for case in CASES {
        let kernel = ALL.iter().find(|kernel| kernel.name == case.kernel);
        let variants = kernel.map(|kernel| gpu.caps().variants(&[kernel])).unwrap_or_default();
        let due: BTreeSet<String> =
            variants.into_values().filter(|variant| !met.contains(variant)).collect();
        if due.is_empty() {
            continue;
        }
        match worst(gpu, case, &due, planted).await {
            Ok(checks) => {
                met.extend(checks.keys().cloned());
                checks.into_values().for_each(&mut *tell);
            }
            Err(error) => {
                met.extend(due);
                return Err(at_kernel(error, case.kernel));
            }
        }
    }
    Ok(())
}

/// The worst check of each variant that is due.
async fn worst(
    gpu: &Gpu,
    case: &Case,
    due: &BTreeSet<String>,
    planted: Option<&str>,
) -> Result<BTreeMap<String, Check>> {
    let mut worst: BTreeMap<String, Check> = BTreeMap::new();
    for size in case.sizes_of_every_body() {
        let inputs = Inputs::new(gpu).with_half(true);
        let mut trials = Vec::new();
        (case.run)(&inputs, size, &mut |op| {
            let selection = gpu.caps().select(op.kernel(), &op.roles())?;
            let variant = selection.name();
            if !due.contains(&variant) {
                return Ok(());
            }
            let crossed = Crossed(op);
            let is_planted = planted == Some(selection.body.name) && case.kernel == CROSSED;
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
    fn roles(&self) -> Vec<(&'static str, &'static str)> {
        self.0.roles()
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
    use pollster::block_on;

    fn checked(planted: Option<&str>) -> Vec<Check> {
        let adapter = std::env::var("WGPU_LORA_DEVICE").ok();
        let options = GpuOptions { adapter, policy: Policy::Baseline, ..Default::default() };
        let gpu = block_on(Gpu::with(options)).unwrap();
        let others = ALL.iter().filter(|kernel| !kernel.name.starts_with("attention_"));
        let mut met = others.flat_map(|k| gpu.caps().variants(&[k]).into_values()).collect();
        let mut checks = Vec::new();
        block_on(kernels(&gpu, &mut met, planted, &mut |check| checks.push(check))).unwrap();
        let all: BTreeSet<String> = gpu.caps().variants(ALL).into_values().collect();
        assert_eq!(met, all, "variants without a case");
        checks
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
        assert!(checked(None).iter().all(|check| check.ok));
        let wrong: Vec<Check> = checked(Some("baseline")).into_iter().filter(|c| !c.ok).collect();
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].variant.starts_with("attention_fwd[baseline"), "{wrong:?}");
    }
}
