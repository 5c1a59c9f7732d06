//! `lora/<adapter>`: a PEFT adapter on a base model: logits, loss, gradients (`forward_<base>`),
//! and the weights it merges to (`merged_<base>`).

use std::path::PathBuf;

use super::judge::{Case, Judge, Outcome, largest_difference, relative_norm, worse, wrong};
use super::set::{File, Inputs, Set};
use super::{base, devices, forward};
use pollster::block_on;
use serde_json::Value;
use wgpu_lora::export::{Delta, merged_weight};
use wgpu_lora::format::{AdapterFile, Checkpoint};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::model::{Keep, Model, Module, Precision, Quant};
use wgpu_lora::train::schedule::{Schedule, SchedulerType};
use wgpu_lora::train::trainer::{LossNormalisation, Trainer, TrainerOptions};

/// Gradients: relative norm of the difference, per tensor.
const GRADIENTS: f64 = 5e-5;
/// Weights that an adapter was merged into: largest difference.
const MERGED: f64 = 1e-6;

const BATCH: &str = "batch.safetensors";
const ABOUT: &str = "lora.json";

/// An adapter, its base and the batch.
#[derive(Clone)]
struct Site {
    set: Set,
    adapter: PathBuf,
    about: Value,
    /// The base model's folder in the set.
    base: String,
    quant: Quant,
    batch: String,
    results: String,
}

/// `f32` of `forward_f32.safetensors`.
fn variant<'a>(file: &'a str, kind: &str) -> Option<&'a str> {
    file.strip_prefix(kind)?.strip_suffix(".safetensors")
}

pub fn cases(set: &Set) -> Outcome<Vec<Case>> {
    let mut cases = Vec::new();
    for file in set.files("lora")?.iter().filter(|file| *file != BATCH && *file != ABOUT) {
        cases.push(Case::broken(&format!("lora/{file}"), "an unknown file"));
    }
    let about = set.json(&format!("lora/{ABOUT}"))?;
    let Some(base) = about["base"].as_str() else { return wrong("lora.json names no `base`") };
    for name in set.folders("lora")? {
        let folder = format!("lora/{name}");
        for file in set.files(&folder)? {
            let title = format!("{folder}/{}", file.trim_end_matches(".safetensors"));
            let site = |quant: Quant| Site {
                set: set.clone(),
                adapter: set.path(&folder),
                about: about["adapters"][&name].clone(),
                base: base.to_owned(),
                quant,
                batch: format!("lora/{BATCH}"),
                results: format!("{folder}/{file}"),
            };
            let known = |kind: &str| variant(&file, kind).map(base::quant).transpose();
            if let Some(quant) = known("forward_")? {
                let site = site(quant);
                cases.push(Case::new(title, move |judge| site.forward(judge)));
            } else if let Some(quant) = known("merged_")? {
                let site = site(quant);
                cases.push(Case::new(title, move |judge| site.merged(judge)));
            } else if !file.starts_with("adapter_") {
                cases.push(Case::broken(&title, "an unknown file"));
            }
        }
    }
    Ok(cases)
}

/// The case of an adapter on a base model of the set, whose folder holds the batch and the results
/// too.
pub fn case(set: &Set, base: &str, folder: &str) -> Case {
    let site = Site {
        set: set.clone(),
        adapter: set.path(folder),
        about: Value::Null,
        base: base.to_owned(),
        quant: Quant::None,
        batch: format!("{folder}/forward_f32.safetensors"),
        results: format!("{folder}/forward_f32.safetensors"),
    };
    Case::new(folder, move |judge| site.forward(judge))
}

impl Site {
    fn inputs(&self) -> Outcome<Inputs> {
        Inputs::read(&self.set.open(&self.batch)?)
    }

    fn adapted(&self, gpu: &Gpu, inputs: &Inputs) -> Outcome<Model> {
        let mut model =
            base::load_folder(gpu, &self.set, &self.base, "config.json", self.quant, inputs.t)?;
        let adapter = AdapterFile::load(&self.adapter)?;
        block_on(model.add_trainable_adapter("golden", &adapter))?;
        Ok(model)
    }

    fn forward(&self, judge: &mut Judge) -> Outcome {
        let file = self.set.open(&self.results)?;
        let inputs = self.inputs()?;
        let adapter = AdapterFile::load(&self.adapter)?;
        if let Some(scaling) = self.about["scaling"].as_f64() {
            judge.compare("scaling", (adapter.config.scaling() - scaling).abs(), 1e-12);
        }
        devices::each(judge, |judge, device| {
            for keep in [Keep::Recomputed, Keep::Full] {
                let model = self.adapted(&device.gpu, &inputs)?;
                if let Some(trainable) = self.about["trainable"].as_u64() {
                    let got = model.trainable_parameters().trainable as f64;
                    judge.compare("trainable parameters", (got - trainable as f64).abs(), 0.0);
                }
                let mut trainer = Trainer::new(
                    model,
                    Schedule::new(SchedulerType::Constant, 0.0, 0, 1)?,
                    options(keep),
                    base::whole(inputs.b, inputs.t),
                )?;
                if keep == Keep::Recomputed {
                    let (model, space) = (trainer.model(), trainer.workspace());
                    forward::compare(judge, model, space, &inputs, &file, "")?;
                }
                compare_gradients(judge, &mut trainer, &inputs, &file, keep)?;
            }
            Ok(())
        })
    }

