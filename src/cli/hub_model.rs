//! A model of the hub, by name: from the cache, or downloaded into it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use hf_hub::Repo;

use super::hub::{Hints, Hub, is_part};

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
pub(super) struct Name {
    repo: String,
    gguf: Option<String>,
}

impl Name {
    /// The name that a MODEL spells, if it spells one.
    pub(super) fn parse(model: &str) -> Option<Name> {
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

/// The folder, or the GGUF file, of a model of this name: from the cache if all of it is there, without asking anybody;
/// otherwise downloaded.
pub(super) fn model(name: &Name) -> Result<PathBuf> {
    let hub = Hub::new(&name.repo, Repo::model(name.repo.clone()), HINTS);
    let found = |file: &str| hub.found(file);
    if let Some(path) = complete(name, &found) {
        tracing::info!("{} from the cache: {}", name.repo, path.display());
        return Ok(path);
    }
    let remote = hub.connect()?;
    let there = remote.files()?;
    if let Some(file) = gguf_of(name, &there)? {
        return remote.get(&file);
    }
    let has = |file: &str| there.iter().any(|name| name == file);
    for file in BESIDE {
        if has(file) {
            remote.get(file)?;
        }
    }
    if has(WEIGHTS) {
        remote.get(WEIGHTS)?;
    } else {
        let index = remote.get(INDEX)?;
        for shard in shards(&index)? {
            remote.get(&shard)?;
        }
    }
    complete(name, &found).ok_or_else(|| {
        anyhow!("{}: config.json is missing there, so this is no model that works here", name.repo)
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
    let text = std::fs::read(index).with_context(|| index.display().to_string())?;
    let value: serde_json::Value =
        serde_json::from_slice(&text).with_context(|| index.display().to_string())?;
    let map = value["weight_map"].as_object();
    let map = map.ok_or_else(|| anyhow!("{}: has no weight_map", index.display()))?;
    let mut names: Vec<String> =
        map.values().filter_map(|v| v.as_str()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    match names.iter().find(|name| name.contains(['/', '\\'])) {
        Some(odd) => bail!("{}: `{odd}` is no plain file name", index.display()),
        None => Ok(names),
    }
}

/// The GGUF file that is meant, where the repository has no safetensors.
fn gguf_of(name: &Name, there: &[String]) -> Result<Option<String>> {
    let files: Vec<&String> =
        there.iter().filter(|f| f.ends_with(".gguf") && !f.contains(['/', '\\'])).collect();
    if let Some(wanted) = &name.gguf {
        if files.contains(&wanted) {
            return Ok(Some(wanted.clone()));
        }
        bail!("{}: there is no {wanted}; there are {files:?}", name.repo);
    }
    if there.iter().any(|file| [WEIGHTS, INDEX].contains(&file.as_str())) {
        return Ok(None);
    }
    match files[..] {
        [] => {
            bail!("{}: has neither safetensors nor GGUF files, and others are not read", name.repo)
        }
        [one] => Ok(Some(one.clone())),
        [first, ..] => bail!(
            "{}: has {} GGUF files; name one of {files:?}, as in {}/{first}",
            name.repo,
            files.len(),
            name.repo
        ),
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
