//! Base models of a set on a device.

use std::collections::BTreeMap;
use std::path::Path;

use super::judge::{Outcome, wrong};
use super::set::{File, Set};
use wgpu_lora::format::{
    Checkpoint, DType, MemorySource, ModelConfig, SafetensorsFile, TensorData, read_nf4,
    to_safetensors,
};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::model::{LoadOptions, Model, Module, Pass, Quant};

/// How the linear layers are kept, by the set's name for it.
pub fn quant(variant: &str) -> Outcome<Quant> {
    match variant {
        "f32" => Ok(Quant::None),
        "nf4" => Ok(Quant::Nf4Single),
        "nf4dq" => Ok(Quant::Nf4),
        _ => wrong(format!("`{variant}` is no known kind of base weights (f32, nf4, nf4dq)")),
    }
}

/// A configuration file of a set.
pub fn config(path: &Path) -> Outcome<ModelConfig> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(ModelConfig::from_json(&path.display().to_string(), &bytes)?)
}

/// Loads a checkpoint for sequences of at most `tokens`.
pub fn load(
    gpu: &Gpu,
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    quant: Quant,
    tokens: usize,
) -> Outcome<Model> {
    let options = LoadOptions { quant, max_positions: tokens.max(1) };
    let mut silent = |_, _| {};
    Ok(pollster::block_on(Model::load(gpu, checkpoint, config, options, &mut silent))?)
}

/// Loads a model folder of the set.
pub fn load_folder(
    gpu: &Gpu,
    set: &Set,
    folder: &str,
    config_file: &str,
    quant: Quant,
    tokens: usize,
) -> Outcome<Model> {
    let checkpoint = Checkpoint::open(set.path(folder))?;
    let config = config(&set.path(&format!("{folder}/{config_file}")))?;
    load(gpu, &checkpoint, &config, quant, tokens)
}

/// A pass over `b` sequences of `t` tokens with logits everywhere.
pub fn whole(b: usize, t: usize) -> Pass {
    Pass { batch: b, queries: t, targets: b * t }
}

/// A checkpoint in memory, from type, shape and bytes by name.
#[derive(Default)]
pub struct Weights(BTreeMap<String, (DType, Vec<usize>, Vec<u8>)>);

impl Weights {
    /// All of a checkpoint, but the linear layers of blocks.
    pub fn outside_blocks(checkpoint: &Checkpoint) -> Outcome<Weights> {
        let mut weights = Weights::default();
        let linear =
            |name: &str| Module::ALL.iter().any(|m| name.contains(&format!(".{}.", m.name())));
        for name in checkpoint.names().filter(|name| !linear(name)) {
            weights.copy(checkpoint, name)?;
        }
        Ok(weights)
    }

    fn copy(&mut self, checkpoint: &Checkpoint, name: &str) -> Outcome {
        let info = checkpoint.info(name)?;
        let mut bytes = Vec::new();
        checkpoint.read_bytes(name, 0..info.bytes, &mut bytes)?;
        self.0.insert(name.to_owned(), (info.dtype, info.shape.clone(), bytes));
        Ok(())
    }

    /// A tensor of a file, in its type.
    pub fn put(&mut self, file: &File, name: &str) -> Outcome {
        let info = file.0.info(name)?;
        let tensor = (info.dtype, info.shape.clone(), file.bytes(name)?);
        self.0.insert(name.to_owned(), tensor);
        Ok(())
    }

    /// A tensor of values.
    pub fn put_f32(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.0.insert(name.to_owned(), (DType::F32, shape.to_vec(), bytes));
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn checkpoint(&self, name: &str) -> Outcome<Checkpoint> {
        let tensors: Vec<TensorData> = self
            .0
            .iter()
            .map(|(name, (dtype, shape, bytes))| TensorData { name, dtype: *dtype, shape, bytes })
            .collect();
        let source = MemorySource::new(name, to_safetensors(&tensors, &[])?);
        Ok(Checkpoint::from_files(vec![SafetensorsFile::open(Box::new(source))?])?)
    }
}

/// A linear layer's weight as this kind of base has it, dequantized to f32.
pub fn linear(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    layer: usize,
    module: Module,
    quant: Quant,
) -> Outcome<Vec<f32>> {
    let name = format!("{}.weight", module.path(layer));
    let (rows, cols) = module.shape(config);
    Ok(match quant {
        Quant::None => checkpoint.read_f32(&name, 0..rows * cols)?,
        _ => read_nf4(checkpoint, &name, [rows, cols], quant == Quant::Nf4, &mut |_| {})?
            .dequantize(),
    })
}

/// The weight of the norm before the head.
pub fn final_norm(checkpoint: &Checkpoint, width: usize) -> Outcome<Vec<f32>> {
    Ok(checkpoint.read_f32("model.norm.weight", 0..width)?)
}
