//! Data sets of the hub, by name: their Parquet files, told apart by split as the datasets library
//! does by their names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hf_hub::{Repo, RepoType};

use super::Downloads;
use super::repository::{Hints, Hub, is_part};
use crate::{Error, Result};

/// `OWNER/NAME`, perhaps `/SUBSET` (a configuration), perhaps `:SPLIT`.
#[derive(Debug, PartialEq)]
struct Name {
    repo: String,
    subset: Option<String>,
    split: Option<String>,
}

/// Where Parquet lies: as the owner put it there, or as the hub converts every public data set.
const REVISIONS: [&str; 2] = ["main", "refs/convert/parquet"];

/// Names of splits and the words that stand for them in names of files and folders.
/// **Source** The datasets library, `data_files.py`.
const KEYWORDS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "dev", "val"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];

/// Endings of names that mean files here.
const FILES: [&str; 8] = ["jsonl", "ndjson", "json", "csv", "tsv", "parquet", "gz", "zst"];

const HINTS: Hints =
    Hints { missing: "there is no data set of this name, and no such file", instead: "give files" };

impl Name {
    /// The name that a FILE spells, if it spells one.
    fn parse(text: &str) -> Option<Name> {
        let (path, split) = match text.rsplit_once(':') {
            Some((path, split)) => (path, Some(split.to_owned())),
            None => (text, None),
        };
        let parts: Vec<&str> = path.split('/').collect();
        let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
        if FILES.contains(&ending) || !parts.iter().all(|part| is_part(part)) {
            return None;
        }
        let (repo, subset) = match parts[..] {
            [owner, name] => (format!("{owner}/{name}"), None),
            [owner, name, subset] => (format!("{owner}/{name}"), Some(subset.to_owned())),
            _ => return None,
        };
        split.as_deref().is_none_or(is_part).then_some(Name { repo, subset, split })
    }

    fn bad(&self, why: String) -> Error {
        Error::invalid(&self.repo, why)
    }

    /// As it is typed.
    fn with(&self, subset: Option<&str>, split: Option<&str>) -> String {
        let subset = subset.or(self.subset.as_deref()).map_or(String::new(), |s| format!("/{s}"));
        let split = split.or(self.split.as_deref()).map_or(String::new(), |s| format!(":{s}"));
        format!("{}{subset}{split}", self.repo)
    }
}

/// Files of rows: those that are here as they are, data sets of the hub
/// (`OWNER/NAME[/SUBSET][:SPLIT]`) as their Parquet files. Where a data set is named without a
/// split, the first of `splits` that it has is taken.
///
/// **Errors** where the hub does not have it, or the split.
pub fn data_files<S: AsRef<str>>(
    given: &[S],
    splits: &[&str],
    downloads: &mut Downloads,
) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for text in given.iter().map(AsRef::as_ref) {
        match Name::parse(text).filter(|_| !Path::new(text).exists()) {
            Some(name) => all.extend(fetched(&name, splits, downloads)?),
            None => all.push(text.into()),
        }
    }
    Ok(all)
}

fn fetched(name: &Name, splits: &[&str], downloads: &mut Downloads) -> Result<Vec<PathBuf>> {
    let mut failed = None;
    for revision in REVISIONS {
        let repo = Repo::with_revision(name.repo.clone(), RepoType::Dataset, revision.into());
        let hub = Hub::new(&name.repo, repo, HINTS);
        let cached = || tables(hub.all_found());
        let listed = hub.connect().and_then(|remote| Ok((tables(remote.files()?), Some(remote))));
        let (there, remote) = match listed {
            Ok(listed) => listed,
            // Without the hub, what the cache has.
            Err(error) if cached().is_empty() => {
                // Not everything is converted: what the first one says counts.
                if revision == REVISIONS[0] {
                    failed = Some(error);
                }
                continue;
            }
            Err(error) => {
                tracing::debug!("{}: from the cache: {error}", name.repo);
                (cached(), None)
            }
        };
        if there.is_empty() {
            continue;
        }
        let chosen = choose(name, &there, splits)?;
        tracing::info!("{}: {} files: {}", name.repo, chosen.len(), chosen.join(", "));
        let mut get = |file: &String| match (&remote, hub.found(file)) {
            (_, Some(path)) => Ok(path),
            (Some(remote), None) => remote.get(file, downloads),
            (None, None) => Err(name.bad(format!("{file} is not in the cache"))),
        };
        return chosen.iter().map(&mut get).collect();
    }
    let none = || name.bad("has no Parquet files; download its files and give them".into());
    Err(failed.unwrap_or_else(none))
}

