//! `config.json` of Hugging Face's models: read, with keys that nobody reads told, and written.

mod config;
mod keys;
mod write;

pub use config::ModelConfig;
