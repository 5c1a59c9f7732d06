//! A training run: steps, evaluations and checkpoints, one event at a time, pulled by the caller.

pub mod dir;
mod files;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::{self, CheckpointState, Due};
use super::config::TrainConfig;
use super::course::{Course, Stepped};
use super::durable::{self, NamedBytes};
use super::event::{EvalLine, Event, StepLine, Summary};
use super::memory::RunPlan;
use super::plan;
use super::ranks::{self, Alone, Ranks};
use crate::data::Dataset;
use crate::format::{AdapterFile, TrainingNote};
use crate::gpu::{Choices, Policy};
use crate::model::{Model, adapter_notes};
use crate::{Error, Result};
use dir::RunDir;
use files::{Found, adapter_files, inputs, optimizer_file, same_on_all, same_run, variants};

/// A training run in its folder.
pub struct Run {
    course: Course,
    out: PathBuf,
    /// Of `out`, on rank 0.
    dir: Option<RunDir>,
    /// Evaluation rows, and their order.
    held_out: Option<(Dataset, Vec<u32>)>,
    state: CheckpointState,
    over: bool,
    /// Whether ranks were compared since it began.
    compared: bool,
    notes: Vec<String>,
    /// What goes into an adapter's folder beside its two files.
    beside: Vec<NamedBytes>,
}

/// What to do where there is a run already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Refuse.
    Fresh,
    /// Go on with it; begin one where there is none.
    Resume,
}

/// The policy and the kernel variants that the run in `out` began with, to open the device with
/// when it is resumed.
///
/// **Errors** [`Error::Invalid`] if there is a run and `start` is [`Start::Fresh`], or no
/// checkpoint can be used.
pub fn recorded_variants(out: &Path, start: Start) -> Result<Option<(Policy, Choices)>> {
    if start == Start::Fresh && out.join("run.toml").exists() {
        let why = "holds a run already; give ‹resume› to go on with it, or another ‹out›";
        return Err(Error::invalid(out.display(), why));
    }
    let (found, _) = checkpoint::latest(out)?;
    let variants = found.map(|checkpoint| checkpoint.state.variants);
    Ok(variants.and_then(|variants| {
        let policy = Policy::recorded(variants.get("policy")?);
        Some((policy, Choices::recorded(&variants)))
    }))
}

impl Run {
    /// Prepares a run in `out`, or goes on with the one there. The model's adapters are ignored: it
    /// gets a new one, with the values of `init_adapter` if the settings name one.
    ///
    /// **Errors** [`Error::Invalid`] for settings that make no sense or differ from those of the
    /// run to be resumed, other data, or another choice of kernel variants; [`Error::OutOfMemory`].
    pub async fn new(
        model: Model,
        rows: Dataset,
        held_out: Option<Dataset>,
        config: TrainConfig,
        out: &Path,
        start: Start,
    ) -> Result<Run> {
        Run::on_ranks(Arc::new(Alone), model, rows, held_out, config, out, start).await
    }

