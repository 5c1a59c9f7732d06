//! Llama on the device: frozen weights, LoRA adapters, activations, and the passes over them. Layers
//! record operations; nothing here knows wgpu.

mod block;
mod head;
mod init;
mod kv_cache;
mod linear;
mod llama;
mod load;
mod lora;
mod module;
mod passes;
mod slab;
mod workspace;

pub(crate) use block::DropoutKey;
pub use head::HeadLoss;
pub use kv_cache::KvCache;
pub(crate) use llama::STAT_LOSS;
pub use llama::{Model, Shard, TrainableParameters};
pub use load::{LoadOptions, Progress, Quant, upload_nf4};
pub use lora::{Adapter, LoraConfig, Tensors};
pub use module::Module;
pub use workspace::{Pass, Workspace};
