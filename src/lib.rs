//! QLoRA fine-tuning and inference of Llama models on any GPU.
//!
//! An adapter trained on rows in memory, kept as PEFT keeps it, and an answer of the model that has
//! it:
//!
//! ```
//! use wgpu_lora::prelude::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> { pollster::block_on(async {
//! # #[cfg(any())]
//! let gpu = Gpu::new().await?;
//! # let gpu = Gpu::with(GpuOptions { validate_only: true, ..GpuOptions::default() }).await?;
//! // A folder, a .gguf file, or a name on the Hugging Face hub.
//! let (model, tokenizer) = Model::open(&gpu, "assets/model").await?;
//!
//! let text = br#"{"prompt": "The sky is", "completion": " blue."}
//! {"prompt": "Grass is", "completion": " green."}"#;
//! let rows = Dataset::from_text("colours", text, &tokenizer, &DatasetOptions::default())?;
//!
//! let settings = TrainConfig { rank: 8, max_steps: Some(3), ..TrainConfig::default() };
//! let mut run = InMemoryRun::new(model, "colours", rows, &settings).await?;
//! while let Some(step) = run.next().await? {
//!     println!("step {}: loss {:.3}", step.step, step.loss);
//! }
//! let (model, adapter) = run.finish().await?;
//! # let folder = tempfile::tempdir()?;
//! adapter.save(&folder)?;
//!
//! let options = GenerateOptions { max_new_tokens: 4, ..GenerateOptions::default() };
//! let mut answer = Generator::new(&model, &tokenizer, "The sky is", options)?;
//! while let Some(token) = answer.next().await? {
//!     print!("{}", token.text);
//! }
//! # Ok(()) }) }
//! ```
//!
//! `examples/` has more. With `default-features = false` none of the command line's dependencies is
//! built; the feature `hub` adds models by name.

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
pub mod prelude;
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
