//! The course of a run, in a folder or in memory: its rows in the loader's order through the
//! trainer.

use super::config::TrainConfig;
use super::event::StepLine;
use super::memory::{Limits, RunPlan};
use super::plan::{self, LargestBatch};
use super::schedule::{Schedule, warmup_steps};
use super::trainer::{Refused, Trainer, TrainerOptions};
use crate::clock::Clock;
use crate::data::{Batch, Dataset, Loader, Position, order};
use crate::format::TrainingNote;
use crate::model::Model;
use crate::{Error, Result};

/// Everything between a run's settings and its steps.
#[cfg_attr(
    target_arch = "wasm32",
    allow(dead_code, reason = "some are for runs in a folder, which only native builds have")
)]
pub(super) struct Course {
    pub(super) config: TrainConfig,
    pub(super) rows: Dataset,
    pub(super) loader: Loader,
    pub(super) trainer: Trainer,
    /// Optimizer steps in all.
    pub(super) total: u64,
    pub(super) memory: RunPlan,
    /// Time trained.
    pub(super) seconds: f64,
}

/// What a step did.
#[cfg_attr(
    target_arch = "wasm32",
    allow(dead_code, reason = "some are for runs in a folder, which only native builds have")
)]
pub(super) struct Stepped {
    pub(super) line: StepLine,
    /// Its tokens.
    pub(super) tokens: usize,
    /// Its time.
    pub(super) seconds: f64,
}

/// What can be refused before the model moves into the trainer.
struct Prepared {
    config: TrainConfig,
    loader: Loader,
    schedule: Schedule,
    memory: RunPlan,
}

impl Prepared {
    async fn of(
        model: &mut Model,
        adapter: &str,
        rows: &Dataset,
        held_out: Option<&Dataset>,
        config: TrainConfig,
    ) -> Result<Prepared> {
        config.validate()?;
        let config = config.for_model(model.config());
        rows.check()?;
        for data in [Some(rows), held_out].into_iter().flatten() {
            plan::check_vocabulary(data, model.config())?;
        }
        let begin = Position { seed: config.seed, ..Position::default() };
        let loader = Loader::new(rows.lengths(), config.loader_options(), begin)?;
        let (epochs, per_epoch) = (config.num_train_epochs, loader.steps_per_epoch());
        let total = order::total_steps(per_epoch, epochs, config.max_steps);
        let warmup = warmup_steps(config.warmup_steps, config.warmup_ratio, total);
        let kind = config.lr_scheduler_type;
        let schedule = Schedule::new(kind, config.learning_rate, warmup, total)?;
        let largest = LargestBatch::of(rows, held_out, &config);
        let limits = Limits::of(model.gpu());
        let memory = RunPlan::new(model.memory(), model.config(), &config, largest, limits)?;
        memory.check()?;
        model.add_fresh_adapter(adapter, &config.adapter_config(), config.seed).await?;
        Ok(Prepared { config, loader, schedule, memory })
    }
}

impl Course {
    /// Prepares to train a new adapter of that name.
    ///
    /// **Errors** [`Error::Invalid`] for settings that make no sense; [`Error::OutOfMemory`]. The
    /// model comes back with them.
    pub(super) async fn new(
        mut model: Model,
        adapter: &str,
        rows: Dataset,
        held_out: Option<&Dataset>,
        config: TrainConfig,
    ) -> Result<Course, Box<Refused>> {
        match Prepared::of(&mut model, adapter, &rows, held_out, config).await {
            Err(error) => Err(Box::new(Refused { model, error })),
            Ok(Prepared { config, loader, schedule, memory }) => {
                let options = TrainerOptions::of(&config, memory.keep);
                let total = schedule.total_steps;
                let trainer = Trainer::or_model(model, schedule, options, memory.largest)?;
                Ok(Course { config, rows, loader, trainer, total, memory, seconds: 0.0 })
            }
        }
    }

    /// What the adapter is trained on.
    pub(super) fn note(&self) -> TrainingNote {
        TrainingNote { rows: self.rows.row_format() }
    }

    /// Goes on with the rows from there.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn continue_at(&mut self, position: Position) -> Result<()> {
        let options = self.config.loader_options();
        self.loader = Loader::new(self.rows.lengths(), options, position)?;
        Ok(())
    }

    /// The next optimizer step.
    ///
    /// **Errors** [`Error::NonFinite`] names the rows by file and line; [`Error::Device`].
    pub(super) async fn step(&mut self) -> Result<Stepped> {
        let clock = Clock::start();
        let window = self.loader.next_window();
        let batches = window.iter().map(|rows| Batch::new(&self.rows, rows));
        let batches = batches.collect::<Result<Vec<Batch>>>()?;
        let stepped = self.trainer.step(&batches).await;
        let report = stepped.map_err(|error| with_origins(error, &self.rows, &window))?;
        let seconds = clock.seconds();
        self.seconds += seconds;
        let line = StepLine {
            step: report.step,
            epoch: self.loader.epochs_done(),
            loss: report.loss,
            learning_rate: report.learning_rate,
            grad_norm: report.grad_norm,
            target_tokens: report.target_tokens,
            tokens_per_second: report.tokens as f64 / seconds.max(1e-9),
            seconds: self.seconds,
            clamped: report.clamped.into(),
        };
        Ok(Stepped { line, tokens: report.tokens, seconds })
    }
}

/// Names the rows of a window by file and line.
fn with_origins(error: Error, rows: &Dataset, window: &[Vec<usize>]) -> Error {
    let Error::NonFinite { step, what, .. } = error else { return error };
    const MOST: usize = 16;
    let all: Vec<usize> = window.iter().flatten().copied().collect();
    let named: Vec<String> = all.iter().take(MOST).map(|&row| rows.origin(row)).collect();
    let mut named = named.join(", ");
    if all.len() > MOST {
        named.push_str(&format!(" and {} more", all.len() - MOST));
    }
    Error::NonFinite { step, what, rows: named }
}
