//! Repositories of the Hugging Face hub: what the cache has of them, and what is downloaded into
//! it.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo};

use super::Downloads;
use crate::{Error, Result};

/// A repository: a model, or a data set.
pub(super) struct Hub {
    /// `OWNER/NAME`.
    name: String,
    /// What to say where there is none of this name, or no connection.
    hints: Hints,
    cache: PathBuf,
    cached: CacheRepo,
    repo: Repo,
}

/// What the user may have meant, or may do instead.
#[derive(Clone, Copy)]
pub(super) struct Hints {
    /// Where there is no such repository.
    pub(super) missing: &'static str,
    /// Where it cannot be reached.
    pub(super) instead: &'static str,
}

/// A repository that answers.
pub(super) struct Remote<'h> {
    hub: &'h Hub,
    api: ApiRepo,
}

/// Whether `text` can be a part of a name on the hub.
pub(super) fn is_part(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && !text.chars().all(|c| c == '.')
}

fn is_set(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|v| !["", "0", "false", "FALSE", "no"].contains(&v.as_str()))
}

impl Hub {
    pub(super) fn new(name: &str, repo: Repo, hints: Hints) -> Hub {
        let cache = Cache::from_env();
        let (path, cached) = (cache.path().clone(), cache.repo(repo.clone()));
        Hub { name: name.into(), hints, cache: path, cached, repo }
    }

    /// A file in the cache.
    pub(super) fn found(&self, file: &str) -> Option<PathBuf> {
        self.cached.get(file)
    }

    /// All files that the cache has, as the repository names them.
    pub(super) fn all_found(&self) -> Vec<String> {
        let folder = self.cache.join(self.repo.folder_name());
        let Ok(commit) = std::fs::read_to_string(folder.join("refs").join(self.repo.revision()))
        else {
            return Vec::new();
        };
        let (mut names, root) = (Vec::new(), self.cached.pointer_path(commit.trim()));
        walk(&root, "", &mut names);
        names.sort();
        names
    }

    /// Asks the hub. **Errors** if `HF_HUB_OFFLINE` forbids it.
    pub(super) fn connect(&self) -> Result<Remote<'_>> {
        if is_set("HF_HUB_OFFLINE") || is_set("TRANSFORMERS_OFFLINE") {
            let why = format!(
                "not (or not all of it) in the cache {}, and HF_HUB_OFFLINE forbids to download it",
                self.cache.display()
            );
            return Err(Error::invalid(&self.name, why));
        }
        let mut builder = ApiBuilder::from_env().with_retries(3);
        let token =
            ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"].iter().find_map(|n| std::env::var(n).ok());
        if let Some(token) = token.filter(|token| !token.trim().is_empty()) {
            builder = builder.with_token(Some(token.trim().to_owned()));
        }
        let api = builder.build().map_err(|e| self.explain(e))?;
        Ok(Remote { hub: self, api: api.repo(self.repo.clone()) })
    }

    /// What the user can do about it.
    fn explain(&self, error: ApiError) -> Error {
        let text = error.to_string();
        let says = |code: &str| text.contains(code);
        let name = &self.name;
        let hint = if says("401") || says("403") {
            format!(
                "accept its licence on the hub and give a token (HF_TOKEN, or `hf auth login`), if {name} is the right name"
            )
        } else if says("404") {
            self.hints.missing.to_owned()
        } else {
            format!("check the connection (HF_ENDPOINT, proxies), or {}", self.hints.instead)
        };
        Error::io(name)(std::io::Error::other(format!("{hint}: {text}")))
    }
}

/// Adds the files below `folder`, `prefix` before their names.
fn walk(folder: &Path, prefix: &str, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        // Links lead to the files' contents.
        match entry.path().is_dir() {
            true => walk(&entry.path(), &format!("{name}/"), names),
            false => names.push(name),
        }
    }
}

impl Remote<'_> {
    /// The names of its files.
    pub(super) fn files(&self) -> Result<Vec<String>> {
        let info = self.api.info().map_err(|e| self.hub.explain(e))?;
        Ok(info.siblings.into_iter().map(|s| s.rfilename).collect())
    }

    /// A file: from the cache, or downloaded into it.
    pub(super) fn get(&self, file: &str, downloads: &mut Downloads) -> Result<PathBuf> {
        if let Some(path) = self.hub.found(file) {
            return Ok(path);
        }
        tracing::info!("downloading {}/{file}", self.hub.name);
        let watched = Watched { downloads, file, done: 0, all: 0 };
        let done = self.api.download_with_progress(file, watched);
        done.map_err(|e| Error::io(file)(std::io::Error::other(self.hub.explain(e))))
    }
}

/// One file on its way.
struct Watched<'w, 'd> {
    downloads: &'w mut Downloads<'d>,
    file: &'w str,
    done: u64,
    all: u64,
}

impl Watched<'_, '_> {
    fn tell(&mut self) {
        (self.downloads)(self.file, self.done, self.all);
    }
}

impl hf_hub::api::Progress for Watched<'_, '_> {
    fn init(&mut self, size: usize, _: &str) {
        self.all = size as u64;
        self.tell();
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        self.tell();
    }

    fn finish(&mut self) {
        self.done = self.all;
        self.tell();
    }
}