/// The Parquet files among all, in order.
fn tables(mut all: Vec<String>) -> Vec<String> {
    let plain = |name: &str| name.split('/').all(|part| !["", ".", ".."].contains(&part));
    all.retain(|name| name.ends_with(".parquet") && plain(name) && !name.contains('\\'));
    all.sort();
    all
}

/// Subset, split (if the name says one) and how many parts there should be.
#[derive(Debug, PartialEq)]
struct Place {
    subset: String,
    split: Option<String>,
    parts: Option<usize>,
}

/// The split that a word stands for.
fn keyword(word: &str) -> Option<&'static str> {
    KEYWORDS.iter().find(|(_, words)| words.contains(&word)).map(|(split, _)| *split)
}

/// The split that one of a name's words stands for.
fn in_words(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    name.split(|c: char| !c.is_ascii_alphabetic()).find_map(keyword)
}

/// `train-00000-of-00005`, and perhaps a hash behind it: split and number of parts.
fn sharded(stem: &str) -> Option<(&str, usize)> {
    let (head, rest) = stem.split_once("-of-")?;
    let (split, part) = head.rsplit_once('-')?;
    let five = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    let parts = rest.split('-').next()?;
    (five(part) && five(parts)).then_some((split, parts.parse().ok()?))
}

fn place(file: &str) -> Place {
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let stem = name.trim_end_matches(".parquet");
    let folders: Vec<&str> = folder.split('/').filter(|f| !f.is_empty()).collect();
    let own = |split: &str| keyword(split).unwrap_or(split).to_owned();
    // The hub's own conversion: subset/split/0000.parquet.
    if let ([subset, split], true) = (&folders[..], stem.bytes().all(|b| b.is_ascii_digit())) {
        return Place { subset: (*subset).into(), split: Some(own(split)), parts: None };
    }
    let subset = folders.iter().filter(|f| **f != "data" && in_words(f).is_none());
    let subset = Vec::from_iter(subset.copied()).join("/");
    if let Some((split, parts)) = sharded(stem) {
        return Place { subset, split: Some(own(split)), parts: Some(parts) };
    }
    let split = folders.iter().find_map(|f| in_words(f)).or_else(|| in_words(stem));
    Place { subset, split: split.map(str::to_owned), parts: None }
}

