//! Prompts of different lengths and branches behind them, in one pass each: what whole passes give.

use crate::setup::*;
use wgpu_lora::Error;
use wgpu_lora::data::Batch;
use wgpu_lora::gpu::Policy;
use wgpu_lora::model::{Model, Pass, Quant, SlotCache, SlotRow};

/// Logits after the last token of one sequence, without any cache.
fn whole(model: &Model, ids: &[u32]) -> Vec<f32> {
    let pass = Pass { batch: 1, queries: ids.len(), targets: 1 };
    let space = model.workspace(pass, None).unwrap();
    block_on(model.logits(&space, ids, 1, &[ids.len() as u32 - 1])).unwrap()
}

#[test]
fn ragged_prompts_and_their_branches_give_the_logits_of_whole_passes() {
    for policy in [Policy::Auto, Policy::Baseline] {
        let gpu = open(policy, false);
        for (name, quant) in [("tiny_a", Quant::Nf4), ("tiny_b", Quant::None)] {
            let mut model = load(&gpu, name, quant);
            block_on(model.add_fresh_adapter("a", &adapter(3, &[]), 4)).unwrap();
            let v = model.config().vocab_size;
            let prompts: Vec<Vec<u32>> = [11, 3, 7].iter().map(|&n| ids(n, n as u32)).collect();
            let (batch, t) = (prompts.len(), 11);
            let mut slots = SlotCache::new(&gpu, model.config(), 48).unwrap();
            let pass = Pass { batch, queries: t, targets: 8 };
            let space = model.workspace(pass, None).unwrap();
            let pad =
                |p: &Vec<u32>| p.iter().copied().chain(std::iter::repeat(0)).take(t).collect();
            let padded: Vec<u32> = prompts.iter().flat_map(|p| -> Vec<u32> { pad(p) }).collect();
            let last: Vec<u32> =
                prompts.iter().enumerate().map(|(b, p)| (b * t + p.len() - 1) as u32).collect();
            let got = block_on(model.prefill_slots(&space, &mut slots, &padded, &last)).unwrap();
            for (b, prompt) in prompts.iter().enumerate() {
                let error = difference(&got[b * v..][..v], &whole(&model, prompt));
                assert!(error < 5e-5, "{name}, prompt {b}: {error}");
            }
            // End to end, without padding.
            let mut batch = Batch::default();
            prompts.iter().enumerate().for_each(|(b, prompt)| batch.push(b, prompt, []));
            let mut unpadded = SlotCache::new(&gpu, model.config(), 48).unwrap();
            let (ids, segments) = (&batch.ids, &batch.segments);
            let ends = block_on(model.prefill_segments(&space, &mut unpadded, ids, segments));
            let ends = ends.unwrap();
            for (b, prompt) in prompts.iter().enumerate() {
                let error = difference(&ends[b * v..][..v], &whole(&model, prompt));
                assert!(error < 5e-5, "{name}, prompt {b} unpadded: {error}");
            }
            // Two branches behind the first prompt, one behind the last, then one behind a branch.
            let own = |b: usize| -> Vec<u32> {
                (0..prompts[b].len()).map(|i| (b * t + i) as u32).collect()
            };
            let row = |b: usize, id: u32, behind: &[u32]| {
                let before: Vec<u32> = own(b).into_iter().chain(behind.iter().copied()).collect();
                SlotRow { id, position: before.len() as u32, before }
            };
            let rows = [row(0, 5, &[]), row(0, 6, &[]), row(2, 7, &[])];
            let first = slots.used() as u32;
            let got = block_on(model.extend_slots(&space, &mut slots, &rows)).unwrap();
            let more = [row(0, 9, &[first + 1]), row(2, 8, &[first + 2])];
            let deeper = block_on(model.extend_slots(&space, &mut slots, &more)).unwrap();
            let expected: [(&[f32], usize, usize, &[u32]); 5] = [
                (&got, 0, 0, &[5]),
                (&got, 1, 0, &[6]),
                (&got, 2, 2, &[7]),
                (&deeper, 0, 0, &[6, 9]),
                (&deeper, 1, 2, &[7, 8]),
            ];
            for (logits, i, b, behind) in expected {
                let sequence: Vec<u32> = prompts[b].iter().chain(behind).copied().collect();
                let error = difference(&logits[i * v..][..v], &whole(&model, &sequence));
                assert!(error < 5e-5, "{name}, prompt {b} and {behind:?}: {error}");
            }
        }
    }
}

#[test]
fn slots_that_hold_nothing_and_too_many_tokens_are_refused() {
    let gpu = gpu();
    let model = load(&gpu, "tiny_a", Quant::Nf4);
    let mut slots = SlotCache::new(&gpu, model.config(), 4).unwrap();
    let pass = Pass { batch: 1, queries: 8, targets: 8 };
    let space = model.workspace(pass, None).unwrap();
    let error = block_on(model.prefill_slots(&space, &mut slots, &[7; 5], &[4])).unwrap_err();
    assert!(
        matches!(error, Error::Invalid { .. }) && error.to_string().contains("5 tokens"),
        "{error}"
    );
    block_on(model.prefill_slots(&space, &mut slots, &[7; 3], &[2])).unwrap();
    let row = |before: &[u32]| SlotRow { id: 3, position: 3, before: before.to_vec() };
    let error = block_on(model.extend_slots(&space, &mut slots, &[row(&[0, 3])])).unwrap_err();
    assert!(error.to_string().contains("slot 3"), "{error}");
    let good = block_on(model.extend_slots(&space, &mut slots, &[row(&[0, 1, 2])])).unwrap();
    assert_eq!((slots.used(), good.len()), (4, model.config().vocab_size));
    slots.truncate(3);
    let again = block_on(model.extend_slots(&space, &mut slots, &[row(&[0, 1, 2])])).unwrap();
    assert_eq!(good, again);
}
