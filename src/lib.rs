//! QLoRA fine-tuning and inference of Llama models on any GPU.

pub mod error;

pub use error::{Error, Result};
