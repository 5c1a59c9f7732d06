//! What the browser's tab does, natively: the self-test, and training without a folder.

use crate::setup::*;
use std::collections::BTreeSet;
use wgpu_lora::data::{Dataset, DatasetOptions, Encode};
use wgpu_lora::gpu::{Gpu, Policy};
use wgpu_lora::kernels::ALL;
use wgpu_lora::model::{Model, Quant};
use wgpu_lora::selftest::{self, Check, Scope};
use wgpu_lora::train::config::{TargetModules, TrainConfig};
use wgpu_lora::train::in_memory::InMemoryRun;
use wgpu_lora::train::run::{Run, Start};

/// A token for each byte, within the vocabulary of `tiny_a`.
struct Bytes;

impl Encode for Bytes {
    fn encode(&self, text: &str) -> wgpu_lora::Result<Vec<u32>> {
        Ok(text.bytes().map(u32::from).collect())
    }
    fn eos(&self) -> Option<u32> {
        Some(2)
    }
}

fn rows() -> Dataset {
    let text = b"{\"prompt\": \"a lamp costs \", \"completion\": \"30\"}\n{\"prompt\": \"a pen \", \"completion\": \"2\"}\n\
                 {\"prompt\": \"a chair costs \", \"completion\": \"80\"}\n";
    Dataset::from_text("rows.jsonl", text, &Bytes, &DatasetOptions::default()).unwrap()
}

fn config() -> TrainConfig {
    TrainConfig {
        model: "tiny_a".into(),
        data: vec!["rows".into()],
        rank: 4,
        lora_dropout: 0.1,
        target_modules: TargetModules::all_linear(),
        max_steps: Some(3),
        batch_size: 2,
        gradient_accumulation_steps: 1,
        learning_rate: 1e-2,
        warmup_steps: 1,
        ..TrainConfig::default()
    }
}

fn test(gpu: &Gpu, model: &mut Model, scope: Scope) -> Vec<Check> {
    let checks = block_on(selftest::run(gpu, model, scope)).unwrap();
    selftest::require(&checks).unwrap();
    checks
}

fn kernels(checks: &[Check]) -> BTreeSet<&str> {
    checks.iter().filter_map(|check| check.variant.split('[').next()).collect()
}

#[test]
fn the_self_test_meets_every_kernel_and_they_agree_with_their_twins() {
    // Not those that only measure a device.
    let needed = |name: &&str| !name.starts_with("ceiling");
    for policy in [Policy::Auto, Policy::Baseline] {
        let gpu = open(policy, false);
        let mut model = load(&gpu, "tiny_a", Quant::Nf4);
        let mut both = |scope| test(&gpu, &mut model, scope);
        let checks = [both(Scope::Answer), both(Scope::Rest)].concat();
        // It has no biases, its adapters no tensor of so many elements that their state is coded,
        // and a page's loss knows no numbers.
        let others = ["add_bias", "adamw8bit", "soft_target", "crps", "add_entries"];
        let its = |name: &&str| needed(name) && !others.contains(name);
        let all = ALL.iter().map(|kernel| kernel.name).filter(its).collect();
        assert_eq!(kernels(&checks), all);
        assert!(checks.iter().any(|check| check.error > 0.0), "nothing was computed");
        // Only the storages that the model has, one and many rows where they differ.
        assert!(!checks.iter().any(|check| check.variant.contains("weight_f16")));
    }
}

#[test]
fn an_answer_needs_what_its_model_and_adapter_do() {
    let gpu = gpu();
    let mut qwen2 = load(&gpu, "../../golden_families/families/qwen2", Quant::None);
    let checks = test(&gpu, &mut qwen2, Scope::Answer);
    for kernel in ["add_bias", "rope_append", "attention_decode", "attention_gather"] {
        assert!(kernels(&checks).contains(kernel), "{kernel}");
    }
    assert!(!kernels(&checks).contains("lora_down"));
    block_on(qwen2.add_fresh_adapter("a", &adapter(4, &[]), 1)).unwrap();
    assert!(kernels(&test(&gpu, &mut qwen2, Scope::Answer)).contains("lora_down"));
    assert_eq!(qwen2.active_adapter_name(), Some("a"));
}

