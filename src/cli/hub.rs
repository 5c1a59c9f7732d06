//! A model of the Hugging Face hub, by name: from the cache, or downloaded into it.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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
        let plain = |part: &&str| {
            !part.is_empty()
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                && !part.chars().all(|c| c == '.')
        };
        if !parts.iter().all(plain) {
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

/// The folder, or the GGUF file, of a model of this name: from the cache if all of it is there, without asking anybody;
/// otherwise downloaded. `HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN` and `HF_HUB_OFFLINE` mean what they mean to Python's
/// package, which shares the cache.
pub(super) fn model(name: &Name) -> Result<PathBuf> {
    let cache = Cache::from_env();
    let repo = Repo::model(name.repo.clone());
    let cached = cache.repo(repo.clone());
    let found = |file: &str| cached.get(file);
    if let Some(path) = complete(name, &found) {
        tracing::info!("{} from the cache: {}", name.repo, path.display());
        return Ok(path);
    }
    if is_set("HF_HUB_OFFLINE") || is_set("TRANSFORMERS_OFFLINE") {
        bail!(
            "{}: not (or not all of it) in the cache {}, and HF_HUB_OFFLINE forbids to download it",
            name.repo,
            cache.path().display()
        );
    }
    let mut builder = ApiBuilder::from_env().with_retries(3);
    let token = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"].iter().find_map(|n| std::env::var(n).ok());
    if let Some(token) = token.filter(|token| !token.trim().is_empty()) {
        builder = builder.with_token(Some(token.trim().to_owned()));
    }
    let api: Api = builder.build().map_err(|e| explain(name, e))?;
    let remote = api.repo(repo);
    let info = remote.info().map_err(|e| explain(name, e))?;
    let there: Vec<String> = info.siblings.into_iter().map(|s| s.rfilename).collect();
    let get = |file: &str| fetch(name, &remote, &found, file);
    if let Some(file) = gguf_of(name, &there)? {
        return get(&file);
    }
    let has = |file: &str| there.iter().any(|name| name == file);
    for file in BESIDE {
        if has(file) {
            get(file)?;
        }
    }
    if has(WEIGHTS) {
        get(WEIGHTS)?;
    } else {
        let index = get(INDEX)?;
        for shard in shards(&index)? {
            get(&shard)?;
        }
    }
    complete(name, &found).ok_or_else(|| {
        anyhow!("{}: config.json is missing there, so this is no model that works here", name.repo)
    })
}

fn is_set(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|v| !["", "0", "false", "FALSE", "no"].contains(&v.as_str()))
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

/// A bar for one file; hidden where it would not be seen.
struct Bar(ProgressBar);

impl hf_hub::api::Progress for Bar {
    fn init(&mut self, size: usize, filename: &str) {
        self.0.set_length(size as u64);
        self.0.set_message(filename.to_owned());
    }

    fn update(&mut self, size: usize) {
        self.0.inc(size as u64);
    }

    fn finish(&mut self) {
        self.0.finish_and_clear();
    }
}

fn fetch(
    name: &Name,
    remote: &ApiRepo,
    found: &dyn Fn(&str) -> Option<PathBuf>,
    file: &str,
) -> Result<PathBuf> {
    if let Some(path) = found(file) {
        return Ok(path);
    }
    // With -q not even warnings are wanted.
    let seen = std::io::stderr().is_terminal() && tracing::enabled!(tracing::Level::WARN);
    let target = if seen { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let template = "{msg} {bytes:>10}/{total_bytes:10} {wide_bar} {eta:>4}";
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ");
    tracing::info!("downloading {}/{file}", name.repo);
    let bar = Bar(ProgressBar::with_draw_target(Some(0), target).with_style(style));
    remote.download_with_progress(file, bar).map_err(|e| explain(name, e).context(file.to_owned()))
}

/// What the user can do about it.
fn explain(name: &Name, error: ApiError) -> anyhow::Error {
    let text = error.to_string();
    let says = |code: &str| text.contains(code);
    let repo = &name.repo;
    let hint = if says("401") || says("403") {
        format!(
            "accept its licence on the hub and give a token (HF_TOKEN, or `hf auth login`), if {repo} is the right name"
        )
    } else if says("404") {
        "there is no model of this name, and no such folder".to_owned()
    } else {
        "check the connection (HF_ENDPOINT, proxies), or give a folder or a .gguf file".to_owned()
    };
    anyhow!("{repo}: {hint}: {text}")
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
