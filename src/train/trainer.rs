//! One optimizer step: micro-batches, clipping, AdamW, and one small read-back.

use super::config::{Optim, TrainConfig};
use super::optimizer::{Optimizer, OptimizerState, Step};
use super::plan::LargestBatch;
use super::ranks::{self, Alone, Ranks};
use super::schedule::Schedule;
use crate::data::Batch;
use crate::model::{
    Device, DropoutKey, Keep, Model, Precision, STAT_CLAMPED, STAT_LOSS, SoftRows, Workspace,
};
use crate::random::Fnv;
use crate::{Error, Result};
use std::sync::Arc;

/// How the loss of an accumulation window is normalised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LossNormalisation {
    /// Sum of NLL over the window's target tokens, as the Hugging Face Trainer does.
    #[default]
    Tokens,
    /// Mean over micro-batches of their mean NLL, as plain loops do.
    MeanOfMeans,
}

/// Settings of [`Trainer`] beyond the schedule.
#[derive(Clone, Copy, Debug)]
pub struct TrainerOptions {
    /// How AdamW keeps its state.
    pub optim: Optim,
    /// AdamW's β₁, β₂.
    pub betas: (f64, f64),
    /// AdamW's ε.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Gradients are scaled down to this total L2 norm; 0 turns that off.
    pub max_grad_norm: f64,
    /// Loss normalisation.
    pub normalisation: LossNormalisation,
    /// Seed of the dropout masks.
    pub seed: u64,
    /// How activations wait for the backward pass.
    pub keep: Keep,
    /// How the model computes while it is trained.
    pub precision: Precision,
}

impl TrainerOptions {
    /// The options that a run's settings imply.
    pub fn of(config: &TrainConfig, keep: Keep) -> TrainerOptions {
        TrainerOptions {
            optim: config.optim,
            betas: (config.adam_beta1, config.adam_beta2),
            eps: config.adam_epsilon,
            weight_decay: config.weight_decay,
            max_grad_norm: config.max_grad_norm,
            normalisation: LossNormalisation::Tokens,
            seed: config.seed,
            keep,
            precision: config.precision,
        }
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug)]
pub struct StepReport {
    /// From 1.
    pub step: u64,
    /// Mean NLL of the window, by its normalisation; with what soft targets add to it.
    pub loss: f64,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Total L2 norm of the gradients before clipping.
    pub grad_norm: f64,
    /// Targets of the window.
    pub target_tokens: usize,
    /// Tokens of the window.
    pub tokens: usize,
    /// Activations that lay beyond f16's range where they are kept at 16 bits, and became ± 65504:
    /// the gradients are not those of the loss.
    pub clamped: u32,
}

/// Training that could not begin: the reason, and the model for other uses.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Refused {
    /// As it was, perhaps with a new adapter.
    pub model: Model,
    /// Why.
    pub error: Error,
}

/// Trains the active adapter of a model.
pub struct Trainer {
    model: Model,
    space: Workspace,
    /// For the largest batch; made again for one that has more than was said.
    soft: Option<SoftRows>,
    schedule: Schedule,
    options: TrainerOptions,
    optimizer: Optimizer,
    step: u64,
    /// Number of the next batch of the step.
    micro: u32,
    /// Of the model before and after.
    precision: Precision,
    ranks: Arc<dyn Ranks>,
    /// What other ranks give.
    scratch: Vec<f32>,
}

impl Trainer {
    /// Prepares to train on batches of at most `largest`. **Errors** [`Error::Invalid`] without a
    /// trainable active adapter; [`Error::OutOfMemory`].
    pub fn new(
        model: Model,
        schedule: Schedule,
        options: TrainerOptions,
        largest: impl Into<LargestBatch>,
    ) -> Result<Trainer> {
        Trainer::or_model(model, schedule, options, largest.into()).map_err(|refused| refused.error)
    }

