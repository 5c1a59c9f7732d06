//! Models of cases: weights made from a seed, as `kinds/common.py` makes them, and the adapter that
//! runs them.
#![allow(dead_code, reason = "each kind takes what it needs")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use half::{bf16, f16};
use pollster::block_on;
use serde::Deserialize;
use serde_json::Value;
use wgpu_lora::Result;
use wgpu_lora::format::{DType, ModelFiles, TensorData, to_safetensors};
use wgpu_lora::gpu::{Gpu, GpuOptions};
use wgpu_lora::model::{LoadOptions, Model, Pass, Quant};

#[path = "../golden_runner/hash.rs"]
pub mod hash;

/// `recipe` of `kinds/common.py`: names and shapes of tensors whose values follow from the seed.
#[derive(Deserialize)]
struct Recipe {
    seed: u64,
    dtype: String,
    tensors: BTreeMap<String, Vec<usize>>,
}

/// FNV-1a, 64 bits, of `seed:name`.
fn stream(seed: u64, name: &str) -> u64 {
    let step = |h: u64, byte: u8| (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
    format!("{seed}:{name}").bytes().fold(0xCBF2_9CE4_8422_2325, step)
}

/// The tensor of that name; `values` of `kinds/common.py` has the rule.
pub fn values(seed: u64, name: &str, shape: &[usize]) -> Vec<f32> {
    let u = hash::hash_uniform(shape.iter().product(), stream(seed, name));
    let (scale, base) = match shape {
        [_] if name.ends_with("norm.weight") => (0.25, 1.0),
        [_] => (0.25, 0.0),
        _ if name.contains("embed_tokens") || name.contains("lm_head") => (1.0, 0.0),
        _ => (2f32.powi(1 - shape[shape.len() - 1].ilog2() as i32 / 2), 0.0),
    };
    u.into_iter().map(|u| u * scale + base).collect()
}

/// 24 random bits for each of `n` places.
pub fn drawn(n: usize, seed: u64, name: &str) -> Vec<u32> {
    let u = hash::hash_uniform(n, stream(seed, name));
    u.into_iter().map(|u| (f64::from(u) * 8_388_608.0 + 8_388_608.0) as u32).collect()
}

/// Writes `model.safetensors` into a folder from a case's recipe.
pub fn write_weights(folder: &Path, recipe: &Value) -> std::result::Result<(), String> {
    let recipe: Recipe = serde_json::from_value(recipe.clone()).map_err(|e| e.to_string())?;
    type Bytes = fn(f32) -> Vec<u8>;
    let (dtype, bytes): (DType, Bytes) = match recipe.dtype.as_str() {
        "F32" => (DType::F32, |x| x.to_le_bytes().to_vec()),
        "F16" => (DType::F16, |x| f16::from_f32(x).to_le_bytes().to_vec()),
        "BF16" => (DType::BF16, |x| bf16::from_f32(x).to_le_bytes().to_vec()),
        other => return Err(format!("no weights of type {other}")),
    };
    let made = |(name, shape): (&String, &Vec<usize>)| -> Vec<u8> {
        values(recipe.seed, name, shape).into_iter().flat_map(bytes).collect()
    };
    let data: Vec<Vec<u8>> = recipe.tensors.iter().map(made).collect();
    let tensors: Vec<TensorData> = recipe
        .tensors
        .iter()
        .zip(&data)
        .map(|((name, shape), bytes)| TensorData { name, dtype, shape, bytes })
        .collect();
    let file = to_safetensors(&tensors, &[("format", "pt")]).map_err(|e| e.to_string())?;
    std::fs::write(folder.join("model.safetensors"), file).map_err(|e| e.to_string())
}

/// The model of the repository.
pub fn embedded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/model")
}

/// The one device of this process.
pub fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        let adapter = std::env::var("WGPU_LORA_DEVICE").ok();
        block_on(Gpu::with(GpuOptions { adapter, ..Default::default() })).expect("an adapter")
    })
}

/// The model of opened files on the device.
pub fn load(files: &ModelFiles, quant: Quant, max_positions: usize) -> Result<Model> {
    let options = LoadOptions { quant, max_positions };
    let (checkpoint, config) = (&files.checkpoint, &files.config);
    block_on(Model::load(gpu(), checkpoint, config, options, &mut |_, _| {}))
}

/// The model of a folder or GGUF file on the device, its linear layers as the file has them.
pub fn open(path: &Path, max_positions: usize) -> Result<Model> {
    load(&ModelFiles::open(path)?, Quant::None, max_positions)
}

/// Logits `[tokens, vocabulary]` of one sequence.
pub fn logits(model: &Model, ids: &[u32]) -> Result<Vec<f32>> {
    let pass = Pass { batch: 1, queries: ids.len(), targets: ids.len() };
    let space = model.workspace(pass, None)?;
    let rows: Vec<u32> = (0..ids.len() as u32).collect();
    block_on(model.logits(&space, ids, 1, &rows))
}