    /// [`Run::new`] as one of several ranks, which all call it with the same arguments and then
    /// [`Run::next`] and [`Run::save`] together. Only rank 0 touches `out`.
    ///
    /// **Errors** also [`Error::Invalid`] where a window has fewer micro-batches than there are
    /// ranks, or ranks have different settings, rows, weights or kernel variants.
    pub async fn on_ranks(
        ranks: Arc<dyn Ranks>,
        model: Model,
        rows: Dataset,
        held_out: Option<Dataset>,
        config: TrainConfig,
        out: &Path,
        start: Start,
    ) -> Result<Run> {
        config.check_ranks(ranks.size())?;
        let course = Course::new(model, "default", rows, held_out.as_ref(), config).await;
        let mut course = course.map_err(|refused| refused.error)?;
        course.trainer = course.trainer.with_ranks(ranks.clone());
        let (model, config) = (course.trainer.model(), &course.config);
        let mut state = CheckpointState {
            position: course.loader.position(),
            settings: config.fingerprint()?,
            data: course.rows.fingerprint(),
            inputs: inputs(model, held_out.as_ref()),
            due: Due { evaluation: true, save: false },
            variants: variants(model.gpu().caps(), config.precision),
            ..CheckpointState::default()
        };
        same_on_all(&*ranks, model.gpu().caps(), &state)?;
        let (dir, found, mut notes) = match start {
            _ if ranks.rank() > 0 => (None, None, Vec::new()),
            Start::Fresh => (Some(RunDir::start(out, config)?), None, Vec::new()),
            Start::Resume => {
                let (dir, resumed) = RunDir::resume(out, config)?;
                (Some(dir), resumed.checkpoint, resumed.notes)
            }
        };
        let found = Found::on_all(&*ranks, found)?;
        notes.extend(adapter_notes(&config.adapter_config(), None, model.config()));
        if let (None, Some(folder)) = (&found, &config.init_adapter) {
            let file = AdapterFile::load(folder)?;
            config.check_adapter(&file)?;
            notes.extend_from_slice(&file.config.notes);
            course.trainer.begin_from(&file.tensors).await?;
        }
        if let Some(found) = found {
            notes.extend(same_run(&found.checkpoint, &state)?);
            found.restore(&mut course.trainer).await?;
            let inputs = state.inputs;
            state = CheckpointState { inputs, ..found.checkpoint.state };
            course.continue_at(state.position)?;
            course.seconds = state.seconds.unwrap_or(0.0);
        }
        let held_out = held_out.map(|data| {
            let order = plan::evaluation_order(&data);
            (data, order)
        });
        state.due.evaluation &= held_out.is_some();
        let (out, over, compared, beside) = (out.to_path_buf(), false, false, Vec::new());
        Ok(Run { course, out, dir, held_out, state, over, compared, notes, beside })
    }

    /// Files, by name, that each folder with an adapter is to hold beside the adapter's own.
    pub fn keep_beside(&mut self, files: Vec<(String, Vec<u8>)>) {
        self.beside = files;
    }

    /// Things the user should hear before the first step: about the run that was resumed, and
    /// settings without effect.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The model, whose adapter is being trained.
    pub fn model(&self) -> &Model {
        self.course.trainer.model()
    }

    /// What the adapter is trained on; it lies beside the adapter.
    pub fn note(&self) -> TrainingNote {
        self.course.note()
    }

    /// Optimizer steps done.
    pub fn step(&self) -> u64 {
        self.state.step
    }

    /// Optimizer steps of the run.
    pub fn total_steps(&self) -> u64 {
        self.course.total
    }

    /// Bytes on the device, by use, and how the run runs so.
    pub fn memory(&self) -> &RunPlan {
        &self.course.memory
    }

    /// Does the next thing and says what it was; `None` when the run is over. Dropping the run
    /// between two calls is like a `kill`: resuming goes on from the last checkpoint, with what was
    /// due there.
    ///
    /// **Errors** [`Error::NonFinite`] names step and rows; [`Error::Io`]; [`Error::Device`].
    pub async fn next(&mut self) -> Result<Option<Event>> {
        if self.over {
            return Ok(None);
        }
        let event = if self.state.due.evaluation {
            Event::Eval(self.evaluate().await?)
        } else if self.state.due.save {
            Event::Saved(self.save().await?)
        } else if self.finished() {
            Event::Done(self.finish().await?)
        } else {
            let (step, logged) = self.train().await?;
            Event::Step { step, logged }
        };
        Ok(Some(event))
    }

    async fn finish(&mut self) -> Result<Summary> {
        let adapter = self.write_adapter("adapter").await?;
        self.over = true;
        Ok(Summary {
            steps: self.state.step,
            stopped_early: self.out_of_patience(),
            best: self.state.best_eval_loss.zip(self.state.best_step),
            seconds: self.state.seconds.unwrap_or(0.0),
            adapter,
        })
    }

    fn out_of_patience(&self) -> bool {
        let patience = self.course.config.early_stopping_patience;
        patience.is_some_and(|most| self.state.evals_without_improvement >= most)
    }

    fn finished(&self) -> bool {
        self.state.step >= self.course.total || self.out_of_patience()
    }

    /// What has to be done after a step.
    fn due(&self) -> Due {
        let (step, epoch_ends) = (self.state.step, self.course.loader.at_epoch_end());
        let last = step >= self.course.total;
        let evaluation = match self.course.config.eval_steps {
            Some(n) => step.is_multiple_of(n),
            None => epoch_ends,
        };
        Due {
            evaluation: self.held_out.is_some() && (evaluation || last),
            save: self.course.config.save_steps.due(step, epoch_ends) || last,
        }
    }

