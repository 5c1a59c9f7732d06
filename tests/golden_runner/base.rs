//! Base models of a set on a device.

use std::path::Path;

use super::judge::{Outcome, wrong};
use super::set::Set;
use wgpu_lora::format::{Checkpoint, ModelConfig};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::model::{LoadOptions, Model, Pass, Quant};

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
