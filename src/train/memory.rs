//! What a run will take on the device, decided before anything is allocated.

use std::collections::BTreeMap;

use super::config::{Checkpointing, Optim, Precision, TrainConfig};
use super::optimizer::Optimizer;
use super::plan::LargestBatch;
use crate::format::ModelConfig;
use crate::gpu::{Gpu, PARAMS_BYTES};
use crate::model::{AdapterShape, Extent, Keep, MemoryPlan, Outline, Purpose, SoftRows};
use crate::{Error, Result};

/// Activations up to this are kept where the device shares the host's memory, or tells nothing of
/// its own.
const KEEP_BYTES: u64 = 1 << 30;

/// Kernels that a training run compiles, about: settings and the device add some and leave some
/// out.
pub const KERNELS: usize = 28;

/// What a process grows by for each kernel on llvmpipe, on average: Mesa's intermediate code,
/// LLVM's, bind groups, and the pages of driver and program that are first touched then. Measured,
/// see docs/performance.md.
const KERNEL_BYTES: u64 = 9 << 18;

/// How much a device takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Its memory, where it is known.
    pub memory: Option<u64>,
    /// The largest tensor.
    pub tensor: u64,
    /// Whether the memory is a graphics card's own.
    pub own_memory: bool,
    /// Whether the device is a program on the host's processor.
    pub software: bool,
    /// Whether kernels read operands from images.
    pub images: bool,
}

impl Limits {
    /// Those of an open device.
    pub fn of(gpu: &Gpu) -> Limits {
        let own_memory = gpu.caps().adapter.kind == "DiscreteGpu";
        let (memory, tensor) = (gpu.memory_bytes(), gpu.tensor_limit());
        let (software, images) = (gpu.caps().software, gpu.caps().reads_images());
        Limits { memory, tensor, own_memory, software, images }
    }

    /// WebGPU's defaults: what is assumed where no device answers.
    pub fn unknown() -> Limits {
        let (memory, tensor) = (None, crate::gpu::SHARD_BYTES);
        Limits { memory, tensor, own_memory: false, software: false, images: false }
    }

    fn allow(&self, plan: &MemoryPlan) -> bool {
        self.memory.is_none_or(|most| plan.total() <= most) && plan.largest.1 <= self.tensor
    }
}

/// What a run will take, and how it will run so.
#[derive(Clone, Debug)]
pub struct RunPlan {
    /// Bytes, by use.
    pub memory: MemoryPlan,
    /// How activations wait for the backward pass.
    pub keep: Keep,
    /// The largest batch.
    pub largest: LargestBatch,
    /// What the device takes.
    pub limits: Limits,
    suggestion: Option<String>,
}

/// What `config` takes beside the weights; with images, if there are any, for weights of `image`
/// bytes.
fn beside(
    model: &ModelConfig,
    config: &TrainConfig,
    largest: LargestBatch,
    keep: Keep,
    image: Option<u64>,
) -> Result<MemoryPlan> {
    let mut plan = MemoryPlan::default();
    plan.count(Purpose::Workspace, "parameters of dispatches", (PARAMS_BYTES / 4) as usize);
    let outline = Outline::of(&config.adapter_config(), model)?;
    outline.count(&mut plan)?;
    Optimizer::new(&mut plan, &outline.layout, config.optim)?;
    let extent = Extent {
        config: model.clone(),
        largest: largest.pass,
        adapter: AdapterShape {
            rank: config.adapter_config().largest_rank(),
            dora: config.use_dora,
            parted: config.use_dora && config.lora_dropout > 0.0,
        },
        keep: Some(keep),
    };
    extent.count(&mut plan)?;
    if largest.soft_entries > 0 {
        SoftRows::new(&mut plan, largest.pass.targets, largest.soft_entries)?;
    }
    if let Some(weight) = image {
        extent.count_images(weight, &mut plan);
    }
    Ok(plan)
}

/// Whether to keep all activations where the settings leave it open: on a graphics card that has
/// room for twice the total; elsewhere if they are small.
fn keeps(kept: &MemoryPlan, recomputed: &MemoryPlan, limits: Limits) -> bool {
    if !limits.allow(kept) {
        return false;
    }
    let small = kept.total() - recomputed.total() < KEEP_BYTES;
    match limits.memory {
        Some(most) if limits.own_memory => 2 * kept.total() <= most,
        Some(most) => small && 4 * kept.activations <= most,
        None => small,
    }
}

/// Plan and how activations wait.
fn choose(
    weights: &MemoryPlan,
    model: &ModelConfig,
    config: &TrainConfig,
    largest: LargestBatch,
    limits: Limits,
) -> Result<(MemoryPlan, Keep)> {
    let image = limits.images.then_some(weights.largest.1);
    let with = |keep| Ok::<_, Error>(beside(model, config, largest, keep, image)?.and(weights));
    let kept = match config.precision {
        Precision::F32 => Keep::Full,
        Precision::Mixed => Keep::Half,
    };
    let keep = match config.gradient_checkpointing {
        Checkpointing::On => Keep::Recomputed,
        Checkpointing::Off => kept,
        Checkpointing::Auto if keeps(&with(kept)?, &with(Keep::Recomputed)?, limits) => kept,
        Checkpointing::Auto => Keep::Recomputed,
    };
    Ok((with(keep)?, keep))
}

