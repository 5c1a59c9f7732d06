//! QLoRA fine-tuning and inference of Llama models on any GPU.

pub mod error;
pub mod gpu;
pub mod kernels;
pub mod reference;

pub use error::{Error, Result};
