//! GGUF: llama.cpp's files, read as a checkpoint with its tokenizer, and written.

mod blocks;
mod config;
mod cursor;
mod file;
mod keys;
mod metadata;
mod pre;
mod special;
mod spm;
mod spm_vocab;
mod table;
mod tokenizer;
mod value;
mod vocab;
mod weights;
mod write;

pub use blocks::GgufType;
pub(crate) use config::ROPE_FACTORS;
pub use file::GgufFile;
pub use table::GgufTensor;
pub use value::{GgufNumbers, GgufValue};
pub use vocab::tokenizer_fields;
pub use weights::GgufWeights;
pub(crate) use weights::gguf_name;
pub use write::{GgufAnnounced, GgufField, GgufWriter};