impl RunPlan {
    /// Plans a run on batches of at most `largest` over a model whose weights take `weights`.
    ///
    /// **Errors** [`Error::Invalid`] if the adapter's settings do not fit the model,
    /// [`Error::Unsupported`] for a model that is to be trained with dropped attention weights. A
    /// plan that does not fit is no error here: see [`RunPlan::check`].
    pub fn new(
        weights: &MemoryPlan,
        model: &ModelConfig,
        config: &TrainConfig,
        largest: impl Into<LargestBatch>,
        limits: Limits,
    ) -> Result<RunPlan> {
        let largest = largest.into();
        if model.attention_dropout > 0.0 {
            return Err(Error::Unsupported {
                what: format!("`attention_dropout` = {} in training", model.attention_dropout),
                hint: "set it to 0 in config.json: attention drops nothing here".into(),
            });
        }
        let (memory, keep) = choose(weights, model, config, largest, limits)?;
        let suggestion = match limits.allow(&memory) {
            true => None,
            false => smaller(weights, model, config, largest, limits)?,
        };
        Ok(RunPlan { memory, keep, largest, limits, suggestion })
    }

    /// What a driver that runs on the host's processor keeps of compiled kernels, beside the
    /// device's memory: an estimate. Nothing where kernels are the business of a card.
    pub fn driver(&self) -> u64 {
        if self.limits.software { KERNELS as u64 * KERNEL_BYTES } else { 0 }
    }

    /// Whether the device takes it.
    pub fn fits(&self) -> bool {
        self.limits.allow(&self.memory)
    }

    /// **Errors** [`Error::OutOfMemory`] with the number that does not fit and settings that would.
    pub fn check(&self) -> Result<()> {
        if self.fits() {
            return Ok(());
        }
        let hint = self.suggestion.clone().unwrap_or_else(|| {
            "No smaller batch would fit either: use a smaller model, or another ‹device›".into()
        });
        let (name, bytes) = &self.memory.largest;
        Err(match self.limits.memory {
            Some(limit_bytes) if self.memory.total() > limit_bytes => Error::OutOfMemory {
                what: "this run".into(),
                needed_bytes: self.memory.total(),
                limit_bytes,
                hint,
            },
            _ => Error::OutOfMemory {
                what: format!("the largest tensor of this run, `{name}`,"),
                needed_bytes: *bytes,
                limit_bytes: self.limits.tensor,
                hint,
            },
        })
    }
}

/// Settings that would fit, as few changed as possible, and what they would take.
fn smaller(
    weights: &MemoryPlan,
    model: &ModelConfig,
    config: &TrainConfig,
    largest: LargestBatch,
    limits: Limits,
) -> Result<Option<String>> {
    let (mut config, mut largest) = (config.clone(), largest);
    // In the order in which they are said, each candidate with those before it.
    let (mut changed, mut candidates) = (BTreeMap::new(), Vec::new());
    if config.gradient_checkpointing == Checkpointing::Off {
        if config.precision == Precision::F32 {
            let mixed = TrainConfig { precision: Precision::Mixed, ..config.clone() };
            let alone = BTreeMap::from([(0, "‹precision = mixed›".to_owned())]);
            candidates.push((mixed, largest, alone));
        }
        config.gradient_checkpointing = Checkpointing::On;
        changed.insert(0, "‹gradient_checkpointing = on›".to_owned());
        candidates.push((config.clone(), largest, changed.clone()));
    }
    while largest.pass.batch > 1 {
        let (before, batch) = (largest.pass.batch, largest.pass.batch / 2);
        for count in [&mut largest.pass.targets, &mut largest.soft_entries] {
            *count = (*count * batch).div_ceil(before);
        }
        (largest.pass.batch, config.batch_size) = (batch, batch);
        config.gradient_accumulation_steps *= 2;
        let accumulation = config.gradient_accumulation_steps;
        changed.insert(1, format!("‹batch_size = {batch}›"));
        changed.insert(2, format!("‹gradient_accumulation_steps = {accumulation}›"));
        candidates.push((config.clone(), largest, changed.clone()));
    }
    if config.optim == Optim::Adamw {
        config.optim = Optim::Adamw8bit;
        changed.insert(4, "‹optim = adamw8bit›".to_owned());
        candidates.push((config.clone(), largest, changed.clone()));
    }
    while largest.pass.queries > 16 {
        largest.pass.targets = (largest.pass.targets / 2).max(1);
        largest.pass.queries /= 2;
        changed.insert(5, format!("‹max_length = {}›", largest.pass.queries));
        candidates.push((config.clone(), largest, changed.clone()));
    }
    for (config, largest, changed) in candidates {
        let (plan, _) = choose(weights, model, &config, largest, limits)?;
        if limits.allow(&plan) {
            let settings = Vec::from_iter(changed.into_values()).join(" ");
            return Ok(Some(format!("{settings} would take {} bytes", plan.total())));
        }
    }
    Ok(None)
}
