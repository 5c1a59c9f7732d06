//! What most programs need: `use wgpu_lora::prelude::*;`.

pub use crate::data::{Batch, Dataset, DatasetOptions};
pub use crate::format::{AdapterFile, ModelFiles, Special, Tokenizer};
pub use crate::generate::{GenerateOptions, Generator, SamplerOptions};
pub use crate::gpu::{Gpu, GpuOptions};
pub use crate::model::{Keep, LoadOptions, Model, Pass};
#[cfg(not(target_arch = "wasm32"))]
pub use crate::train::Run;
pub use crate::train::{
    Event, InMemoryRun, Schedule, SchedulerType, TrainConfig, Trainer, TrainerOptions,
};
