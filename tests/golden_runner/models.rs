//! The real model and the tokenizers that `cargo xtask models` downloads.

use std::path::PathBuf;

use super::judge::{Outcome, wrong};

const HINT: &str = "run `cargo xtask models`, or set WGPU_LORA_MODELS to where they are";

/// `$WGPU_LORA_MODELS`, or the cache folder that `cargo xtask models` fills.
fn folder() -> Outcome<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = || {
        if cfg!(target_os = "macos") {
            set("HOME").map(|home| home.join("Library/Caches"))
        } else if cfg!(windows) {
            set("LOCALAPPDATA")
        } else {
            set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))
        }
    };
    match set("WGPU_LORA_MODELS").or_else(|| Some(cache()?.join("wgpu-lora/models"))) {
        Some(folder) => Ok(folder),
        None => wrong(format!("there is no cache folder to look for models: {HINT}")),
    }
}

/// A file or folder of the models. An error says how to get them.
pub fn path(name: &str) -> Outcome<PathBuf> {
    let path = folder()?.join(name);
    match path.exists() {
        true => Ok(path),
        false => wrong(format!("{} is missing: {HINT}", path.display())),
    }
}
