//! What of an adapter's settings and files changes nothing in a model.

use super::lora::{layers, plan};
use crate::format::{AdapterConfig, AdapterFile, ModelConfig};

/// What of an adapter's settings and files changes nothing in this model, a line each: keys that
/// nobody reads, patterns, names and numbers that match no layer, and, of a file, layers whose
/// tensors are missing. PEFT warns of the same.
pub fn adapter_notes(
    config: &AdapterConfig,
    file: Option<&AdapterFile>,
    model: &ModelConfig,
) -> Vec<String> {
    let meant: Vec<String> = plan(config, model).iter().map(|p| p.module.path(p.layer)).collect();
    let mut notes = config.notes.clone();
    notes.extend(config.without_effect(&meant));
    if let Some(exclude) = &config.exclude_modules {
        let others = ["lm_head", "model.embed_tokens"].map(str::to_owned);
        let all = layers(model).map(|(layer, module)| module.path(layer)).chain(others);
        if !Vec::from_iter(all).iter().any(|module| exclude.contains(module)) {
            notes.push(format!("exclude_modules: `{exclude}` excludes none of the model's layers"));
        }
    }
    notes.extend(file.and_then(AdapterFile::idle_bias));
    let there = file.map(AdapterFile::modules).unwrap_or_default();
    let missing: Vec<&String> = match file {
        Some(_) => meant.iter().filter(|m| !there.contains(&m.as_str())).collect(),
        None => Vec::new(),
    };
    if let Some(first) = missing.first() {
        let more = match missing.len() {
            1 => String::new(),
            n => format!(" and {} other layers", n - 1),
        };
        notes.push(format!(
            "the configuration means `{first}`{more}, but the file has no tensors for it: nothing is added there"
        ));
    }
    notes
}
