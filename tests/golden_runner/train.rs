//! `train/<run>`: optimizer steps on recorded batches: loss, norm and learning rate of every step,
//! and the final adapter.

use super::judge::{Case, Judge, Outcome, largest_difference, relative_norm, worse, wrong};
use super::set::{Inputs, Set};
use super::{adamw8bit, base, devices, number};
use pollster::block_on;
use serde_json::Value;
use wgpu_lora::data::Batch;
use wgpu_lora::format::AdapterFile;
use wgpu_lora::gpu::Gpu;
use wgpu_lora::model::{Keep, Precision};
use wgpu_lora::train::config::Optim;
use wgpu_lora::train::schedule::{Schedule, SchedulerType};
use wgpu_lora::train::trainer::{LossNormalisation, StepReport, Trainer, TrainerOptions};

/// Relative difference of a step's loss.
const LOSS: f64 = 2e-5;
/// Relative difference of a step's gradient norm.
const NORM: f64 = 1e-5;
/// Largest difference of a final parameter.
const FINAL: f64 = 1e-5;
/// Relative norm of the difference of a tensor's whole update.
const UPDATE: f64 = 1e-3;

const BATCHES: &str = "batches.safetensors";
const ABOUT: &str = "train.json";
const ADAMW_8BIT: &str = "adamw8bit";

pub fn cases(set: &Set) -> Outcome<Vec<Case>> {
    let about = set.json(&format!("train/{ABOUT}"))?;
    let Some(runs) = about["runs"].as_object() else { return wrong("train.json has no `runs`") };
    let mut cases = Vec::new();
    for file in set.files("train")? {
        let name = file.trim_end_matches(".safetensors");
        if name == ADAMW_8BIT {
            let (set, about) = (set.clone(), about.clone());
            cases.push(Case::new(format!("train/{ADAMW_8BIT}"), move |judge| {
                adamw8bit::judge(judge, &set.open(&format!("train/{file}"))?, &about)
            }));
        } else if file != BATCHES && file != ABOUT && !runs.contains_key(name) {
            let title = format!("train/{file}");
            cases.push(Case::broken(&title, "an unknown file: train.json has no such run"));
        }
    }
    for key in about.as_object().into_iter().flatten().map(|(key, _)| key) {
        let known = ["versions", "base", "hyper", "start", "runs", ADAMW_8BIT];
        if !known.contains(&key.as_str()) {
            cases.push(Case::broken(&format!("train/{key}"), "an unknown kind of training case"));
        }
    }
    for (name, run) in runs {
        let (set, name) = (set.clone(), name.clone());
        let mut run = run.clone();
        for key in ["hyper", "start"] {
            if run[key].is_null() {
                run[key] = about[key].clone();
            }
        }
        // A run's own `base` is the kind of weights; the section's is the model's folder.
        run["model"] = about["base"].clone();
        cases.push(Case::new(format!("train/{name}"), move |judge| {
            Run::new(&set, &format!("train/{name}"), run)?.judge(judge)
        }));
    }
    Ok(cases)
}

pub(super) struct Run {
    set: Set,
    /// Its file of final parameters, without the ending.
    name: String,
    json: Value,
    batches: Vec<Inputs>,
    start: AdapterFile,
}

/// A number or string of the run's description.
fn text<'a>(json: &'a Value, key: &str) -> Outcome<&'a str> {
    json[key].as_str().ok_or_else(|| format!("the run has no `{key}`").into())
}

fn number(json: &Value, key: &str) -> Outcome<f64> {
    json[key].as_f64().ok_or_else(|| format!("the run has no `{key}`").into())
}

