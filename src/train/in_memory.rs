//! A training run without a folder, for programs that keep the adapter themselves: the browser's tab. The same
//! trainer, order of rows, schedule and seeds as [`Run`](super::run::Run), so the same adapter comes out.

use super::config::TrainConfig;
use super::event::StepLine;
use super::memory::{Limits, RunPlan};
use super::plan;
use super::schedule::Schedule;
use super::trainer::{Refused, Trainer, TrainerOptions};
use crate::clock::Clock;
use crate::data::{Batch, Dataset, Loader, Sampler, order};
use crate::format::AdapterFile;
use crate::model::{Keep, Model};
use crate::{Error, Result};

/// A run that lives in memory; nothing is written.
pub struct InMemoryRun {
    trainer: Trainer,
    name: String,
    rows: Dataset,
    loader: Loader,
    total: u64,
    pad: u32,
    seconds: f64,
}

impl InMemoryRun {
    /// Prepares to train a new adapter called `name` on `rows`; an adapter of that name is replaced.
    ///
    /// **Errors** [`Error::Invalid`] for settings that make no sense; [`Error::OutOfMemory`]. The model comes
    /// back with them.
    pub async fn new(
        mut model: Model,
        name: &str,
        rows: Dataset,
        config: &TrainConfig,
    ) -> Result<InMemoryRun, Box<Refused>> {
        match Plan::of(&mut model, name, &rows, config).await {
            Err(error) => Err(Box::new(Refused { model, error })),
            Ok(plan) => {
                let options = TrainerOptions::of(config, plan.keep);
                let trainer = Trainer::or_model(model, plan.schedule, options, plan.pass)?;
                let (loader, total, pad) = (plan.loader, plan.total, plan.pad);
                let name = name.to_owned();
                Ok(InMemoryRun { trainer, name, rows, loader, total, pad, seconds: 0.0 })
            }
        }
    }

    /// The model, whose adapter is being trained.
    pub fn model(&self) -> &Model {
        self.trainer.model()
    }

    /// Optimizer steps of the run.
    pub fn total_steps(&self) -> u64 {
        self.total
    }

    /// One optimizer step; `None` when the run is over.
    ///
    /// **Errors** [`Error::NonFinite`], [`Error::Device`].
    pub async fn next(&mut self) -> Result<Option<StepLine>> {
        if self.trainer.steps_done() >= self.total {
            return Ok(None);
        }
        let clock = Clock::start();
        let window = self.loader.next_window();
        let batches: Vec<Batch> = window
            .iter()
            .map(|rows| Batch::new(&self.rows, rows, self.pad))
            .collect::<Result<_>>()?;
        let report = self.trainer.step(&batches).await?;
        let took = clock.seconds();
        self.seconds += took;
        Ok(Some(StepLine {
            step: report.step,
            epoch: self.loader.epochs_done(),
            loss: report.loss,
            learning_rate: report.learning_rate,
            grad_norm: report.grad_norm,
            target_tokens: report.target_tokens,
            tokens_per_second: report.tokens as f64 / took.max(1e-9),
            seconds: self.seconds,
            clamped: report.clamped.into(),
        }))
    }

    /// The adapter as it is now.
    ///
    /// **Errors** [`Error::Device`].
    pub async fn adapter(&self) -> Result<AdapterFile> {
        self.model().adapter()?.to_file(self.model().gpu()).await
    }

    /// Ends the run at any time: the model with the trained adapter active, without what training needed.
    ///
    /// **Errors** [`Error::Device`], with the model.
    pub async fn finish(self) -> Result<(Model, AdapterFile), Box<Refused>> {
        let adapter = self.adapter().await;
        let mut model = self.trainer.into_model();
        let file = match adapter {
            Ok(file) => file,
            Err(error) => return Err(Box::new(Refused { model, error })),
        };
        model.remove_adapter(&self.name);
        match model.add_adapter(&self.name, &file, false).await {
            Ok(()) => Ok((model, file)),
            Err(error) => Err(Box::new(Refused { model, error })),
        }
    }
}

/// All that can be refused, before the model moves into the trainer.
struct Plan {
    schedule: Schedule,
    loader: Loader,
    pass: crate::model::Pass,
    total: u64,
    pad: u32,
    keep: Keep,
}

impl Plan {
    async fn of(
        model: &mut Model,
        name: &str,
        rows: &Dataset,
        config: &TrainConfig,
    ) -> Result<Plan> {
        config.validate()?;
        rows.check()?;
        plan::check_vocabulary(rows, model.config())?;
        let (options, epochs) = (config.loader_options(), config.num_train_epochs);
        let sampler = Sampler { seed: config.seed, ..Sampler::default() };
        let loader = Loader::new(rows.lengths(), options, sampler)?;
        let total = order::total_steps(loader.steps_per_epoch(), epochs, config.max_steps);
        if total == 0 {
            return Err(Error::invalid("training", "comes to no step; give more rows or epochs"));
        }
        let warmup = match config.warmup_steps {
            0 => (config.warmup_ratio * total as f64).ceil() as u64,
            steps => steps,
        };
        let kind = config.lr_scheduler_type;
        let schedule = Schedule::new(kind, config.learning_rate, warmup, total)?;
        let pass = plan::pass_of(rows, None, config);
        let pad = model.config().pad_token_id;
        let pad = pad.filter(|id| (*id as usize) < model.config().vocab_size).unwrap_or(0);
        let limits = Limits::of(model.gpu());
        let memory = RunPlan::new(model.memory(), model.config(), config, pass, limits)?;
        memory.check()?;
        model.add_fresh_adapter(name, &config.adapter_config(), config.seed).await?;
        Ok(Plan { schedule, loader, pass, total, pad, keep: memory.keep })
    }
}