/// The files of the subset and split that are meant.
fn choose(name: &Name, there: &[String], splits: &[&str]) -> Result<Vec<String>> {
    let placed: Vec<(&String, Place)> = there.iter().map(|file| (file, place(file))).collect();
    let list = |all: &BTreeSet<&str>| Vec::from_iter(all.iter().copied()).join(", ");
    let subsets: BTreeSet<&str> = placed.iter().map(|(_, p)| p.subset.as_str()).collect();
    let subset = match &name.subset {
        Some(wanted) if subsets.contains(wanted.as_str()) => wanted.as_str(),
        Some(wanted) => {
            let why = format!("has no subset `{wanted}`; it has {}", list(&subsets));
            return Err(name.bad(why));
        }
        None if subsets.len() == 1 => subsets.first().copied().unwrap_or_default(),
        None if subsets.contains("default") => "default",
        None => {
            let first = subsets.iter().find(|s| !s.is_empty()).copied().unwrap_or_default();
            let (all, one) = (list(&subsets), name.with(Some(first), None));
            return Err(name.bad(format!("has the subsets {all}; name one, as in {one}")));
        }
    };
    let of_subset: Vec<_> = placed.iter().filter(|(_, p)| p.subset == subset).collect();
    let named: BTreeSet<&str> = of_subset.iter().filter_map(|(_, p)| p.split.as_deref()).collect();
    let asked = name.split.as_deref();
    if named.is_empty() {
        // Without any split in the names, all of it is for training.
        return match asked.or(splits.first().copied()) {
            Some("train") => Ok(of_subset.iter().map(|(file, _)| (*file).clone()).collect()),
            _ => Err(name.bad("has no splits; give evaluation rows as a file".into())),
        };
    }
    let wanted = match asked {
        Some(split) => named.get(split).copied(),
        None => splits.iter().find_map(|split| named.get(split).copied()),
    };
    let Some(wanted) = wanted else {
        let first = named.first().copied().unwrap_or_default();
        return Err(name.bad(format!(
            "has no split `{}`; it has {}: name one, as in {}",
            asked.unwrap_or(splits[0]),
            list(&named),
            name.with(None, Some(first))
        )));
    };
    let mut chosen = Vec::new();
    let mut parts = None;
    for (file, place) in of_subset.iter().filter(|(_, p)| p.split.as_deref() == Some(wanted)) {
        chosen.push((*file).clone());
        parts = parts.max(place.parts);
    }
    match parts {
        Some(parts) if chosen.len() < parts => Err(name.bad(format!(
            "{} of {parts} files of the split {wanted} are there (in the cache, if the hub does not answer)",
            chosen.len()
        ))),
        _ => Ok(chosen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(name: &str, there: &[&str], splits: &[&str]) -> std::result::Result<String, String> {
        let there = tables(there.iter().map(|f| (*f).to_owned()).collect());
        let chosen = choose(&Name::parse(name).unwrap(), &there, splits);
        chosen.map(|files| files.join(" ")).map_err(|e| e.to_string())
    }

    #[test]
    fn names_are_told_from_files() {
        let name = Name::parse("openai/gsm8k/main:test").unwrap();
        assert_eq!(name.with(None, None), "openai/gsm8k/main:test");
        assert_eq!((name.subset.as_deref(), name.split.as_deref()), (Some("main"), Some("test")));
        assert!(Name::parse("a/b").unwrap().split.is_none());
        for file in ["a", "a/b.jsonl", "a/b.csv.gz", "/a/b", "./a/b", "a/b/c/d", "a/b:", "C:/a/b"] {
            assert!(Name::parse(file).is_none(), "{file}");
        }
    }

    #[test]
    fn splits_are_told_by_names() {
        let training = ["train"];
        let held_out = ["validation", "test"];
        let usual = [
            "README.md",
            "data/test-00000-of-00001.parquet",
            "data/train-00001-of-00002-0a1b.parquet",
            "data/train-00000-of-00002-0a1b.parquet",
        ];
        let two = "data/train-00000-of-00002-0a1b.parquet data/train-00001-of-00002-0a1b.parquet";
        assert_eq!(chosen("a/b", &usual, &training).unwrap(), two);
        assert_eq!(chosen("a/b", &usual, &held_out).unwrap(), usual[1]);
        assert!(chosen("a/b", &usual[..3], &training).unwrap_err().contains("1 of 2 files"));
        let own = ["data/train_sft-00000-of-00001.parquet", "data/test_sft-00000-of-00001.parquet"];
        let why = chosen("a/b", &own, &training).unwrap_err();
        assert!(why.contains("test_sft, train_sft") && why.contains("a/b:test_sft"), "{why}");
        assert_eq!(chosen("a/b:train_sft", &own, &training).unwrap(), own[0]);
        let subsets =
            ["main/train-00000-of-00001.parquet", "socratic/train-00000-of-00001.parquet"];
        let why = chosen("a/b", &subsets, &training).unwrap_err();
        assert!(why.contains("main, socratic") && why.contains("a/b/main"), "{why}");
        assert_eq!(chosen("a/b/socratic", &subsets, &training).unwrap(), subsets[1]);
        assert!(chosen("a/b/x", &subsets, &training).unwrap_err().contains("no subset `x`"));
        let converted =
            ["default/train/0000.parquet", "default/valid/0000.parquet", "x/train/0000.parquet"];
        assert_eq!(chosen("a/b", &converted, &training).unwrap(), converted[0]);
        assert_eq!(chosen("a/b", &converted, &held_out).unwrap(), converted[1]);
        let words = ["my_train_file.parquet", "my-dev.parquet"];
        assert_eq!(chosen("a/b", &words, &training).unwrap(), words[0]);
        assert_eq!(chosen("a/b", &words, &held_out).unwrap(), words[1]);
        let folders = ["train/a.parquet", "train/b.parquet", "test/a.parquet"];
        assert_eq!(chosen("a/b", &folders, &training).unwrap(), "train/a.parquet train/b.parquet");
        let none = ["a.parquet", "b.parquet", "../c.parquet"];
        assert_eq!(chosen("a/b", &none, &training).unwrap(), "a.parquet b.parquet");
        assert!(chosen("a/b", &none, &held_out).unwrap_err().contains("no splits"));
    }
}
