//! A body that reads its operands from images gives, bit for bit, what it gives with storage
//! buffers.

use crate::harness::Case;
use libtest_mimic::{Failed, Trial};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use wgpu_lora::gpu::{Gpu, GpuOptions, Op, Policy};
use wgpu_lora::kernels;

fn open(policy: &str) -> Result<Gpu, Failed> {
    let policy = Policy::named(policy, kernels::ALL)?;
    let adapter = std::env::var("WGPU_LORA_DEVICE").ok();
    let options = GpuOptions { policy, adapter, ..Default::default() };
    Ok(pollster::block_on(Gpu::with(options))?)
}

/// The variants of a case's operations that read from images.
fn reading(gpu: &Gpu, case: &Case) -> Result<BTreeSet<String>, Failed> {
    let mut names = BTreeSet::new();
    let mut note = |op: &dyn Op, _: &[&dyn Op]| {
        let selection = gpu.caps().select(op.kernel(), &op.context()).map_err(|e| e.to_string())?;
        names.extend(selection.images.then(|| selection.name()));
        Ok(())
    };
    (case.body)(gpu, &case.sizes, &mut note)?;
    Ok(names)
}

/// What the operations of a case write.
fn written(gpu: &Gpu, case: &Case) -> Result<Vec<Vec<u32>>, Failed> {
    let mut all = Vec::new();
    let mut run = |op: &dyn Op, _: &[&dyn Op]| {
        let mut rec = gpu.recorder("test");
        let recorded = rec.record(op).and_then(|()| rec.submit());
        recorded.map_err(|e| e.to_string())?;
        for (tensor, (_, access)) in op.tensors().iter().zip(op.kernel().bindings) {
            if access.writes() {
                let words = pollster::block_on(gpu.read_words(tensor));
                all.push(words.map_err(|e| e.to_string())?);
            }
        }
        Ok(())
    };
    (case.body)(gpu, &case.sizes, &mut run)?;
    Ok(all)
}

/// Of these cases, the largest first, those that meet a variant for the first time.
fn compare(mut cases: Vec<Case>) -> Result<(), Failed> {
    cases.sort_by_key(|case| Reverse(case.sizes.iter().take(3).product::<usize>()));
    let (images, buffers) = (open("images")?, open("buffers")?);
    let mut met = BTreeSet::new();
    for case in cases {
        let names = reading(&images, &case)?;
        if names.is_subset(&met) {
            continue;
        }
        if written(&images, &case)? != written(&buffers, &case)? {
            return Err(format!("{}: {names:?} differs", case.name()).into());
        }
        met.extend(names);
    }
    println!("{met:?}");
    Ok(())
}

/// A trial for each kernel with such bodies.
pub fn trials(families: &[Vec<Case>]) -> Vec<Trial> {
    let kernels = kernels::ALL.iter().filter(|k| k.bodies.iter().any(|b| !b.images.is_empty()));
    let trial = |name: &'static str| {
        let of = |case: &&Case| case.kernel.split("::").next() == Some(name);
        let cases = families.iter().flatten().filter(of);
        let cases: Vec<Case> = cases.cloned().collect();
        Trial::test(format!("images::{name}"), move || compare(cases))
    };
    kernels.map(|kernel| trial(kernel.name)).collect()
}
