//! Llama on the device: frozen weights, LoRA adapters, activations, and the passes over them.
//! Layers record operations; nothing here knows wgpu.

mod block;
mod frame;
mod head;
mod init;
mod kv_cache;
mod linear;
mod llama;
mod load;
mod lora;
mod lora_notes;
#[cfg(not(target_arch = "wasm32"))]
mod open;
mod passes;
mod plan;
mod precision;
mod slab;
mod slots;
mod soft_rows;
mod stats;
mod weight_plan;
mod weights;
mod workspace;

pub use crate::format::Module;
pub(crate) use block::DropoutKey;
pub use head::HeadLoss;
pub use kv_cache::KvCache;
pub use llama::{Model, TrainableParameters};
pub use load::{Progress, upload_nf4};
pub(crate) use lora::Outline;
pub use lora::{Adapter, Tensors};
pub use lora_notes::adapter_notes;
pub use plan::MemoryPlan;
pub(crate) use plan::{Allocate, Device, Purpose};
pub use precision::Precision;
pub(crate) use slab::Layout;
pub use slots::{SlotCache, SlotRow};
pub use soft_rows::SoftRows;
pub(crate) use stats::{STAT_CLAMPED, STAT_LOSS};
pub use weights::{LoadOptions, Quant, Shard};
pub(crate) use workspace::{AdapterShape, Extent};
pub use workspace::{Keep, Pass, Workspace};