    async fn train(&mut self) -> Result<(StepLine, Option<StepLine>)> {
        let Stepped { line, tokens, seconds } = self.course.step().await?;
        let state = &mut self.state;
        state.step = line.step;
        state.position = self.course.loader.position();
        state.target_tokens += line.target_tokens as u64;
        state.seconds = Some(self.course.seconds);
        state.unlogged.add(&line, tokens, seconds);
        if !std::mem::replace(&mut self.compared, true) {
            self.course.trainer.compare_ranks().await?;
        }
        self.state.due = self.due();
        let logging_steps = self.course.config.logging_steps;
        let logged = line.step.is_multiple_of(logging_steps) || line.step == self.course.total;
        let logged = logged.then(|| self.state.unlogged.take(&line));
        if let (Some(logged), Some(dir)) = (&logged, &mut self.dir) {
            dir.log(logged)?;
        }
        Ok((line, logged))
    }

    async fn evaluate(&mut self) -> Result<EvalLine> {
        let (mut sum, mut count) = (0f64, 0u64);
        if let Some((data, order)) = &self.held_out {
            let ranks = self.course.trainer.ranks();
            let batches = Vec::from_iter(order.chunks(self.course.config.batch_size));
            let mut own: Vec<(f64, u64)> = Vec::new();
            for some in &batches[ranks::share(batches.len(), ranks.rank(), ranks.size())] {
                let batch = plan::evaluation_batch(data, some)?;
                let (loss, targets) = self.course.trainer.loss_sum(&batch).await?;
                own.push((loss, targets as u64));
            }
            // In the order of batches, whoever has computed them.
            for (loss, targets) in ranks::gather_sums(ranks, &own)? {
                sum += loss;
                count += targets;
            }
        }
        let eval_loss = sum / count.max(1) as f64;
        let step = self.state.step;
        if !eval_loss.is_finite() {
            let (what, rows) = ("the evaluation loss".into(), "of the evaluation data".into());
            return Err(Error::NonFinite { step: step as usize, what, rows });
        }
        let best = self.state.best_eval_loss.is_none_or(|before| eval_loss < before);
        if best {
            self.write_adapter("best").await?;
            self.state.best_eval_loss = Some(eval_loss);
            self.state.best_step = Some(step);
            self.state.evals_without_improvement = 0;
        } else {
            self.state.evals_without_improvement += 1;
        }
        self.state.due.evaluation = false;
        self.state.due.save |= self.out_of_patience();
        let line = EvalLine { step, eval_loss, best };
        if let Some(dir) = &mut self.dir {
            dir.log(&line)?;
        }
        Ok(line)
    }

    /// Writes a checkpoint and `adapter/` now, between any two events, and deletes checkpoints over
    /// the limit. All ranks call it, and wait until rank 0 has written.
    pub async fn save(&mut self) -> Result<PathBuf> {
        self.course.trainer.compare_ranks().await?;
        let mut state = self.state.clone();
        // One that waits for an evaluation keeps what that finds.
        state.due.save &= state.due.evaluation;
        if let Some(dir) = &mut self.dir {
            state.metrics_bytes = dir.metrics.sync()?;
            let (adapter, moments) = self.course.trainer.snapshot().await?;
            let mut files = adapter_files(&adapter, &self.course.note())?;
            let whole = [files.as_slice(), &self.beside].concat();
            durable::write_dir(&self.out.join("adapter"), &whole)?;
            files.push(optimizer_file(moments)?);
            checkpoint::write(&self.out, &state, &files)?;
            if let Some(keep) = self.course.config.save_total_limit {
                checkpoint::prune(&self.out, keep)?;
            }
        }
        self.course.trainer.ranks().barrier()?;
        self.state = state;
        Ok(checkpoint::folder_of(&self.out, self.state.step))
    }

    /// Rank 0 writes it.
    async fn write_adapter(&self, folder: &str) -> Result<PathBuf> {
        let path = self.out.join(folder);
        if self.dir.is_some() {
            let adapter = self.model().adapter()?.to_file(self.model().gpu()).await?;
            let files = adapter_files(&adapter, &self.course.note())?;
            durable::write_dir(&path, &[files, self.beside.clone()].concat())?;
        }
        Ok(path)
    }
}
