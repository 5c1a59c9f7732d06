//! `prequant/<checkpoint>`: models that bitsandbytes quantized and transformers saved.

use super::judge::{Case, Judge, Outcome, wrong};
use super::nf4::bits_differ;
use super::set::{Inputs, Set};
use super::{base, devices, forward};
use wgpu_lora::format::{Checkpoint, DType, ModelConfig, read_prequantized};
use wgpu_lora::model::{Module, Quant};

const WEIGHTS: &str = "dequantized.safetensors";
const FORWARD: &str = "forward_f32.safetensors";
/// What results are called that were computed with weights rounded to the type of the checkpoint.
const ROUNDED: &str = "_weights_in_quant_dtype";

pub fn cases(set: &Set) -> Outcome<Vec<Case>> {
    let mut cases = Vec::new();
    for file in set.files("prequant")?.iter().filter(|file| *file != "prequant.json") {
        cases.push(Case::broken(&format!("prequant/{file}"), "an unknown file"));
    }
    for name in set.folders("prequant")? {
        let folder = format!("prequant/{name}");
        for file in set.files(&folder)? {
            let body: fn(&mut Judge, &Set, &str) -> Outcome = match file.as_str() {
                WEIGHTS => weights,
                FORWARD => forward,
                "config.json" | "generation_config.json" => continue,
                f if f.starts_with("model") => continue,
                _ => |_, _, _| wrong("an unknown file"),
            };
            let title = format!("{folder}/{}", file.trim_end_matches(".safetensors"));
            let (set, folder) = (set.clone(), folder.clone());
            cases.push(Case::new(title, move |judge| body(judge, &set, &folder)));
        }
    }
    Ok(cases)
}

/// The stored weights are exact.
fn weights(judge: &mut Judge, set: &Set, folder: &str) -> Outcome {
    let checkpoint = Checkpoint::open(set.path(folder))?;
    let file = set.open(&format!("{folder}/{WEIGHTS}"))?;
    let mut different = 0;
    for name in file.names() {
        let Some(stored) = read_prequantized(&checkpoint, name)? else {
            return wrong(format!("`{name}` is not stored in 4 bits"));
        };
        let mut got = stored.matrix.dequantize();
        for value in &mut got {
            *value = match stored.dtype {
                DType::BF16 => half::bf16::from_f32(*value).to_f32(),
                DType::F16 => half::f16::from_f32(*value).to_f32(),
                _ => *value,
            };
        }
        different += bits_differ(&got, &file.f32(name)?);
    }
    judge.compare("dequantized weights, values that differ", different as f64, 0.0);
    Ok(())
}

fn forward(judge: &mut Judge, set: &Set, folder: &str) -> Outcome {
    let file = set.open(&format!("{folder}/{FORWARD}"))?;
    let inputs = Inputs::read(&file)?;
    let checkpoint = Checkpoint::open(set.path(folder))?;
    let config = base::config(&set.path(&format!("{folder}/config.json")))?;
    let rounded = rounded(set, folder, &checkpoint)?;
    devices::each(judge, |judge, device| {
        let pass = base::whole(inputs.b, inputs.t);
        // Whatever is asked for, a quantized checkpoint is taken as it is.
        let model = base::load(&device.gpu, &checkpoint, &config, Quant::Nf4, inputs.t)?;
        let space = model.workspace(pass, None)?;
        forward::compare(judge, &model, &space, &inputs, &file, "")?;
        let Some(rounded) = &rounded else { return Ok(()) };
        let plain = ModelConfig { quantization: None, ..config.clone() };
        let model = base::load(&device.gpu, rounded, &plain, Quant::None, inputs.t)?;
        let space = model.workspace(pass, None)?;
        for part in ["logits", "loss"] {
            let name = format!("{part}{ROUNDED}");
            if file.has(&name) {
                forward::compare_one(judge, &model, &space, &inputs, &file, (part, &name))?;
            }
        }
        Ok(())
    })
}

/// The same model with its dequantized weights in the checkpoint's type, where the set holds all of
/// them.
fn rounded(set: &Set, folder: &str, checkpoint: &Checkpoint) -> Outcome<Option<Checkpoint>> {
    let path = format!("{folder}/{WEIGHTS}");
    if !set.has(&path) {
        return Ok(None);
    }
    let file = set.open(&path)?;
    let mut weights = base::Weights::outside_blocks(checkpoint)?;
    for name in file.names() {
        weights.put(&file, name)?;
    }
    let config = base::config(&set.path(&format!("{folder}/config.json")))?;
    let all = (0..config.num_hidden_layers).all(|layer| {
        Module::ALL.iter().all(|module| weights.has(&format!("{}.weight", module.path(layer))))
    });
    match all {
        true => Ok(Some(weights.checkpoint(&format!("{folder}, dequantized"))?)),
        false => Ok(None),
    }
}
