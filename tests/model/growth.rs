//! What a device holds does not grow with the tokens and lengths it has seen. On wgpu's no-op
//! device: nothing is computed, but every buffer and bind group is made.

use crate::setup::*;
use wgpu_lora::gpu::{Gpu, GpuOptions};
use wgpu_lora::model::{Keep, KvCache, Model, Pass, Quant, SlotCache, SlotRow};

fn adapted() -> Model {
    let options = GpuOptions { validate_only: true, ..Default::default() };
    let gpu = block_on(Gpu::with(options)).unwrap();
    let mut model = load(&gpu, "tiny_a", Quant::Nf4);
    block_on(model.add_fresh_adapter("a", &adapter(3, &[]), 4)).unwrap();
    model
}

/// Bind groups, kernels, and bytes of tensors.
fn held(gpu: &Gpu) -> (usize, usize, u64) {
    (gpu.bind_groups(), gpu.kernels_made(), gpu.tensor_bytes())
}

#[test]
fn prompts_of_any_length_and_their_answers() {
    let model = adapted();
    let gpu = model.gpu();
    let space = model.workspace(Pass { batch: 1, queries: 40, targets: 1 }, None).unwrap();
    let mut cache = KvCache::new(gpu, model.config(), 1, 64).unwrap();
    let mut after = Vec::new();
    // Passes of one row, of few and of many differ in their kernels.
    for length in [1, 2, 3, 4, 5, 40].into_iter().chain(6..40) {
        cache.truncate(0);
        block_on(model.extend(&space, &mut cache, &ids(length, 1))).unwrap();
        for &id in &ids(20, 2) {
            block_on(model.extend(&space, &mut cache, &[id])).unwrap();
        }
        after.push(held(gpu));
    }
    assert!(after[0].0 > 20, "{after:?}");
    assert!(after[5..].iter().all(|held| *held == after[5]), "{after:?}");
}

#[test]
fn answers_side_by_side() {
    let model = adapted();
    let gpu = model.gpu();
    let space = model.workspace(Pass { batch: 6, queries: 1, targets: 6 }, None).unwrap();
    let prompt = model.workspace(Pass { batch: 1, queries: 3, targets: 1 }, None).unwrap();
    let mut slots = SlotCache::new(gpu, model.config(), 64).unwrap();
    block_on(model.prefill_slots(&prompt, &mut slots, &ids(3, 1), &[2])).unwrap();
    let mut after = Vec::new();
    for n in [6, 5, 4, 3, 2, 1].repeat(3) {
        slots.truncate(50);
        let row = |id| SlotRow { id, position: 3, before: vec![0, 1, 2] };
        let rows: Vec<_> = ids(n, 1).into_iter().map(row).collect();
        block_on(model.extend_slots(&space, &mut slots, &rows)).unwrap();
        after.push(held(gpu));
    }
    assert!(after[5..].iter().all(|held| *held == after[5]), "{after:?}");
}

#[test]
fn steps_over_rows_of_any_length() {
    for keep in [Keep::Full, Keep::Half, Keep::Recomputed] {
        let model = adapted();
        let gpu = model.gpu().clone();
        let mut trainer = trainer(model, options(keep));
        let mut after = Vec::new();
        for lengths in (2..=24).map(|n| [n, 24, 2]).collect::<Vec<_>>().repeat(2) {
            block_on(trainer.step(&[batch(&lengths, 1)])).unwrap();
            after.push(held(&gpu));
        }
        let settled = &after[after.len() / 2..];
        assert!(settled.iter().all(|held| *held == settled[0]), "{keep:?}: {after:?}");
    }
}
