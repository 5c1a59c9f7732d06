//! QLoRA fine-tuning and inference of Llama models on any GPU.

pub mod data;
pub mod error;
pub mod generate;
pub mod train;

pub use error::{Error, Result};
