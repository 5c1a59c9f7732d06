//! QLoRA fine-tuning and inference of Llama models on any GPU.

#![warn(missing_docs, unreachable_pub)]

#[cfg(all(feature = "cli", not(target_arch = "wasm32")))]
pub mod cli;
mod clock;
pub mod data;
pub mod error;
pub mod export;
pub mod format;
pub mod generate;
pub mod gpu;
#[cfg(all(feature = "hub", not(target_arch = "wasm32")))]
pub mod hub;
pub mod kernels;
pub mod model;
pub mod pricer;
pub mod quant;
pub mod random;
pub mod reference;
#[cfg(all(feature = "cli", not(target_arch = "wasm32")))]
pub mod report;
pub mod selftest;
pub mod train;
#[cfg(all(feature = "web", target_arch = "wasm32"))]
pub mod web;

pub use error::{Error, Result};
