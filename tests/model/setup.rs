//! Devices, tiny models, adapters and batches.

use std::path::PathBuf;

pub use pollster::block_on;
use wgpu_lora::data::Batch;
use wgpu_lora::format::{
    AdapterConfig, Checkpoint, DType, MemorySource, ModelConfig, SafetensorsFile, TargetModules,
    TensorData, to_safetensors,
};
use wgpu_lora::gpu::{Gpu, GpuOptions, Policy};
use wgpu_lora::model::{Keep, LoadOptions, Model, Module, Pass, Precision, Quant, Tensors};
use wgpu_lora::train::config::Optim;
use wgpu_lora::train::schedule::{Schedule, SchedulerType};
use wgpu_lora::train::trainer::{LossNormalisation, Trainer, TrainerOptions};

/// A device under a policy; `verify` compares every dispatch with its CPU twin.
pub fn open(policy: Policy, verify: bool) -> Gpu {
    let adapter = std::env::var("WGPU_LORA_DEVICE").ok();
    block_on(Gpu::with(GpuOptions { adapter, policy, verify, ..Default::default() })).unwrap()
}

pub fn gpu() -> Gpu {
    open(Policy::Auto, false)
}

pub fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/model").join(name)
}

/// `tiny_a` (rows of whole blocks of 64) or `tiny_b` (rows across blocks), for 64 positions.
pub fn load(gpu: &Gpu, name: &str, quant: Quant) -> Model {
    let checkpoint = Checkpoint::open(folder(name)).unwrap();
    let config = ModelConfig::from_dir(folder(name)).unwrap();
    let options = LoadOptions { quant, max_positions: 64 };
    let mut silent = |_, _| {};
    block_on(Model::load(gpu, &checkpoint, &config, options, &mut silent)).unwrap()
}

/// The same in f32 with other weights.
pub fn load_changed(gpu: &Gpu, name: &str, change: impl Fn(&str, &mut [f32])) -> Model {
    let old = Checkpoint::open(folder(name)).unwrap();
    let names: Vec<&str> = old.names().collect();
    let changed = |name: &&str| {
        let shape = old.info(name).unwrap().shape.clone();
        let mut values = old.read_f32(name, 0..shape.iter().product()).unwrap();
        change(name, &mut values);
        (shape, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
    };
    let all: Vec<_> = names.iter().map(changed).collect();
    let tensors: Vec<TensorData> = (names.iter().zip(&all))
        .map(|(name, (shape, bytes))| TensorData { name, dtype: DType::F32, shape, bytes })
        .collect();
    let source = MemorySource::new("memory", to_safetensors(&tensors, &[]).unwrap());
    let file = SafetensorsFile::open(Box::new(source)).unwrap();
    let checkpoint = Checkpoint::from_files(vec![file]).unwrap();
    let config = ModelConfig::from_dir(folder(name)).unwrap();
    let options = LoadOptions { quant: Quant::None, max_positions: 64 };
    block_on(Model::load(gpu, &checkpoint, &config, options, &mut |_, _| {})).unwrap()
}

/// A tied checkpoint in memory whose embedding is given and whose linear layers are zeros, in bf16.
pub fn checkpoint(config: &ModelConfig, embedding: fn(usize, usize) -> f32) -> Checkpoint {
    let (v, d) = (config.vocab_size, config.hidden_size);
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    let rows = (0..v).flat_map(|row| (0..d).map(move |column| embedding(row, column)));
    tensors.push(("model.embed_tokens.weight".into(), vec![v, d], rows.collect()));
    for module in Module::ALL {
        let (n, k) = module.shape(config);
        tensors.push((format!("{}.weight", module.path(0)), vec![n, k], vec![0.0; n * k]));
    }
    for norm in ["layers.0.input_layernorm", "layers.0.post_attention_layernorm", "norm"] {
        tensors.push((format!("model.{norm}.weight"), vec![d], vec![1.0; d]));
    }
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| {
            values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect()
        })
        .collect();
    let data: Vec<TensorData> = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| TensorData { name, dtype: DType::BF16, shape, bytes })
        .collect();
    let source = MemorySource::new("memory", to_safetensors(&data, &[]).unwrap());
    let file = SafetensorsFile::open(Box::new(source)).unwrap();
    Checkpoint::from_files(vec![file]).unwrap()
}

