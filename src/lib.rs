//! QLoRA fine-tuning and inference of Llama models on any GPU.

pub mod error;
pub mod format;
pub mod quant;

pub use error::{Error, Result};