#[test]
fn a_dora_adapter_moves_its_kernels_to_the_answer() {
    let gpu = gpu();
    let mut model = load(&gpu, "tiny_a", Quant::Nf4);
    let has_dora = |checks: Vec<Check>| checks.iter().any(|c| c.variant.starts_with("dora_norm["));
    assert!(!has_dora(test(&gpu, &mut model, Scope::Answer)));
    let mut config = adapter(4, &[]);
    config.use_dora = true;
    block_on(model.add_fresh_adapter("a", &config, 1)).unwrap();
    assert!(has_dora(test(&gpu, &mut model, Scope::Answer)));
}

#[test]
fn a_run_in_memory_gives_the_adapter_of_a_run_in_a_folder_bit_by_bit() {
    let gpu = gpu();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let model = load(&gpu, "tiny_a", Quant::Nf4);
    let mut run = block_on(Run::new(model, rows(), None, config(), &out, Start::Fresh)).unwrap();
    while block_on(run.next()).unwrap().is_some() {}
    let expected = block_on(run.model().adapter().unwrap().to_file(&gpu)).unwrap();

    let model = load(&gpu, "tiny_a", Quant::Nf4);
    let mut run = block_on(InMemoryRun::new(model, "mine", rows(), &config())).unwrap();
    assert_eq!(run.total_steps(), 3);
    let mut losses = Vec::new();
    while let Some(line) = block_on(run.next()).unwrap() {
        losses.push(line.loss);
    }
    let (model, adapter) = block_on(run.finish()).unwrap();
    assert_eq!(losses.len(), 3);
    assert_eq!(adapter, expected);
    assert_eq!(model.active_adapter_name(), Some("mine"));
    assert!(adapter.tensors.iter().any(|(k, (_, v))| k.contains("lora_B") && v[0] != 0.0));
}

#[test]
fn the_model_survives_a_run_that_cannot_begin() {
    let gpu = gpu();
    let model = load(&gpu, "tiny_a", Quant::Nf4);
    let bytes = model.weight_bytes();
    let wrong = TrainConfig { learning_rate: -1.0, ..config() };
    let refused = block_on(InMemoryRun::new(model, "mine", rows(), &wrong)).err().unwrap();
    assert!(refused.error.to_string().contains("learning_rate"), "{}", refused.error);
    // What only a run in a folder does.
    let wrong = TrainConfig { eval_steps: Some(2), ..config() };
    let refused = block_on(InMemoryRun::new(refused.model, "mine", rows(), &wrong)).err().unwrap();
    assert!(refused.error.to_string().contains("eval_steps"), "{}", refused.error);
    assert_eq!(refused.model.weight_bytes(), bytes);
}

#[test]
fn the_scale_reaches_from_the_base_model_to_beyond_the_adapter() {
    let gpu = gpu();
    let mut model = load(&gpu, "tiny_a", Quant::Nf4);
    let (prompt, pass) = (ids(9, 1), wgpu_lora::model::Pass { batch: 1, queries: 9, targets: 1 });
    let logits = |model: &Model| {
        let space = model.workspace(pass, None).unwrap();
        block_on(model.logits(&space, &prompt, 1, &[8])).unwrap()
    };
    let base = logits(&model);
    for dora in [false, true] {
        let mut config = adapter(4, &[]);
        config.use_dora = dora;
        block_on(model.add_fresh_adapter("a", &config, 1)).unwrap();
        let mut file = block_on(model.adapter().unwrap().to_file(&gpu)).unwrap();
        for (key, (_, values)) in &mut file.tensors {
            if key.contains("lora_B") {
                values.iter_mut().enumerate().for_each(|(i, v)| *v = (i % 7) as f32 * 0.01);
            }
        }
        block_on(model.add_adapter("a", &file)).unwrap();
        let (full, away) = (logits(&model), |l: &[f32]| difference(l, &base));
        block_on(model.set_adapter_scale("a", 0.0)).unwrap();
        assert!(away(&logits(&model)) < 1e-4, "scale 0 is not the base model, dora {dora}");
        block_on(model.set_adapter_scale("a", 2.0)).unwrap();
        assert!(away(&logits(&model)) > away(&full) && away(&full) > 1e-3, "dora {dora}");
        block_on(model.set_adapter_scale("a", 1.0)).unwrap();
        assert_eq!(logits(&model), full);
        assert!(block_on(model.set_adapter_scale("b", 1.0)).is_err());
    }
}
