//! QLoRA fine-tuning and inference of Llama models on any GPU.

#![warn(missing_docs, unreachable_pub)]

pub mod data;
pub mod error;
pub mod export;
pub mod format;
pub mod generate;
pub mod gpu;
pub mod kernels;
pub mod model;
pub mod quant;
pub mod random;
pub mod reference;
pub mod train;

pub use error::{Error, Result};
