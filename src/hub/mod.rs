//! Models and data sets of the Hugging Face hub, by name: from the cache that Python's package
//! shares, or downloaded into it.
//!
//! `HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN` and `HF_HUB_OFFLINE` mean what they mean to Python's
//! package.

mod data;
mod model;
mod repository;

pub use data::data_files;
pub use model::locate;

/// Hears of downloads: the file, the bytes that are here, and all of them; equal when it is done.
pub type Downloads<'d> = dyn FnMut(&str, u64, u64) + 'd;
