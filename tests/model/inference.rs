//! Forward passes: cached and whole, several adapters, and what is refused.

use crate::setup::*;
use wgpu_lora::Error;
use wgpu_lora::gpu::Policy;
use wgpu_lora::model::{KvCache, Model, Pass, Quant};

fn pass(batch: usize, queries: usize) -> Pass {
    Pass { batch, queries, targets: batch * queries }
}

/// Logits at the last position of each sequence, without a cache.
fn whole(model: &Model, ids: &[u32], batch: usize) -> Vec<f32> {
    let t = ids.len() / batch;
    let space = model.workspace(pass(batch, t), None).unwrap();
    let last: Vec<u32> = (1..=batch).map(|b| (b * t - 1) as u32).collect();
    block_on(model.logits(&space, ids, batch, &last)).unwrap()
}

#[test]
fn a_cache_gives_the_logits_of_the_whole_pass() {
    for policy in [Policy::Auto, Policy::Baseline] {
        let gpu = open(policy, false);
        for (name, quant) in [("tiny_a", Quant::Nf4), ("tiny_b", Quant::None)] {
            let mut model = load(&gpu, name, quant);
            block_on(model.add_fresh_adapter("a", &adapter(3, &[]), 4)).unwrap();
            let (rows, t) = (2, 11);
            let sequences: Vec<Vec<u32>> = (0..rows).map(|b| ids(t, b as u32)).collect();
            // A long piece, one token, a short piece, single tokens.
            for pieces in [&[11usize] as &[usize], &[1, 1, 9], &[6, 1, 3, 1]] {
                let space = model.workspace(pass(rows, t), None).unwrap();
                let mut cache = KvCache::new(&gpu, model.config(), rows, 16).unwrap();
                let mut at = 0;
                for &n in pieces {
                    let piece: Vec<u32> =
                        sequences.iter().flat_map(|ids| ids[at..at + n].to_vec()).collect();
                    at += n;
                    let got = block_on(model.extend(&space, &mut cache, &piece)).unwrap();
                    let until: Vec<u32> =
                        sequences.iter().flat_map(|ids| ids[..at].to_vec()).collect();
                    let error = difference(&got, &whole(&model, &until, rows));
                    assert!(error < 5e-5, "{name} {pieces:?}, {at} tokens: {error}");
                }
                // Going back and on along another way.
                cache.truncate(2);
                let piece: Vec<u32> = sequences.iter().map(|ids| ids[2]).collect();
                let got = block_on(model.extend(&space, &mut cache, &piece)).unwrap();
                let until: Vec<u32> = sequences.iter().flat_map(|ids| ids[..3].to_vec()).collect();
                assert!(difference(&got, &whole(&model, &until, rows)) < 5e-5);
            }
        }
    }
}

#[test]
fn one_token_is_a_sequence() {
    let gpu = gpu();
    let model = load(&gpu, "tiny_b", Quant::Nf4);
    let logits = whole(&model, &[17], 1);
    assert_eq!(logits.len(), model.config().vocab_size);
    assert!(logits.iter().all(|v| v.is_finite()));
}

#[test]
fn adapters_are_chosen_by_name_and_none_is_the_base() {
    let gpu = gpu();
    let mut model = load(&gpu, "tiny_a", Quant::Nf4);
    let ids = ids(9, 3);
    let base = whole(&model, &ids, 1);
    for (name, rank) in [("small", 2), ("large", 9)] {
        block_on(model.add_fresh_adapter(name, &adapter(rank, &[]), 4)).unwrap();
        // B is zero in a new adapter.
        assert_eq!(difference(&whole(&model, &ids, 1), &base), 0.0);
        let mut file = block_on(model.adapter().unwrap().to_file(&gpu)).unwrap();
        for (key, (_, values)) in &mut file.tensors {
            if key.contains("lora_B") {
                values.fill(0.01 * rank as f32);
            }
        }
        block_on(model.add_adapter(name, &file)).unwrap();
    }
    let large = whole(&model, &ids, 1);
    model.set_adapter(Some("small")).unwrap();
    let small = whole(&model, &ids, 1);
    assert!(difference(&large, &base) > 1e-3 && difference(&small, &large) > 1e-3);
    model.set_adapter(None).unwrap();
    assert_eq!(difference(&whole(&model, &ids, 1), &base), 0.0);
    model.set_adapter(Some("large")).unwrap();
    assert_eq!(difference(&whole(&model, &ids, 1), &large), 0.0);
    let error = model.set_adapter(Some("medium")).unwrap_err().to_string();
    assert!(error.contains("medium") && error.contains("small"), "{error}");
}

#[test]
fn foreign_ids_lengths_and_adapters_are_refused() {
    let gpu = gpu();
    let mut model = load(&gpu, "tiny_a", Quant::Nf4);
    let space = model.workspace(pass(1, 64), None).unwrap();
    let logits = |ids: &[u32]| block_on(model.logits(&space, ids, 1, &[0])).unwrap_err();
    let error = logits(&[5, 512]);
    assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains("512"), "{error}");
    assert!(matches!(logits(&[]), Error::Invalid { .. }));
    // More than the rotary tables and the workspace serve.
    assert!(matches!(logits(&[7; 65]), Error::Invalid { .. }));
    let mut cache = KvCache::new(&gpu, model.config(), 1, 3).unwrap();
    let error = block_on(model.extend(&space, &mut cache, &[7; 4])).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    let mut other = load(&gpu, "tiny_b", Quant::Nf4);
    block_on(other.add_fresh_adapter("b", &adapter(2, &[]), 0)).unwrap();
    let file = block_on(other.adapter().unwrap().to_file(&gpu)).unwrap();
    let error = block_on(model.add_adapter("b", &file)).unwrap_err();
    assert!(error.to_string().contains("another model"), "{error}");
    let error = block_on(model.add_fresh_adapter("c", &adapter(2, &["w_proj"]), 0)).unwrap_err();
    assert!(
        error.to_string().contains("w_proj") || error.to_string().contains("q_proj"),
        "{error}"
    );
}