    /// [`Trainer::new`], which gives the model back where it fails.
    pub(super) fn or_model(
        mut model: Model,
        schedule: Schedule,
        options: TrainerOptions,
        largest: LargestBatch,
    ) -> Result<Trainer, Box<Refused>> {
        let allocate = || -> Result<(Optimizer, Workspace, Option<SoftRows>)> {
            let adapter = model.adapter()?;
            adapter.gradient_slabs()?;
            let mut device = Device::new(model.gpu());
            let optimizer = Optimizer::new(&mut device, adapter.layout(), options.optim)?;
            let LargestBatch { pass, soft_entries } = largest;
            let soft = (soft_entries > 0)
                .then(|| SoftRows::new(&mut device, pass.targets, soft_entries))
                .transpose()?;
            Ok((optimizer, model.workspace(pass, Some(options.keep))?, soft))
        };
        match allocate() {
            Ok((optimizer, space, soft)) => {
                let precision = model.precision();
                model.set_precision(options.precision);
                let (step, micro) = (0, 0);
                let ranks = Arc::new(Alone);
                Ok(Trainer {
                    model,
                    space,
                    soft,
                    schedule,
                    options,
                    optimizer,
                    step,
                    micro,
                    precision,
                    ranks,
                    scratch: Vec::new(),
                })
            }
            Err(error) => Err(Box::new(Refused { model, error })),
        }
    }

    /// Trains as one of several ranks: [`Trainer::step`] takes the whole window and computes its
    /// share of it; [`Trainer::update`] sums what [`Trainer::backward`] has gathered on each rank.
    #[must_use]
    pub fn with_ranks(self, ranks: Arc<dyn Ranks>) -> Trainer {
        Trainer { ranks, ..self }
    }

    /// The ranks that train together.
    pub fn ranks(&self) -> &dyn Ranks {
        &*self.ranks
    }

    /// Ends training: the model with its adapter.
    pub fn into_model(mut self) -> Model {
        self.model.set_precision(self.precision);
        self.model
    }

    /// The model, whose active adapter is being trained.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The model, to change an adapter's metadata.
    pub fn model_mut(&mut self) -> &mut Model {
        &mut self.model
    }

    /// The activations, for evaluation between steps.
    pub fn workspace(&self) -> &Workspace {
        &self.space
    }

    /// Steps done.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Parameters in PEFT's names and AdamW's state: all that a step changes.
    pub async fn snapshot(&self) -> Result<(crate::format::AdapterFile, OptimizerState)> {
        let (adapter, gpu) = (self.model.adapter()?, self.model.gpu());
        Ok((adapter.to_file(gpu).await?, self.optimizer.state(adapter, gpu).await?))
    }

    /// Goes on after `step` steps with what [`Trainer::snapshot`] gave then. **Errors**
    /// [`Error::MissingTensor`], [`Error::Shape`] if it is of another adapter.
    pub async fn restore(
        &mut self,
        step: u64,
        parameters: &crate::model::Tensors,
        state: &OptimizerState,
    ) -> Result<()> {
        let (adapter, gpu) = (self.model.adapter()?, self.model.gpu());
        adapter.load(gpu, parameters)?;
        self.optimizer.load(adapter, gpu, state).await?;
        self.step = step;
        self.model.refresh_adapter().await
    }

