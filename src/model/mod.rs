//! Llama on the device: frozen weights, LoRA adapters, activations, and the passes over them. Layers
//! record operations; nothing here knows wgpu.

mod block;
mod head;
mod kv_cache;
mod linear;
mod llama;
mod load;
mod lora;
mod module;
mod slab;
mod workspace;

pub use kv_cache::KvCache;
pub use llama::{Model, TrainableParameters};
pub use load::{LoadOptions, Progress, Quant};
pub use lora::{Adapter, LoraConfig};
pub use module::Module;
pub use workspace::{Pass, Workspace};
