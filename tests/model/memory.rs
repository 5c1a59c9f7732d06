//! The plan says what is allocated: to the byte of the tensors, and within 5 % of wgpu's own
//! report.

use crate::setup::*;
use wgpu_lora::Error;
use wgpu_lora::data::soft::SoftRow;
use wgpu_lora::format::{Checkpoint, ModelConfig};
use wgpu_lora::gpu::{Gpu, PARAMS_BYTES};
use wgpu_lora::model::{LoadOptions, MemoryPlan, Model, Pass, Quant};
use wgpu_lora::train::config::{Checkpointing, Optim, TargetModules, TrainConfig};
use wgpu_lora::train::memory::{KERNELS, Limits, RunPlan};
use wgpu_lora::train::plan::LargestBatch;
use wgpu_lora::train::schedule::{Schedule, SchedulerType};
use wgpu_lora::train::trainer::{Trainer, TrainerOptions};

/// Plans from the configuration, then does it and counts.
fn compare(name: &str, quant: Quant, pass: Pass, settings: &TrainConfig) -> (Gpu, MemoryPlan) {
    let gpu = gpu();
    let checkpoint = Checkpoint::open(folder(name)).unwrap();
    let config = ModelConfig::from_dir(folder(name)).unwrap();
    let options = LoadOptions { quant, max_positions: pass.queries };
    let weights = MemoryPlan::weights(&config, Some(&checkpoint), options).unwrap();
    let limits = Limits::of(&gpu);
    let plan = RunPlan::new(&weights, &config, settings, pass, limits).unwrap();
    plan.check().unwrap();

    let mut silent = |_, _| {};
    let load = Model::load(&gpu, &checkpoint, &config, options, &mut silent);
    let mut model = block_on(load).unwrap();
    assert_eq!(gpu.tensor_bytes(), weights.total(), "weights of {name}, {quant:?}");
    block_on(model.add_fresh_adapter("a", &settings.adapter_config(), 1)).unwrap();
    let schedule = Schedule::new(SchedulerType::Linear, 1e-3, 0, 10).unwrap();
    let options = TrainerOptions::of(settings, plan.keep);
    let mut trainer = Trainer::new(model, schedule, options, pass).unwrap();
    let planned = plan.memory.total() - plan.memory.images - PARAMS_BYTES;
    assert_eq!(gpu.tensor_bytes(), planned, "{name}, {quant:?}, {settings:?}");
    let masked = pass.queries - pass.targets / pass.batch;
    let rows = batch(&vec![pass.queries; pass.batch], masked);
    assert_eq!(rows.targets.len(), pass.targets);
    block_on(trainer.step(&[rows])).unwrap();
    assert_eq!(gpu.tensor_bytes(), planned, "a step allocates");
    let (images, planned) = (gpu.image_bytes(), plan.memory.images);
    assert!(images <= planned, "{images} bytes of images, planned {planned}");
    drop(trainer);
    assert_eq!(gpu.tensor_bytes(), 0, "all is given back");
    (gpu, plan.memory)
}

fn settings(rank: usize, modules: &str, checkpointing: Checkpointing) -> TrainConfig {
    TrainConfig {
        rank,
        target_modules: TargetModules::new([modules]),
        gradient_checkpointing: checkpointing,
        ..TrainConfig::default()
    }
}

#[test]
fn the_plan_counts_every_tensor_of_a_run() {
    let pass = |batch, queries| Pass { batch, queries, targets: batch * (queries - 1) };
    let few = settings(8, "q_proj,v_proj", Checkpointing::On);
    let all = settings(5, "all-linear", Checkpointing::Off);
    compare("tiny_a", Quant::Nf4, pass(2, 24), &few);
    compare("tiny_a", Quant::Nf4Single, pass(1, 7), &all);
    compare("tiny_b", Quant::Nf4, pass(3, 11), &all);
    compare("tiny_b", Quant::None, pass(1, 64), &few);
    compare("tiny_a", Quant::Nf4, Pass { targets: 4, ..pass(2, 24) }, &few);
    let dora = TrainConfig { use_dora: true, ..all };
    compare("tiny_b", Quant::Nf4, Pass { targets: 6, ..pass(3, 11) }, &dora);
    compare("tiny_a", Quant::Nf4, pass(2, 9), &dora);
    let coded = TrainConfig { rank: 64, optim: Optim::Adamw8bit, ..dora };
    compare("tiny_a", Quant::Nf4, pass(2, 9), &coded);
}

