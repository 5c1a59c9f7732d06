//! A model of the hub, by name: from the cache, or downloaded into it.

use std::path::{Path, PathBuf};

use hf_hub::Repo;

use super::Downloads;
use super::repository::{Hints, Hub, is_part};
use crate::format::is_gguf;
use crate::{Error, Result};

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Files beside the weights; only the first must be there.
const BESIDE: [&str; 6] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
];

/// `OWNER/NAME`, or `OWNER/NAME/FILE.gguf`.
struct Name {
    repo: String,
    gguf: Option<String>,
}

impl Name {
    /// The name that a MODEL spells, if it spells one.
    fn parse(model: &str) -> Option<Name> {
        let parts: Vec<&str> = model.split('/').collect();
        if !parts.iter().all(|part| is_part(part)) {
            return None;
        }
        match parts[..] {
            [owner, name] => Some(Name { repo: format!("{owner}/{name}"), gguf: None }),
            [owner, name, file] if file.ends_with(".gguf") => {
                Some(Name { repo: format!("{owner}/{name}"), gguf: Some(file.into()) })
            }
            _ => None,
        }
    }
}

const HINTS: Hints = Hints {
    missing: "there is no model of this name, and no such folder",
    instead: "give a folder or a .gguf file",
};

const WORKS: &str = "give a .gguf file, or a folder with config.json, model.safetensors (or shards with their \
                     index) and tokenizer.json, or a Hugging Face name";

/// The folder or GGUF file of `model`: a path to one, or a name of the hub, `OWNER/NAME` or
/// `OWNER/NAME/FILE.gguf`. A model that the cache has whole is found without asking anybody.
///
/// **Errors** where there is neither file nor model of that name, or the hub does not give it.
pub fn locate(model: &str, downloads: &mut Downloads) -> Result<PathBuf> {
    let path = Path::new(model);
    let bad = |why: &str| Error::invalid(format!("model `{model}`"), format!("{why}; {WORKS}"));
    if model.is_empty() {
        return Err(bad("the name is empty"));
    }
    if path.is_dir() || path.is_file() && is_gguf(path) {
        return Ok(path.to_path_buf());
    }
    if path.is_file() {
        return Err(bad("is a file of another kind"));
    }
    let name = Name::parse(model).ok_or_else(|| bad("no such folder or file"))?;
    of_name(&name, downloads)
}

/// The folder, or the GGUF file, of a model of this name: from the cache if all of it is there,
/// without asking anybody; otherwise downloaded.
fn of_name(name: &Name, downloads: &mut Downloads) -> Result<PathBuf> {
    let hub = Hub::new(&name.repo, Repo::model(name.repo.clone()), HINTS);
    let found = |file: &str| hub.found(file);
    if let Some(path) = complete(name, &found) {
        tracing::info!("{} from the cache: {}", name.repo, path.display());
        return Ok(path);
    }
    let remote = hub.connect()?;
    let there = remote.files()?;
    if let Some(file) = gguf_of(name, &there)? {
        return remote.get(&file, downloads);
    }
    let has = |file: &str| there.iter().any(|name| name == file);
    for file in BESIDE {
        if has(file) {
            remote.get(file, downloads)?;
        }
    }
    if has(WEIGHTS) {
        remote.get(WEIGHTS, downloads)?;
    } else {
        let index = remote.get(INDEX, downloads)?;
        for shard in shards(&index)? {
            remote.get(&shard, downloads)?;
        }
    }
    complete(name, &found).ok_or_else(|| {
        let why = "config.json is missing there, so this is no model that works here";
        Error::invalid(&name.repo, why)
    })
}

/// What the cache has of a model, if it has all of it.
fn complete(name: &Name, found: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    if let Some(file) = &name.gguf {
        return found(file);
    }
    let config = found("config.json")?;
    if found(WEIGHTS).is_none() {
        let all = shards(&found(INDEX)?).ok()?;
        all.iter().all(|shard| found(shard).is_some()).then_some(())?;
    }
    found("tokenizer.json")?;
    config.parent().map(Path::to_path_buf)
}

/// The files that an index names.
fn shards(index: &Path) -> Result<Vec<String>> {
    let bad = |why: String| Error::invalid(index.display(), why);
    let text = std::fs::read(index).map_err(Error::io(index))?;
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
    let map = value["weight_map"].as_object().ok_or_else(|| bad("has no weight_map".into()))?;
    let mut names: Vec<String> =
        map.values().filter_map(|v| v.as_str()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    match names.iter().find(|name| name.contains(['/', '\\'])) {
        Some(odd) => Err(bad(format!("`{odd}` is no plain file name"))),
        None => Ok(names),
    }
}

/// The GGUF file that is meant, where the repository has no safetensors.
fn gguf_of(name: &Name, there: &[String]) -> Result<Option<String>> {
    let files: Vec<&String> =
        there.iter().filter(|f| f.ends_with(".gguf") && !f.contains(['/', '\\'])).collect();
    let none = |why: String| Err(Error::invalid(&name.repo, why));
    if let Some(wanted) = &name.gguf {
        if files.contains(&wanted) {
            return Ok(Some(wanted.clone()));
        }
        return none(format!("there is no {wanted}; there are {files:?}"));
    }
    if there.iter().any(|file| [WEIGHTS, INDEX].contains(&file.as_str())) {
        return Ok(None);
    }
    match files[..] {
        [] => none("has neither safetensors nor GGUF files, and others are not read".into()),
        [one] => Ok(Some(one.clone())),
        [first, ..] => none(format!(
            "has {} GGUF files; name one of {files:?}, as in {}/{first}",
            files.len(),
            name.repo
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_paths() {
        assert_eq!(Name::parse("meta-llama/Llama-3.2-1B").unwrap().repo, "meta-llama/Llama-3.2-1B");
        let file = Name::parse("a/b/c-Q4_K_M.gguf").unwrap();
        assert_eq!((file.repo.as_str(), file.gguf.as_deref()), ("a/b", Some("c-Q4_K_M.gguf")));
        for path in ["a", "./a", "../a", "a/b/c", "/a/b", "a//b", "a/..", "a b/c", ""] {
            assert!(Name::parse(path).is_none(), "{path}");
        }
    }
}
