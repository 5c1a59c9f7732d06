//! `model/<folder>`: forward passes of whole checkpoints, for each `config*.json` and each kind of
//! base weights that the files name.

use std::collections::BTreeSet;

use super::judge::{Case, Judge, Outcome, wrong};
use super::set::{File, Inputs, Set};
use super::{base, devices, forward};
use pollster::block_on;
use wgpu_lora::format::Checkpoint;
use wgpu_lora::model::Keep;
use wgpu_lora::reference::rms_norm_fwd;

/// What may lie in a section beside what its cases read.
fn known(file: &str) -> bool {
    let weights = file.starts_with("model") && file.ends_with(".safetensors");
    let forward = file.starts_with("forward") && file.ends_with(".safetensors");
    let config = file.starts_with("config") && file.ends_with(".json");
    weights || forward || config || file == "model.safetensors.index.json"
}

pub fn cases(set: &Set) -> Outcome<Vec<Case>> {
    let mut cases = Vec::new();
    for file in set.files("model")? {
        if file != "model.json" {
            cases.push(Case::broken(&format!("model/{file}"), "an unknown file"));
        }
    }
    for name in set.folders("model")? {
        let folder = format!("model/{name}");
        let files = set.files(&folder)?;
        for file in files.iter().filter(|file| !known(file)) {
            cases.push(Case::broken(&format!("{folder}/{file}"), "an unknown file"));
        }
        let configs = files.iter().filter(|f| f.starts_with("config"));
        let results: Vec<&String> = files.iter().filter(|f| f.starts_with("forward")).collect();
        for config in configs {
            for result in &results {
                for variant in variants(set, &folder, result)? {
                    let title = format!("{folder}/{config}/{variant}");
                    let (set, folder) = (set.clone(), folder.clone());
                    let (config, result) = (config.clone(), result.to_string());
                    cases.push(Case::new(title, move |judge| {
                        run(judge, &set, &folder, &config, &result, &variant)
                    }));
                }
            }
        }
    }
    Ok(cases)
}

/// `forward_f32.safetensors` is of one kind of weights, `forward.safetensors` names them in its
/// keys.
fn of_one_kind(result: &str) -> Option<&str> {
    result.strip_prefix("forward_")?.strip_suffix(".safetensors")
}

const HIDDEN: &str = "hidden_after_layer";

fn variants(set: &Set, folder: &str, result: &str) -> Outcome<Vec<String>> {
    if let Some(variant) = of_one_kind(result) {
        return Ok(vec![variant.to_owned()]);
    }
    let file = set.open(&format!("{folder}/{result}"))?;
    let mut found = BTreeSet::new();
    for key in file.names().filter(|key| !key.ends_with("_i32")) {
        let Some((left, right)) = key.rsplit_once('.') else {
            return wrong(format!("{folder}/{result}: unknown tensor `{key}`"));
        };
        found.insert(if left.starts_with(HIDDEN) { right } else { left }.to_owned());
    }
    Ok(found.into_iter().collect())
}

/// The batch is in the results, or in those of the model that this one is a form of
/// (`tiny_a_bf16_sharded` of `tiny_a`).
fn inputs(set: &Set, folder: &str, file: &File) -> Outcome<Inputs> {
    if Inputs::present(file) {
        return Inputs::read(file);
    }
    let mut base = folder;
    while let Some((shorter, _)) = base.rsplit_once('_') {
        base = shorter;
        let other = format!("{base}/forward.safetensors");
        if set.has(&other) {
            return Inputs::read(&set.open(&other)?);
        }
    }
    wrong(format!("{folder} holds no batch, and no folder that it is named after does"))
}

fn run(
    judge: &mut Judge,
    set: &Set,
    folder: &str,
    config: &str,
    result: &str,
    variant: &str,
) -> Outcome {
    let file = set.open(&format!("{folder}/{result}"))?;
    let inputs = inputs(set, folder, &file)?;
    let quant = base::quant(variant)?;
    let prefix = match of_one_kind(result) {
        Some(_) => String::new(),
        None => format!("{variant}."),
    };
    devices::each(judge, |judge, device| {
        let model = base::load_folder(&device.gpu, set, folder, config, quant, inputs.t)?;
        // The states behind each block are kept in workspaces for training.
        let space = model.workspace(base::whole(inputs.b, inputs.t), Some(Keep::Recomputed))?;
        forward::compare(judge, &model, &space, &inputs, &file, &prefix)?;
        let ending = format!(".{variant}");
        for key in file.names() {
            let layer = key.strip_prefix(HIDDEN).and_then(|rest| rest.strip_suffix(&ending));
            let Some(layer) = layer else { continue };
            let layer: usize = layer.parse()?;
            let hidden = model.hidden_after(&space, &inputs.ids, inputs.b, layer + 1);
            let width = model.config().hidden_size;
            let mut got = inputs.unpadded(&block_on(hidden)?, width);
            if layer + 1 == model.config().num_hidden_layers {
                // The last of transformers' hidden states is the final norm's output.
                let weight = base::final_norm(&Checkpoint::open(set.path(folder))?, width)?;
                got = rms_norm(&got, &weight, model.config().rms_norm_eps);
            }
            let want = inputs.unpadded(&file.f32(key)?, width);
            judge.largest(&format!("{HIDDEN}{layer}"), &got, &want, forward::LOGITS);
        }
        Ok(())
    })
}

fn rms_norm(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let (mut y, mut rstd) = (vec![0.0; x.len()], vec![0.0; x.len() / weight.len()]);
    rms_norm_fwd(x, weight, eps, &mut y, &mut rstd);
    y
}