    fn merged(&self, judge: &mut Judge) -> Outcome {
        let file = self.set.open(&self.results)?;
        let inputs = self.inputs()?;
        let adapter = AdapterFile::load(&self.adapter)?;
        let checkpoint = Checkpoint::open(self.set.path(&self.base))?;
        let config = base::config(&self.set.path(&format!("{}/config.json", self.base)))?;
        let mut weights = base::Weights::outside_blocks(&checkpoint)?;
        let (mut worst, mut compared) = (0f64, 0);
        for layer in 0..config.num_hidden_layers {
            for module in Module::ALL {
                let name = format!("{}.weight", module.path(layer));
                let (rows, cols) = module.shape(&config);
                let mut weight = base::linear(&checkpoint, &config, layer, module, self.quant)?;
                if let Some(delta) = delta(&adapter, &module.path(layer)) {
                    weight = merged_weight(&weight, [rows, cols], delta)?;
                }
                if file.has(&name) {
                    worst = worse(worst, largest_difference(&weight, &file.f32(&name)?));
                    compared += 1;
                }
                weights.put_f32(&name, &[rows, cols], &weight);
            }
        }
        if compared != file.names().count() {
            return wrong("a merged weight of the file is no linear layer of the base model");
        }
        judge.compare("merged weights", worst, MERGED);
        let merged = weights.checkpoint("merged")?;
        devices::each(judge, |judge, device| {
            let gpu = &device.gpu;
            let pass = base::whole(inputs.b, inputs.t);
            let model = self.adapted(gpu, &inputs)?;
            let beside = forward::logits(&model, &model.workspace(pass, None)?, &inputs)?;
            let model = base::load(gpu, &merged, &config, Quant::None, inputs.t)?;
            let inside = forward::logits(&model, &model.workspace(pass, None)?, &inputs)?;
            judge.largest("merged and adapter logits", &inside, &beside, forward::LOGITS);
            Ok(())
        })
    }
}

/// The adapter of one layer.
fn delta<'a>(adapter: &'a AdapterFile, path: &str) -> Option<Delta<'a>> {
    let tensor = |part: &str| {
        let key = format!("base_model.model.{path}.{part}");
        adapter.tensors.get(&key).map(|(_, values)| values.as_slice())
    };
    let (a, b) = (tensor("lora_A.weight")?, tensor("lora_B.weight")?);
    let magnitude = tensor("lora_magnitude_vector");
    Some(Delta { a, b, scale: adapter.config.scaling_of(path), magnitude })
}

fn options(keep: Keep) -> TrainerOptions {
    TrainerOptions {
        optim: wgpu_lora::train::config::Optim::Adamw,
        betas: (0.9, 0.999),
        eps: 1e-8,
        weight_decay: 0.0,
        max_grad_norm: 0.0,
        normalisation: LossNormalisation::Tokens,
        seed: 0,
        keep,
        precision: Precision::F32,
    }
}

fn compare_gradients(
    judge: &mut Judge,
    trainer: &mut Trainer,
    inputs: &Inputs,
    file: &File,
    keep: Keep,
) -> Outcome {
    let keys: Vec<&str> = file.names().filter_map(|name| name.strip_prefix("grad.")).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let what = match keep {
        Keep::Recomputed => "gradients, checkpointing",
        _ => "gradients, all activations kept",
    };
    let (loss, gradients) = block_on(trainer.gradients(std::slice::from_ref(&inputs.batch)))?;
    let (mut worst, mut place) = (0f64, "");
    for key in keys {
        let Some((shape, got)) = gradients.get(key) else {
            return wrong(format!("the adapter has no tensor `{key}`"));
        };
        let stored = format!("grad.{key}");
        if shape != file.shape(&stored)? {
            return wrong(format!("`{key}` has another shape"));
        }
        let error = relative_norm(got, &file.f32(&stored)?);
        if !(error <= worst) {
            place = key;
        }
        worst = worse(worst, error);
    }
    if !(worst <= GRADIENTS) {
        judge.note(&format!("the worst gradient is that of {place}"));
    }
    judge.compare(what, worst, GRADIENTS);
    if file.has("loss") {
        judge.compare("loss of the step", (loss - file.number("loss")?).abs(), forward::LOSS);
    }
    Ok(())
}
