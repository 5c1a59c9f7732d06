//! Few targets: the last block runs at their rows alone where the workspace is made for few, and at
//! all rows where it is made for many. Both ways give the same numbers.

use crate::setup::*;
use wgpu_lora::data::Batch;
use wgpu_lora::gpu::{Gpu, Policy};
use wgpu_lora::model::{Keep, KvCache, Model, Pass, Quant, SlotCache, Tensors};
use wgpu_lora::train::schedule::{Schedule, SchedulerType};
use wgpu_lora::train::trainer::Trainer;

const LENGTHS: [usize; 5] = [24, 9, 9, 17, 3];
const TOKENS: usize = 62;
/// Two of each sequence: its last tokens.
const TARGETS: usize = 10;
const QWEN2: &str = "../../golden_families/families/qwen2";

/// Sequences of `lengths` with those targets, in ids of every model here.
fn completions(lengths: &[usize]) -> Batch {
    let mut batch = Batch::default();
    for (row, &n) in lengths.iter().enumerate() {
        let ids: Vec<u32> = ids(n, row as u32).iter().map(|id| id % 96).collect();
        batch.push(row, &ids, n - 2..n);
    }
    batch
}

/// Room for few targets, then for many.
fn passes() -> [Pass; 2] {
    [TARGETS, TOKENS].map(|targets| Pass { batch: 1, queries: TOKENS, targets })
}

fn trainer(model: Model, keep: Keep, largest: Pass) -> Trainer {
    let schedule = Schedule::new(SchedulerType::Linear, 1e-2, 0, 10).unwrap();
    Trainer::new(model, schedule, options(keep), largest).unwrap()
}

/// A model with an adapter on these modules.
fn adapted(gpu: &Gpu, name: &str, modules: &[&str], dropout: f64, dora: bool) -> Model {
    let quant = if name == QWEN2 { Quant::None } else { Quant::Nf4 };
    let mut model = load(gpu, name, quant);
    let mut config = adapter(6, modules);
    (config.dropout, config.use_dora) = (dropout, dora);
    block_on(model.add_fresh_adapter("a", &config, 1)).unwrap();
    shake(&mut model);
    model
}

/// Flops of the products with weights while `work` runs, where the adapter has timestamps.
fn products<T>(gpu: &Gpu, work: impl FnOnce() -> T) -> (T, Option<u64>) {
    gpu.start_profile();
    let result = work();
    let rows = gpu.take_profile().map(|profile| profile.rows);
    let linear = |(name, _): &(String, _)| name.starts_with("linear_");
    (result, rows.map(|all| all.into_iter().filter(linear).map(|(_, row)| row.flops).sum()))
}

/// Asserts that the first took at most `most` of the products of the second.
fn is_less_work([few, all]: [Option<u64>; 2], most: f64) {
    if let (Some(few), Some(all)) = (few, all) {
        assert!((few as f64) < most * all as f64, "{few} of {all} flops");
    }
}

fn same_gradients(what: &str, [few, all]: [(f64, Tensors); 2]) {
    assert!((few.0 - all.0).abs() <= 1e-6 * all.0, "{what}: {} {}", few.0, all.0);
    for (key, (_, g)) in &few.1 {
        let most = all.1[key].1.iter().fold(0f32, |m, v| m.max(v.abs()));
        let error = difference(g, &all.1[key].1);
        assert!(error <= 2e-5 * most && most > 0.0, "{what} {key}: {error:e} of {most:e}");
    }
}

#[test]
fn losses_and_gradients_are_those_of_all_rows() {
    // Masks are of a selected row's own number, so where both ways must agree only k and v of the
    // last layer have any.
    let masked = ["layers.0.self_attn.q_proj", "layers.0.mlp.down_proj", "k_proj", "v_proj"];
    for policy in [Policy::Auto, Policy::Baseline, Policy::Prefer("workgroup".into())] {
        let gpu = open(policy, false);
        for (name, modules, dropout, dora, keep) in [
            ("tiny_a", &[] as &[&str], 0.0, false, Keep::Recomputed),
            ("tiny_a", &[], 0.0, true, Keep::Half),
            ("tiny_b", &[], 0.0, false, Keep::Full),
            ("tiny_b", &masked, 0.3, true, Keep::Recomputed),
            ("tiny_b", &["layers.1.self_attn.q_proj"], 0.0, false, Keep::Full),
            ("tiny_b", &["layers.0.mlp.up_proj"], 0.0, false, Keep::Half),
            (QWEN2, &[], 0.0, false, Keep::Half),
        ] {
            let (results, flops): (Vec<_>, Vec<_>) = passes()
                .into_iter()
                .map(|pass| {
                    let model = adapted(&gpu, name, modules, dropout, dora);
                    let mut trainer = trainer(model, keep, pass);
                    let window = [completions(&LENGTHS), completions(&[5, 12])];
                    products(&gpu, || block_on(trainer.gradients(&window)).unwrap())
                })
                .unzip();
            let what = format!("{name}, {modules:?}, dropout {dropout}, dora {dora}, {keep:?}");
            same_gradients(&what, results.try_into().unwrap());
            is_less_work(flops.try_into().unwrap(), 0.9);
        }
    }
}

#[test]
fn evaluation_and_logits_are_those_of_all_rows() {
    for policy in [Policy::Auto, Policy::Baseline] {
        let gpu = open(policy, false);
        for (name, dora) in [("tiny_a", false), ("tiny_b", true), (QWEN2, false)] {
            let model = adapted(&gpu, name, &[], 0.3, dora);
            let (batch, v) = (completions(&LENGTHS), model.config().vocab_size);
            let nll = passes().map(|pass| {
                let space = model.workspace(pass, None).unwrap();
                products(&gpu, || block_on(model.token_nll(&space, &batch)).unwrap())
            });
            let [(few, a), (all, b)] = nll;
            assert!(few.len() == TARGETS && difference(&few, &all) < 2e-5, "{few:?} {all:?}");
            is_less_work([a, b], 0.9);
            // Two prompts of 15 tokens: rows in any order, a prompt at once, behind a cache, into
            // slots.
            let prompts: Vec<u32> = ids(30, 1).iter().map(|id| id % 96).collect();
            let [few, all] = [2, 30].map(|targets| {
                let space = model.workspace(Pass { batch: 2, queries: 15, targets }, None).unwrap();
                let mut cache = KvCache::new(&gpu, model.config(), 2, 15).unwrap();
                let mut slots = SlotCache::new(&gpu, model.config(), 30).unwrap();
                let parts = [0..6, 6..15].map(|part| {
                    prompts.chunks(15).flat_map(|p| p[part.clone()].to_vec()).collect::<Vec<_>>()
                });
                [
                    block_on(model.logits(&space, &prompts, 2, &[23, 4])).unwrap(),
                    block_on(model.extend(&space, &mut cache, &parts[0])).unwrap(),
                    block_on(model.extend(&space, &mut cache, &parts[1])).unwrap(),
                    block_on(model.prefill_slots(&space, &mut slots, &prompts, &[14, 29])).unwrap(),
                ]
            });
            for (few, all) in few.iter().zip(&all) {
                assert_eq!(few.len(), 2 * v);
                assert!(difference(few, all) < 5e-5, "{name}: {}", difference(few, all));
            }
            assert!(difference(&few[2], &few[3]) < 5e-5, "{name}, cache and slots");
        }
    }
}
