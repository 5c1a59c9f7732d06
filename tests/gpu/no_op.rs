//! Level 1: pipelines, layouts, bind groups and dispatches of every case on wgpu's no-op device,
//! whose limits are WebGPU's defaults under the baseline policy. No driver is needed, nothing is
//! computed.

use crate::harness::{Case, devices};
use libtest_mimic::{Failed, Trial};
use std::sync::Arc;
use wgpu_lora::gpu::{Gpu, GpuOptions, Op, Policy};
use wgpu_lora::kernels::Add;
use wgpu_lora::{Error, Result};

fn open(policy: Policy) -> Result<Gpu> {
    let options = GpuOptions { policy, validate_only: true, ..Default::default() };
    pollster::block_on(Gpu::with(options))
}

/// The cases, then how errors come out.
pub fn trials(families: &[Vec<Case>]) -> Vec<Trial> {
    let gpus = Arc::new(devices(|policy| open(policy).expect("no driver is needed")));
    let case = |case: &Case| {
        let (gpus, case) = (gpus.clone(), case.clone());
        Trial::test(format!("no_op::{}", case.name()), move || {
            for gpu in gpus.iter() {
                let mut record = |op: &dyn Op, _: &[&dyn Op]| {
                    let mut rec = gpu.recorder("validation");
                    let done = rec.record(op).and_then(|()| rec.submit());
                    done.map_err(|e| format!("{:?}: {e}", gpu.caps().policy))
                };
                (case.body)(gpu, &case.sizes, &mut record).map_err(Failed::from)?;
            }
            Ok(())
        })
    };
    let mut all: Vec<Trial> = families.iter().flatten().map(case).collect();
    all.push(Trial::test("no_op::shapes_that_disagree_are_a_typed_error", shapes));
    all.push(Trial::test("no_op::what_the_limits_forbid_is_a_typed_error", limits));
    all
}

fn shapes() -> Result<(), Failed> {
    let gpu = open(Policy::Baseline)?;
    let (x, y) = (gpu.zeros("x", &[4, 8])?, gpu.zeros("y", &[4, 9])?);
    match gpu.recorder("test").record(&Add { x: &x, y: &y }) {
        Err(Error::Shape { .. }) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn limits() -> Result<(), Failed> {
    let gpu = open(Policy::Baseline)?;
    // WebGPU promises bindings of 128 MiB.
    match gpu.zeros("too large", &[(128 << 20) / 4 + 1]) {
        Err(Error::OutOfMemory { .. }) => Ok(()),
        other => Err(format!("{:?}", other.map(|t| t.bytes())).into()),
    }
}