impl Run {
    pub(super) fn new(set: &Set, name: &str, json: Value) -> Outcome<Run> {
        let batches = Inputs::read_all(&set.open(&format!("train/{BATCHES}"))?)?;
        let path = text(&json, "start")?.replace("<adapter>", text(&json, "adapter")?);
        let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder);
        let mut start = AdapterFile::load(set.path(folder))?;
        if json["start_with_B_zero"].as_bool().unwrap_or(false) {
            for (key, (_, values)) in &mut start.tensors {
                if key.contains("lora_B") {
                    values.fill(0.0);
                }
            }
        }
        Ok(Run { set: set.clone(), name: name.to_owned(), json, batches, start })
    }

    fn options(&self) -> Outcome<TrainerOptions> {
        let hyper = &self.json["hyper"];
        let beta = |i: usize| hyper["betas"][i].as_f64().ok_or("the run has no `betas`");
        let normalisation = match text(&self.json, "loss_norm")? {
            "tokens" => LossNormalisation::Tokens,
            "mean_of_means" => LossNormalisation::MeanOfMeans,
            other => return wrong(format!("`{other}` is no known normalisation of the loss")),
        };
        Ok(TrainerOptions {
            optim: Optim::Adamw,
            betas: (beta(0)?, beta(1)?),
            eps: number(hyper, "eps")?,
            weight_decay: number(hyper, "weight_decay")?,
            max_grad_norm: number(hyper, "clip")?,
            normalisation,
            seed: 0,
            keep: Keep::Recomputed,
            precision: Precision::F32,
        })
    }

    fn trainer(&self, gpu: &Gpu) -> Outcome<Trainer> {
        let quant = base::quant(text(&self.json, "base")?)?;
        let folder = text(&self.json, "model")?;
        let (b, t) = self.batches.iter().fold((0, 0), |(b, t), one| (b.max(one.b), t.max(one.t)));
        let mut model = base::load_folder(gpu, &self.set, folder, "config.json", quant, t)?;
        block_on(model.add_trainable_adapter("golden", &self.start))?;
        let hyper = &self.json["hyper"];
        let (rate, steps) = (number(hyper, "lr")?, number(hyper, "steps")? as u64);
        let warmup = number(hyper, "warmup")? as u64;
        // As transformers' `get_scheduler` means these names.
        let (kind, warmup) = match text(&self.json, "scheduler")? {
            "constant" => (SchedulerType::Constant, 0),
            "constant_with_warmup" => (SchedulerType::Constant, warmup),
            "linear" => (SchedulerType::Linear, warmup),
            "cosine" => (SchedulerType::Cosine, warmup),
            other => return wrong(format!("`{other}` is no known schedule")),
        };
        let schedule = Schedule::new(kind, rate, warmup, steps)?;
        Ok(Trainer::new(model, schedule, self.options()?, base::whole(b, t))?)
    }

    pub(super) fn judge(&self, judge: &mut Judge) -> Outcome {
        let accumulation = number(&self.json["hyper"], "accum")? as usize;
        let Some(steps) = self.json["steps"].as_array() else {
            return wrong("the run has no `steps`");
        };
        if accumulation == 0 || self.batches.len() < steps.len() * accumulation {
            return wrong(format!("{} batches for {} steps", self.batches.len(), steps.len()));
        }
        devices::each(judge, |judge, device| {
            let mut trainer = self.trainer(&device.gpu)?;
            let mut worst = Worst::default();
            for (step, window) in steps.iter().zip(self.batches.chunks(accumulation)) {
                let mut window: Vec<Batch> = window.iter().map(|one| one.batch.clone()).collect();
                if let Some(kind) = self.json["soft"].as_str() {
                    let vocab = trainer.model().config().vocab_size;
                    for batch in &mut window {
                        batch.soft = number::soft(kind, &batch.targets, vocab)?;
                    }
                }
                if let Some(means) = step["micro_mean_loss"].as_array() {
                    for (batch, mean) in window.iter().zip(means) {
                        let got = block_on(trainer.evaluate([batch.clone()]))?;
                        worst.micro.take(got, mean.as_f64(), true);
                    }
                }
                worst.step(&block_on(trainer.step(&window))?, step);
            }
            worst.tell(judge);
            self.judge_parameters(judge, &trainer)
        })
    }

    fn judge_parameters(&self, judge: &mut Judge, trainer: &Trainer) -> Outcome {
        let path = format!("{}.safetensors", self.name);
        if !self.set.has(&path) {
            return Ok(());
        }
        let file = self.set.open(&path)?;
        let parameters = block_on(trainer.model().adapter()?.parameters(trainer.model().gpu()))?;
        let (mut largest, mut update) = (0f64, 0f64);
        for key in file.names() {
            let (Some((_, got)), Some((_, start))) =
                (parameters.get(key), self.start.tensors.get(key))
            else {
                return wrong(format!("the adapter has no tensor `{key}`"));
            };
            let want = file.f32(key)?;
            let moved = |end: &[f32]| -> Vec<f32> {
                end.iter().zip(start).map(|(end, start)| end - start).collect()
            };
            largest = worse(largest, largest_difference(got, &want));
            update = worse(update, relative_norm(&moved(got), &moved(&want)));
        }
        judge.compare("final parameters", largest, FINAL);
        judge.compare("whole update of a tensor, relative", update, UPDATE);
        Ok(())
    }
}

/// The largest difference seen; none until the first comparison.
#[derive(Default)]
struct Largest(Option<f64>);

impl Largest {
    fn take(&mut self, got: f64, want: Option<f64>, relative: bool) {
        let Some(want) = want else { return };
        let error = (got - want).abs() / if relative && want != 0.0 { want.abs() } else { 1.0 };
        self.0 = Some(worse(self.0.unwrap_or(0.0), error));
    }
}

/// Worst differences over the steps.
#[derive(Default)]
struct Worst {
    loss: Largest,
    norm: Largest,
    rate: Largest,
    targets: Largest,
    micro: Largest,
}

impl Worst {
    fn step(&mut self, got: &StepReport, want: &Value) {
        self.loss.take(got.loss, want["loss"].as_f64(), true);
        self.norm.take(got.grad_norm, want["grad_norm"].as_f64(), true);
        self.rate.take(got.learning_rate, want["lr"].as_f64(), true);
        self.targets.take(got.target_tokens as f64, want["targets"].as_f64(), false);
    }

    fn tell(self, judge: &mut Judge) {
        for (what, largest, bound) in [
            ("loss of each step, relative", self.loss, LOSS),
            ("gradient norm of each step, relative", self.norm, NORM),
            ("learning rate of each step, relative", self.rate, 1e-12),
            ("targets of each step", self.targets, 0.0),
            ("loss of each micro-batch, relative", self.micro, LOSS),
        ] {
            if let Some(error) = largest.0 {
                judge.compare(what, error, bound);
            }
        }
    }
}
