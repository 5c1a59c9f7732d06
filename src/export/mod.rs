//! Results in other forms: adapters merged into weights, Hugging Face folders, GGUF files.

mod adapted;
mod compare;
mod folder;
mod gguf;
mod merge;

pub use compare::{inner_product, norm};
pub use folder::{MergeProgress, merge};
pub use gguf::{export_gguf, export_lora_gguf};
pub use merge::{Delta, merged_weight};
