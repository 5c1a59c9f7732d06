//! LoRA adapters as PEFT saves and loads them.

mod config;
mod fields;
mod file;
mod keys;
mod layers;
mod note;
mod pattern;
mod targets;

pub use config::AdapterConfig;
pub use file::AdapterFile;
pub use note::{RowFormat, TrainingNote};
pub use pattern::{Pattern, PatternMap};
pub use targets::TargetModules;