#[test]
fn the_plan_counts_soft_targets() {
    let (gpu, pass) = (gpu(), Pass { batch: 2, queries: 12, targets: 8 });
    let model = load(&gpu, "tiny_a", Quant::Nf4);
    let settings = settings(4, "all-linear", Checkpointing::Off);
    let largest = LargestBatch { pass, soft_entries: 7 };
    let limits = Limits::of(&gpu);
    let plan = |largest: LargestBatch| {
        RunPlan::new(model.memory(), model.config(), &settings, largest, limits).unwrap()
    };
    let (with, without) = (plan(largest), plan(pass.into()));
    // Ranges, weights and losses of the targets; token, probability and gradient of the entries.
    let words = (8 + 1) + 8 + 8 + 3 * 7;
    assert!(with.memory.total() - without.memory.total() >= 4 * words);
    let mut model = model;
    block_on(model.add_fresh_adapter("a", &settings.adapter_config(), 1)).unwrap();
    let schedule = Schedule::new(SchedulerType::Linear, 1e-3, 0, 10).unwrap();
    let options = TrainerOptions::of(&settings, with.keep);
    let mut trainer = Trainer::new(model, schedule, options, largest).unwrap();
    let planned = with.memory.total() - with.memory.images - PARAMS_BYTES;
    assert_eq!(gpu.tensor_bytes(), planned);
    let mut rows = batch(&[12; 2], 8);
    assert_eq!(rows.targets.len(), pass.targets);
    let label = rows.targets[1].label;
    let other = |i: u32| (label + 1 + i) % 8;
    rows.soft.rows = vec![SoftRow { target: 1, weight: 0.5, end: 7 }];
    rows.soft.entries = (0..6).map(|i| (other(i), 0.1)).chain([(label, 0.4)]).collect();
    block_on(trainer.step(&[rows])).unwrap();
    assert_eq!(gpu.tensor_bytes(), planned, "a step allocates");
}

#[test]
fn the_plan_is_wgpus_report() {
    // Large enough that the allocator's granularity does not decide.
    let pass = Pass { batch: 64, queries: 64, targets: 64 * 63 };
    let gpu = gpu();
    let Some((before, _)) = gpu.allocator_bytes() else { return };
    let model = load(&gpu, "tiny_a", Quant::Nf4);
    let settings = settings(8, "all-linear", Checkpointing::Off);
    let limits = Limits::of(&gpu);
    let plan = RunPlan::new(model.memory(), model.config(), &settings, pass, limits).unwrap();
    let mut model = model;
    block_on(model.add_fresh_adapter("a", &settings.adapter_config(), 1)).unwrap();
    let schedule = Schedule::new(SchedulerType::Linear, 1e-3, 0, 10).unwrap();
    let options = TrainerOptions::of(&settings, plan.keep);
    let mut trainer = Trainer::new(model, schedule, options, pass).unwrap();
    block_on(trainer.step(&[batch(&[64; 64], 0)])).unwrap();
    let (after, _) = gpu.allocator_bytes().unwrap();
    let (got, planned) = ((after - before) as f64, plan.memory.total() as f64);
    assert!((got / planned - 1.0).abs() < 0.05, "allocated {got}, planned {planned}");
    // What the plan says of the driver counts this run's kernels.
    let made = gpu.kernels_made();
    assert!(made.abs_diff(KERNELS) <= KERNELS / 4, "{made} kernels, planned {KERNELS}");
}