    /// Gives the adapter other values before the first step.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) async fn begin_from(&mut self, parameters: &crate::model::Tensors) -> Result<()> {
        self.model.adapter()?.load(self.model.gpu(), parameters)?;
        self.model.refresh_adapter().await
    }

    /// Forward and backward of this rank's share of a window without the optimizer: gradients
    /// accumulate. The sum of the NLL waits on the device; the mean of means is read micro-batch by
    /// micro-batch and returned, that of all ranks.
    async fn accumulate(&mut self, window: &[Batch]) -> Result<Option<f64>> {
        let total: usize = window.iter().map(|batch| batch.targets.len()).sum();
        let (gpu, stats) = (self.model.gpu().clone(), self.model.stats().clone());
        gpu.write(&stats, &[0.0; 8])?;
        let (mut sum, mut means) = (0.0, 0.0);
        let share = ranks::share(window.len(), self.ranks.rank(), self.ranks.size());
        for micro in share {
            let batch = &window[micro];
            let targets = batch.targets.len();
            if targets == 0 {
                continue;
            }
            let scale = match self.options.normalisation {
                LossNormalisation::Tokens => 1.0 / total as f64,
                LossNormalisation::MeanOfMeans => 1.0 / (targets * window.len()) as f64,
            };
            self.micro = micro as u32;
            self.backward(batch, scale)?;
            if self.options.normalisation == LossNormalisation::MeanOfMeans {
                let now = f64::from(gpu.read(&stats).await?[STAT_LOSS]);
                means += (now - sum) / (targets * window.len()) as f64;
                sum = now;
            }
        }
        if self.options.normalisation == LossNormalisation::Tokens {
            return Ok(None);
        }
        let all = self.ranks.all_gather(bytemuck::bytes_of(&means))?;
        Ok(Some(all.iter().map(|bytes| bytemuck::pod_read_unaligned::<f64>(bytes)).sum()))
    }

    /// Makes gradients, summed loss and clamped activations those of all ranks, summed in their
    /// order.
    async fn sum_over_ranks(&mut self) -> Result<()> {
        if self.ranks.size() == 1 {
            return Ok(());
        }
        let (gpu, stats) = (self.model.gpu(), self.model.stats());
        let mut scratch = std::mem::take(&mut self.scratch);
        for slab in self.model.adapter()?.gradient_slabs()? {
            let mut gradients = gpu.read(slab).await?;
            ranks::sum(&*self.ranks, &mut gradients, &mut scratch)?;
            gpu.write(slab, &gradients)?;
        }
        self.scratch = scratch;
        let mut own = gpu.read_words(stats).await?;
        let all = self.ranks.all_gather(bytemuck::cast_slice(&own))?;
        let (mut loss, mut clamped) = (0f32, 0u32);
        for words in &all {
            let words: &[[u8; 4]] = bytemuck::cast_slice(words);
            loss += f32::from_ne_bytes(words[STAT_LOSS]);
            clamped = clamped.saturating_add(u32::from_ne_bytes(words[STAT_CLAMPED]));
        }
        (own[STAT_LOSS], own[STAT_CLAMPED]) = (loss.to_bits(), clamped);
        gpu.write_words(stats, 0, &own)
    }

    /// Checks that every rank has the same parameters. **Errors** [`Error::Invalid`] where it has
    /// not, with the ranks; [`Error::Device`].
    pub async fn compare_ranks(&self) -> Result<()> {
        if self.ranks.size() == 1 {
            return Ok(());
        }
        let (mut hash, gpu) = (Fnv::default(), self.model.gpu());
        for slab in self.model.adapter()?.slabs() {
            hash = hash.with(bytemuck::cast_slice(&gpu.read_words(slab).await?));
        }
        let adapter = &gpu.caps().adapter;
        let about = format!("{}, {}", adapter.name, adapter.driver);
        let what = format!("hash of the parameters after step {}", self.step);
        let facts = [(what, format!("{:016x}", hash.finish()))].into();
        let advice = "their devices round differently; use GPUs of one kind under one driver";
        ranks::agree(&*self.ranks, &about, &facts, advice)
    }

    /// Forward and backward of a batch, for a loss of one's own: adds the gradients of
    /// `scale · ΣNLL` to those that [`Trainer::update`] will take, soft targets included.
    ///
    /// A loss f(NLL₁, …) of several sequences has the gradient Σ ∂f/∂NLLᵢ · ∇NLLᵢ: each sequence is
    /// a batch, and the derivative its scale. [`Model::token_nll`] gives the NLLs.
    ///
    /// **Errors** [`Error::Invalid`] for ids outside the vocabulary or a batch larger than the
    /// trainer was made for; [`Error::Device`].
    pub fn backward(&mut self, batch: &Batch, scale: f64) -> Result<()> {
        let key = DropoutKey { seed: self.options.seed, step: self.step, micro: self.micro };
        self.micro += 1;
        let soft = match batch.soft.rows.is_empty() {
            true => None,
            false => Some(SoftRows::holding(&mut self.soft, self.model.gpu(), batch)?),
        };
        self.model.micro_batch(&self.space, batch, scale as f32, Some(key), soft)
    }

    /// AdamW with the gradients that [`Trainer::backward`] gathered, at the schedule's learning
    /// rate; gives their L2 norm before clipping.
    ///
    /// **Errors** [`Error::NonFinite`]: the parameters are as before, the gradients are zero.
    /// [`Error::Device`].
    pub async fn update(&mut self) -> Result<f64> {
        let norm = f64::from(self.optimize().await?[0]);
        self.finite("the gradient norm", norm, &[])?;
        Ok(norm)
    }

    /// The optimizer's part of a step, and the statistics after it.
    async fn optimize(&mut self) -> Result<Vec<f32>> {
        self.sum_over_ranks().await?;
        self.record_optimizer(self.schedule.learning_rate(self.step))?;
        let stats = self.model.gpu().read(self.model.stats()).await?;
        self.step += 1;
        self.micro = 0;
        Ok(stats)
    }

    fn finite(&self, what: &str, value: f64, window: &[Batch]) -> Result<()> {
        if value.is_finite() {
            return Ok(());
        }
        let rows = window.iter().flat_map(|b| &b.rows).map(|row| (row + 1).to_string());
        let rows = Vec::from_iter(rows).join(", ");
        Err(Error::NonFinite { step: self.step as usize, what: what.into(), rows })
    }

    /// Gradients of one window in PEFT's names, and its loss; parameters stay. For comparisons.
    pub async fn gradients(&mut self, window: &[Batch]) -> Result<(f64, crate::model::Tensors)> {
        self.accumulate(window).await?;
        self.sum_over_ranks().await?;
        let gpu = self.model.gpu().clone();
        let gradients = self.model.adapter()?.gradients(&gpu).await?;
        for slab in self.model.adapter()?.gradient_slabs()? {
            gpu.write(slab, &vec![0.0; slab.len()])?;
        }
        let stats = gpu.read(self.model.stats()).await?;
        let targets: usize = window.iter().map(|batch| batch.targets.len()).sum();
        Ok((f64::from(stats[STAT_LOSS]) / targets as f64, gradients))
    }

    /// One optimizer step on a window of micro-batches, the same on every rank.
    ///
    /// **Errors** [`Error::NonFinite`] if loss or gradient is not finite: the parameters are as
    /// before the step. [`Error::Invalid`] if the window has no target.
    pub async fn step(&mut self, window: &[Batch]) -> Result<StepReport> {
        let target_tokens: usize = window.iter().map(|batch| batch.targets.len()).sum();
        if target_tokens == 0 {
            return Err(Error::invalid("batch", "no row has a target token"));
        }
        let learning_rate = self.schedule.learning_rate(self.step);
        let means = self.accumulate(window).await?;
        let stats = self.optimize().await?;
        let (grad_norm, nll) = (f64::from(stats[0]), f64::from(stats[STAT_LOSS]));
        let loss = means.unwrap_or(nll / target_tokens as f64);
        self.finite("the loss", loss, window)?;
        self.finite("the gradient norm", grad_norm, window)?;
        Ok(StepReport {
            step: self.step,
            loss,
            learning_rate,
            grad_norm,
            target_tokens,
            tokens: window.iter().map(|batch| batch.ids.len()).sum(),
            clamped: stats[STAT_CLAMPED].to_bits(),
        })
    }

    /// Norm, clipping and AdamW over the slabs.
    fn record_optimizer(&self, learning_rate: f64) -> Result<()> {
        let mut rec = self.model.gpu().recorder("optimizer");
        let step = Step {
            t: self.step + 1,
            lr: learning_rate,
            betas: self.options.betas,
            eps: self.options.eps,
            weight_decay: self.options.weight_decay,
            max_grad_norm: self.options.max_grad_norm,
        };
        self.optimizer.record(&mut rec, self.model.adapter()?, self.model.stats(), step)?;
        self.model.record_refresh(&mut rec)?;
        rec.submit()
    }

    /// Mean NLL over the targets of held-out batches.
    pub async fn evaluate(&self, batches: impl IntoIterator<Item = Batch>) -> Result<f64> {
        let (mut sum, mut count) = (0f64, 0usize);
        for batch in batches {
            let (loss, targets) = self.loss_sum(&batch).await?;
            sum += loss;
            count += targets;
        }
        Ok(sum / count.max(1) as f64)
    }

    /// The summed loss of a batch, and its targets.
    pub(super) async fn loss_sum(&self, batch: &Batch) -> Result<(f64, usize)> {
        let nll = self.model.token_nll(&self.space, batch).await?;
        Ok((nll.iter().map(|&v| f64::from(v)).sum(), nll.len()))
    }
}
