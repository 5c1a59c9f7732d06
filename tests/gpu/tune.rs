//! Choices of bodies: which are run, and that what is measured on a device passes there.

use crate::harness::difference_to_twin;
use libtest_mimic::{Failed, Trial};
use std::time::Duration;
use wgpu_lora::gpu::{Choices, Gpu, GpuOptions, Origin, Policy, Tuning};
use wgpu_lora::kernels::cases::Inputs;
use wgpu_lora::kernels::{ALL, cases, tune};

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("tune::choices_run_where_the_device_can", choices),
        Trial::test("tune::what_is_measured_passes", measured),
    ]
}

fn open(options: GpuOptions) -> Gpu {
    pollster::block_on(Gpu::with(options)).expect("a device")
}

const CONTEXT: &str = "linear_fwd weight_nf4_quads aligned";

/// What a device without a driver runs for [`CONTEXT`], where `body` is to be chosen.
fn runs(policy: Policy, body: &str) -> String {
    let bodies = [(CONTEXT.to_owned(), body.to_owned())].into();
    let tuning = Tuning::Given(Choices { origin: Origin::Tuned, bodies });
    let gpu = open(GpuOptions { policy, tuning, validate_only: true, ..Default::default() });
    gpu.caps().variants(ALL)[CONTEXT].split(['[', '+']).nth(1).unwrap().to_owned()
}

fn choices() -> Result<(), Failed> {
    let shipped = runs(Policy::Auto, "");
    assert_ne!(shipped, "tile");
    assert_eq!(runs(Policy::Auto, "tile"), "tile");
    assert_eq!(runs(Policy::Auto, "vec"), shipped, "a body for few rows");
    assert_eq!(runs(Policy::Auto, "of another version"), shipped);
    assert_eq!(runs(Policy::Baseline, "tile"), runs(Policy::Baseline, ""));
    assert_eq!(runs(Policy::Prefer("workgroup".into()), "tile"), "workgroup");
    Ok(())
}

fn measured() -> Result<(), Failed> {
    let adapter = std::env::var("WGPU_LORA_DEVICE").ok();
    let tuning = Tuning::Measuring;
    let gpu = open(GpuOptions { adapter: adapter.clone(), tuning, ..Default::default() });
    let mut budget = Duration::from_secs(6);
    let mut tuned = tune(&gpu, Duration::ZERO)?;
    assert!(tuned.contests.is_empty() && tuned.left_out > 4, "{tuned:?}");
    // A machine that runs other tests too may need more.
    while tuned.contests.is_empty() && tuned.left_out > 0 {
        tuned = tune(&gpu, budget)?;
        budget *= 2;
    }
    assert!(tuned.wrong.is_empty(), "{tuned:?}");
    // An adapter may have one body for each product; llvmpipe with subgroups of 8 has rivals.
    let none = tuned.contests.is_empty();
    assert!(!(none && gpu.caps().subgroup() == Some(8)), "{tuned:?}");
    assert!(none || tuned.contests.len() + tuned.left_out > 4, "{tuned:?}");
    drop(gpu);

    // Every body that took part, as if it had won.
    let most = tuned.contests.iter().map(|contest| contest.bodies.len()).max().unwrap_or(0);
    for place in 0..most {
        let chosen = |c: &wgpu_lora::kernels::Contest| {
            Some((c.context.clone(), (*c.bodies.get(place)?).to_owned()))
        };
        let bodies = tuned.contests.iter().filter_map(chosen).collect();
        let tuning = Tuning::Given(Choices { origin: Origin::Tuned, bodies });
        let gpu = open(GpuOptions { adapter: adapter.clone(), tuning, ..Default::default() });
        let variants = gpu.caps().variants(ALL);
        for (context, body) in &gpu.caps().choices.bodies {
            assert!(variants[context].contains(&format!("[{body}+")), "{context}: {body}");
        }
        let inputs = Inputs::new(&gpu);
        for case in cases().filter(|case| case.kernel.name.starts_with("linear_")) {
            let [m, n, k] = case.small[0];
            for size in [[m, n, k], [1, n, k]] {
                (case.run)(&inputs, size, &mut |op| {
                    let error = difference_to_twin(&gpu, op)?;
                    assert!(error <= op.bound(), "{}: {error:e}", op.kernel().name);
                    Ok(())
                })?;
            }
        }
    }
    Ok(())
}