#[test]
fn what_does_not_fit_is_refused_with_settings_that_do() {
    let config = ModelConfig::from_dir(folder("tiny_a")).unwrap();
    let weights = MemoryPlan::weights(&config, None, LoadOptions::default()).unwrap();
    let pass = Pass { batch: 8, queries: 64, targets: 8 * 63 };
    let settings = settings(8, "all-linear", Checkpointing::Off);
    let settings = TrainConfig { batch_size: 8, ..settings };
    let plan = |memory, settings: &TrainConfig, pass| {
        let limits = Limits { memory, ..Limits::unknown() };
        RunPlan::new(&weights, &config, settings, pass, limits).unwrap()
    };
    let total = plan(None, &settings, pass).memory.total();
    assert!(plan(Some(total), &settings, pass).fits());
    let Err(Error::OutOfMemory { needed_bytes, limit_bytes, hint, .. }) =
        plan(Some(total / 2), &settings, pass).check()
    else {
        panic!("half of it is not enough")
    };
    assert_eq!((needed_bytes, limit_bytes), (total, total / 2));
    // Doing what the message says fits, and takes what the message says.
    let words: Vec<&str> = hint.split(' ').collect();
    let number = |name: &str| -> Option<usize> {
        let at = words.iter().position(|w| w.trim_start_matches('‹') == name)?;
        words[at..].iter().find_map(|w| w.trim_end_matches('›').parse().ok())
    };
    assert!(hint.contains("‹gradient_checkpointing = on›"), "{hint}");
    let batch = number("batch_size").unwrap_or(8);
    let settings =
        TrainConfig { batch_size: batch, gradient_checkpointing: Checkpointing::On, ..settings };
    let smaller = Pass { batch, queries: 64, targets: batch * 63 };
    let told = number("take").unwrap() as u64;
    assert_eq!(plan(Some(total / 2), &settings, smaller).memory.total(), told, "{hint}");
    assert!(told <= total / 2);
}

/// A published configuration: hidden, layers, heads, head dimension; all with 8 key heads and tied
/// heads.
fn published(hidden: usize, layers: usize, heads: usize, head_dim: usize) -> ModelConfig {
    let text = format!(
        r#"{{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": {hidden}, "intermediate_size": 8192, "num_hidden_layers": {layers},
        "num_attention_heads": {heads}, "num_key_value_heads": 8, "head_dim": {head_dim},
        "vocab_size": 128256, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
        "max_position_embeddings": 131072, "rope_theta": 500000.0, "torch_dtype": "bfloat16"}}"#
    );
    ModelConfig::from_json("config.json", text.as_bytes()).unwrap()
}

#[test]
fn llama_3_2_needs_what_qlora_promises() {
    let options = LoadOptions { quant: Quant::Nf4, max_positions: 128 };
    let settings =
        settings(32, "q_proj,k_proj,v_proj,o_proj", TrainConfig::default().gradient_checkpointing);
    let pass = Pass { batch: 8, queries: 128, targets: 8 * 127 };
    let limits = Limits { memory: Some(16 << 30), ..Limits::unknown() };
    let total = |config: &ModelConfig, linears: f64| {
        let weights = MemoryPlan::weights(config, None, options).unwrap();
        let embedding = 2.0 * (config.vocab_size * config.hidden_size) as f64;
        let want = embedding + linears * 4.127 / 8.0;
        assert!((weights.weights as f64 / want - 1.0).abs() < 1e-3, "{weights:?}, {want}");
        RunPlan::new(&weights, config, &settings, pass, limits).unwrap().memory.total()
    };
    let one = total(&published(2048, 16, 32, 64), 973_078_528.0);
    let three = total(&published(3072, 28, 24, 128), 2_818_572_288.0);
    assert!(one <= 2_200_000_000, "1B: {one}");
    assert!(three <= 4_000_000_000, "3B: {three}");
    // 8-bit states take a quarter.
    let optimizer = |optim| {
        let (config, settings) =
            (published(2048, 16, 32, 64), TrainConfig { optim, ..settings.clone() });
        let weights = MemoryPlan::weights(&config, None, options).unwrap();
        RunPlan::new(&weights, &config, &settings, pass, limits).unwrap().memory.optimizer as f64
    };
    let ratio = optimizer(Optim::Adamw8bit) / optimizer(Optim::Adamw);
    assert!((ratio - 0.254).abs() < 2e-3, "{ratio}");
}
