//! The files of a model: checkpoints, configurations, adapters and tokenizers, read by position and
//! checked before use.

mod atomic;
mod checkpoint;
mod conversation;
mod family;
mod gguf;
mod hf;
mod json;
mod model_files;
mod module;
#[cfg_attr(
    target_arch = "wasm32",
    allow(dead_code, reason = "templates write dates, and the browser renders them elsewhere")
)]
mod moment;
mod names;
mod nf4_weight;
mod peft;
mod prequant;
mod quant_config;
mod random;
mod rope;
mod rope_config;
mod safetensors;
mod safetensors_write;
mod shapes;
mod source;
#[cfg_attr(target_arch = "wasm32", path = "template_web.rs")]
mod template;
#[cfg(target_arch = "wasm32")]
mod template_request;
mod tensors;
mod tokenizer;

#[cfg(all(feature = "cli", not(target_arch = "wasm32")))]
pub(crate) use atomic::PendingFile;
pub use atomic::write_atomic;
pub use checkpoint::{Checkpoint, WeightFile, is_gguf};
pub use conversation::{Conversation, Rendered};
pub use family::Family;
pub(crate) use family::check_window;
pub use gguf::{
    GgufAnnounced, GgufField, GgufFile, GgufNumbers, GgufTensor, GgufType, GgufValue, GgufWeights,
    GgufWriter, tokenizer_fields,
};
pub(crate) use gguf::{ROPE_FACTORS, gguf_name};
pub use hf::ModelConfig;
pub(crate) use json::reason as json_error_reason;
pub use model_files::ModelFiles;
pub use module::Module;
pub use moment::Moment;
pub(crate) use names::{EMBED, HEAD, NORM};
pub use nf4_weight::read_nf4;
pub use peft::{
    AdapterConfig, AdapterFile, Pattern, PatternMap, RowFormat, TargetModules, TrainingNote,
};
pub use prequant::{Prequantized, read_prequantized};
pub use quant_config::QuantizationConfig;
pub use rope::{Rope, RopeScaling};
pub use safetensors::{DType, SafetensorsFile, TensorInfo};
pub use safetensors_write::{SafetensorsWriter, TensorData, to_safetensors, write_safetensors};
pub use shapes::ModelShape;
pub use source::{ByteSource, FileSource, MemorySource};
pub use template::ChatTemplate;
#[cfg(target_arch = "wasm32")]
pub use template::set_template_renderer;
pub use tokenizer::{Beside, DecodeStream, Named, Offsets, Special, Tokenizer};