/// A configuration with these modules, or all seven.
pub fn adapter(rank: usize, modules: &[&str]) -> AdapterConfig {
    let target_modules = match modules {
        [] => TargetModules::AllLinear,
        names => TargetModules::Named(names.iter().map(|n| n.to_string()).collect()),
    };
    AdapterConfig { rank, alpha: 2.0 * rank as f64, target_modules, ..Default::default() }
}

/// Reproducible ids from 3 on.
pub fn ids(n: usize, seed: u32) -> Vec<u32> {
    (0..n as u32).map(|i| 3 + (i * 7919 + seed * 104_729 + i * i * 31) % 300).collect()
}

/// Rows of the given lengths; the first `masked` tokens are no targets.
pub fn batch(lengths: &[usize], masked: usize) -> Batch {
    let mut batch = Batch::default();
    for (row, &n) in lengths.iter().enumerate() {
        batch.push(row, &ids(n, row as u32), masked..n);
    }
    batch
}

/// Options whose effects all show: decay, clipping, a learning rate that moves parameters.
pub fn options(keep: Keep) -> TrainerOptions {
    TrainerOptions {
        optim: Optim::Adamw,
        betas: (0.9, 0.999),
        eps: 1e-8,
        weight_decay: 0.01,
        max_grad_norm: 1.0,
        normalisation: LossNormalisation::Tokens,
        seed: 5,
        keep,
        precision: Precision::F32,
    }
}

pub fn trainer(model: Model, options: TrainerOptions) -> Trainer {
    let schedule = Schedule::new(SchedulerType::Linear, 1e-2, 0, 10).unwrap();
    let largest = Pass { batch: 3, queries: 24, targets: 72 };
    Trainer::new(model, schedule, options, largest).unwrap()
}

/// Moves the parameters off their start, so that no gradient is zero.
pub fn shake(model: &mut Model) {
    let gpu = model.gpu().clone();
    let mut file = block_on(model.adapter().unwrap().to_file(&gpu)).unwrap();
    for (n, (key, (_, values))) in file.tensors.iter_mut().enumerate() {
        if key.contains("lora_B") {
            for (i, v) in values.iter_mut().enumerate() {
                *v = ((i * 37 + n * 11) % 101) as f32 * 1e-3 - 0.05;
            }
        }
    }
    block_on(model.add_trainable_adapter("a", &file)).unwrap();
}

/// Asserts that the loss along its gradient g, at distance h to both sides, changes by 2·h·|g|.
pub fn is_slope(trainer: &mut Trainer, gradients: &Tensors, loss: impl Fn(&mut Trainer) -> f64) {
    let squares = gradients.values().flat_map(|(_, g)| g.iter().map(|&v| f64::from(v).powi(2)));
    let norm = squares.sum::<f64>().sqrt();
    assert!(norm > 1e-3, "norm {norm}");
    let gpu = trainer.model().gpu().clone();
    let start = block_on(trainer.model().adapter().unwrap().to_file(&gpu)).unwrap();
    let mut at = |h: f64| {
        let mut file = start.clone();
        for (key, (_, values)) in &mut file.tensors {
            for (v, g) in values.iter_mut().zip(&gradients[key].1) {
                *v += (h / norm * f64::from(*g)) as f32;
            }
        }
        block_on(trainer.model_mut().add_trainable_adapter("a", &file)).unwrap();
        loss(trainer)
    };
    let h = 3e-3;
    let slope = (at(h) - at(-h)) / (2.0 * h);
    assert!((slope / norm - 1.0).abs() < 0.01, "slope {slope}, norm of the gradient {norm}");
}

/// Bits of all parameters, in the order of their names.
pub fn bits(trainer: &Trainer) -> Vec<u32> {
    let model = trainer.model();
    let parameters = block_on(model.adapter().unwrap().parameters(model.gpu())).unwrap();
    parameters.values().flat_map(|(_, values)| values.iter().map(|v| v.to_bits())).collect()
}

/// The largest |a − b|.
pub fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |m, d| if d > m { d } else { m })
}
