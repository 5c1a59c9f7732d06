//! A training run without a folder, for programs that keep the adapter themselves: the browser's
//! tab. The same trainer, order of rows, schedule and seeds as [`Run`](super::run::Run), so the
//! same adapter comes out.

use super::config::TrainConfig;
use super::course::Course;
use super::event::StepLine;
use super::trainer::Refused;
use crate::Result;
use crate::data::Dataset;
use crate::format::{AdapterFile, TrainingNote};
use crate::model::Model;

/// A run that lives in memory; nothing is written.
pub struct InMemoryRun {
    course: Course,
    name: String,
}

impl InMemoryRun {
    /// Prepares to train a new adapter called `name` on `rows`; an adapter of that name is
    /// replaced.
    ///
    /// **Errors** [`Error::Invalid`](crate::Error::Invalid) for settings that make no sense, or
    /// only in a folder (evaluations, checkpoints);
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory). The model comes back with them.
    pub async fn new(
        model: Model,
        name: &str,
        rows: Dataset,
        config: &TrainConfig,
    ) -> Result<InMemoryRun, Box<Refused>> {
        if let Err(error) = config.validate_in_memory() {
            return Err(Box::new(Refused { model, error }));
        }
        let course = Course::new(model, name, rows, None, config.clone()).await?;
        Ok(InMemoryRun { course, name: name.to_owned() })
    }

    /// The model, whose adapter is being trained.
    pub fn model(&self) -> &Model {
        self.course.trainer.model()
    }

    /// Optimizer steps of the run.
    pub fn total_steps(&self) -> u64 {
        self.course.total
    }

    /// One optimizer step; `None` when the run is over.
    ///
    /// **Errors** [`Error::NonFinite`](crate::Error::NonFinite),
    /// [`Error::Device`](crate::Error::Device).
    pub async fn next(&mut self) -> Result<Option<StepLine>> {
        match self.course.trainer.steps_done() < self.course.total {
            true => Ok(Some(self.course.step().await?.line)),
            false => Ok(None),
        }
    }

    /// What the adapter is trained on, to be kept beside it.
    pub fn note(&self) -> TrainingNote {
        self.course.note()
    }

    /// The adapter as it is now.
    ///
    /// **Errors** [`Error::Device`](crate::Error::Device).
    pub async fn adapter(&self) -> Result<AdapterFile> {
        self.model().adapter()?.to_file(self.model().gpu()).await
    }

    /// Ends the run at any time: the model with the trained adapter active, without what training
    /// needed.
    ///
    /// **Errors** [`Error::Device`](crate::Error::Device), with the model.
    pub async fn finish(self) -> Result<(Model, AdapterFile), Box<Refused>> {
        let adapter = self.adapter().await;
        let mut model = self.course.trainer.into_model();
        let file = match adapter {
            Ok(file) => file,
            Err(error) => return Err(Box::new(Refused { model, error })),
        };
        model.remove_adapter(&self.name);
        match model.add_adapter(&self.name, &file).await {
            Ok(()) => Ok((model, file)),
            Err(error) => Err(Box::new(Refused { model, error })),
        }
    }
}
