//! Training on the host's side: settings, learning-rate schedule, initial adapters and dropout
//! seeds, and the run directory with its metrics and checkpoints. The run directory needs a file
//! system, so its modules are absent on wasm32; everything else is the same there.

pub mod config;
mod course;
pub mod event;
pub mod in_memory;
pub mod memory;
pub mod plan;
pub mod ranks;
pub mod schedule;

// The modules that need a file system; the only place that says so.
#[cfg(not(target_arch = "wasm32"))]
pub mod checkpoint;
#[cfg(not(target_arch = "wasm32"))]
pub mod durable;
#[cfg(not(target_arch = "wasm32"))]
mod exact;
#[cfg(not(target_arch = "wasm32"))]
pub mod metrics;
pub mod optimizer;
#[cfg(not(target_arch = "wasm32"))]
pub mod run;
#[cfg(not(target_arch = "wasm32"))]
pub mod tensorboard;
pub mod trainer;
#[cfg(not(target_arch = "wasm32"))]
pub mod unlogged;

pub use config::TrainConfig;
pub use event::{Event, StepLine};
pub use in_memory::InMemoryRun;
pub use memory::{Limits, RunPlan};
pub use ranks::Ranks;
#[cfg(not(target_arch = "wasm32"))]
pub use run::Run;
pub use schedule::{Schedule, SchedulerType};
pub use trainer::{Refused, StepReport, Trainer, TrainerOptions};
