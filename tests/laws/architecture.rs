//! Who may use whom, and how long a file may be.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module and what it may use, itself apart. `error`, `random` and `clock` are open to all.
const MAY_USE: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("random", &[]),
    ("clock", &[]),
    ("quant", &[]),
    ("reference", &["quant"]),
    ("gpu", &[]),
    ("kernels", &["gpu", "reference", "quant"]),
    ("format", &["quant"]),
    ("hub", &["format"]),
    ("data", &["format"]),
    ("model", &["data", "format", "gpu", "hub", "kernels", "quant", "reference"]),
    ("generate", &["format", "gpu", "model"]),
    ("export", &["format", "gpu", "model", "quant"]),
    ("report", &[]),
    ("train", &["data", "format", "gpu", "kernels", "model"]),
    ("pricer", &["data", "format", "generate", "gpu", "model", "train"]),
    ("selftest", &["data", "format", "gpu", "kernels", "model", "train"]),
    (
        "web",
        &["data", "format", "generate", "gpu", "kernels", "model", "pricer", "selftest", "train"],
    ),
    (
        "cli",
        &[
            "data",
            "export",
            "format",
            "generate",
            "gpu",
            "hub",
            "kernels",
            "model",
            "pricer",
            "quant",
            "reference",
            "report",
            "selftest",
            "train",
        ],
    ),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|e| e == ending) {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(&root().join("src"), "rs", &mut found);
    assert!(found.len() > 20, "sources were not found");
    found.into_iter().map(|p| (p.clone(), fs::read_to_string(p).unwrap())).collect()
}

fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// `gpu` for each `crate::gpu…` outside of tests.
fn used(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or(source);
    let lines = code.lines().filter(|l| !l.trim_start().starts_with("//"));
    lines
        .flat_map(|l| l.split("crate::").skip(1))
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .filter(|m: &String| MAY_USE.iter().any(|(name, _)| name == m))
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let mut broken = Vec::new();
    for (path, source) in sources() {
        let module = module_of(&path);
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else { continue };
        for other in used(&source) {
            let open = ["error", "random", "clock", module.as_str()].contains(&other.as_str());
            if !open && !allowed.contains(&other.as_str()) {
                broken.push(format!("{} uses {other}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_check_sees_a_forbidden_use() {
    assert_eq!(used("use crate::train::x;\n// crate::gpu\n"), ["train"]);
}

#[test]
fn only_gpu_talks_to_wgpu_and_only_there_is_unsafe_allowed() {
    for (path, source) in sources() {
        if module_of(&path) == "gpu" {
            continue;
        }
        let code: Vec<&str> =
            source.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        assert!(!code.contains("wgpu::"), "{} uses wgpu", path.display());
        assert!(!code.contains("allow(unsafe_code"), "{} allows unsafe", path.display());
    }
}

/// Flags of other programs that our texts may name.
const OTHERS_FLAGS: &[&str] = &["--merge", "--exact"];

/// The library names settings, `‹max_length›`; `cli` says which flags these are.
#[test]
fn only_the_command_line_says_flags() {
    let dashes = |word: &&str| {
        let mut letters = word.chars();
        letters.by_ref().take(2).eq("--".chars()) && letters.next().is_some_and(char::is_lowercase)
    };
    let mut said = Vec::new();
    for (path, source) in sources() {
        if ["cli", "main"].contains(&module_of(&path).as_str()) {
            continue;
        }
        for line in source.lines() {
            let words = line.split(|c: char| c.is_whitespace() || "`\"'(".contains(c));
            for flag in words.filter(dashes).filter(|w| !OTHERS_FLAGS.contains(w)) {
                said.push(format!("{}: {flag}", path.display()));
            }
        }
    }
    assert!(said.is_empty(), "{said:#?}");
}

#[test]
fn a_room_has_about_four_hundred_lines() {
    let mut all = Vec::new();
    for (folder, ending) in [("src", "rs"), ("shaders", "wgsl"), ("tests", "rs"), ("xtask", "rs")] {
        files(&root().join(folder), ending, &mut all);
    }
    let long: Vec<String> = all
        .iter()
        .map(|p| (p, fs::read_to_string(p).unwrap()))
        .filter(|(_, text)| !text.starts_with("// table") && text.lines().count() > 440)
        .map(|(p, text)| format!("{}: {} lines", p.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}
