//! The files of a model: checkpoints, configurations, adapters and tokenizers, read by position and checked before use.

mod atomic;
mod chat_template;
mod checkpoint;
mod hf_config;
mod json;
mod nf4_weight;
mod peft;
mod peft_config;
mod prequant;
mod rope;
mod safetensors;
mod safetensors_write;
mod source;
mod tokenizer;

pub use atomic::write_atomic;
pub use chat_template::ChatTemplate;
pub use checkpoint::Checkpoint;
pub use hf_config::{ModelConfig, QuantizationConfig};
pub use nf4_weight::read_nf4;
pub use peft::AdapterFile;
pub use peft_config::{AdapterConfig, TargetModules};
pub use prequant::{Prequantized, read_prequantized};
pub use rope::{Rope, RopeScaling};
pub use safetensors::{DType, SafetensorsFile, TensorInfo};
pub use safetensors_write::{SafetensorsWriter, TensorData, to_safetensors, write_safetensors};
pub use source::{ByteSource, FileSource, MemorySource};
pub use tokenizer::{DecodeStream, Offsets, Tokenizer};
