//! `cargo xtask strangers`: makes random files with the references (transformers, PEFT, TRL, pandas
//! and others, in a virtual environment outside the clone) and holds the program to what they
//! computed.

use crate::{Flags, sh};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The versions that the cases are made with.
const REQUIREMENTS: &str = include_str!("../../tests/strangers/requirements.txt");

/// `cargo xtask strangers [--kind KIND]... [--cases N] [--seed S] [--fixture]`.
pub fn command(flags: &Flags) -> Result<()> {
    let venv = environment()?;
    let root = sh::root();
    let mut make = Command::new(&venv);
    make.current_dir(&root).arg("tests/strangers/make.py").env("OMP_NUM_THREADS", "1");
    let kinds: Vec<&str> = flags.values("--kind").collect();
    for kind in &kinds {
        make.args(["--kind", kind]);
    }
    for flag in ["--cases", "--seed"] {
        if let Some(value) = flags.value(flag) {
            make.args([flag, value]);
        }
    }
    if flags.has("--fixture") {
        sh::run(make.arg("--fixture"))?;
    }
    let cases = if flags.has("--fixture") {
        root.join("tests/strangers/cases")
    } else {
        // Cases of an earlier run are no part of this one.
        let folder = sh::target_dir()?.join("strangers");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        sh::run(make.arg("--out").arg(&folder))?;
        folder
    };
    let adapter = crate::adapter::ensure()?;
    let judge = ["test", "--release", "--test", "strangers", "--"];
    let mut judge = sh::cargo(&[&judge[..], &kinds].concat());
    let seen =
        sh::watch(adapter.apply(&mut judge).env("WGPU_LORA_STRANGERS", &cases), None, counts)?;
    println!("\n== summary (cases: {})", cases.display());
    for line in &seen.lines {
        println!("{line}");
    }
    ensure!(!seen.lines.is_empty(), "no case was judged");
    if seen.ok { Ok(()) } else { bail!("some cases disagree, or too many are refused") }
}

/// The counts of a kind, and the texts below them.
fn counts(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    line.starts_with("strangers: ")
        || line.starts_with("  disagreed: ")
        || words.get(1) == Some(&"refused:")
}

/// The Python of a virtual environment that has the references, made on the first call.
fn environment() -> Result<PathBuf> {
    let folder = sh::cache_dir()?.join("strangers-python");
    let python = match cfg!(windows) {
        true => folder.join("Scripts/python.exe"),
        false => folder.join("bin/python"),
    };
    let done = folder.join("requirements.txt");
    if fs::read_to_string(&done).is_ok_and(|text| text == REQUIREMENTS) {
        return Ok(python);
    }
    println!(
        "strangers: a virtual environment in {} (several GB) gets\n{}",
        folder.display(),
        packages().collect::<Vec<_>>().join(", ")
    );
    make(&folder, &python)?;
    fs::write(&done, REQUIREMENTS).with_context(|| done.display().to_string())?;
    Ok(python)
}

fn make(folder: &Path, python: &Path) -> Result<()> {
    let own = sh::python().context(
        "Python 3.11 with pip and venv is needed (Debian, Ubuntu: apt-get install -y python3-venv)",
    )?;
    let mut venv = Command::new(own[0]);
    sh::run(venv.args(&own[1..]).args(["-m", "venv", "--clear"]).arg(folder))?;
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
    sh::run(pip.arg(sh::root().join("tests/strangers/requirements.txt")))
}

/// The lines of the list that name a package.
fn packages() -> impl Iterator<Item = &'static str> {
    REQUIREMENTS.lines().filter(|line| line.contains("=="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_has_one_version() {
        let unpinned =
            |line: &&str| !line.is_empty() && !line.starts_with('#') && !line.contains("==");
        assert_eq!(REQUIREMENTS.lines().find(unpinned), None);
        assert!(packages().any(|line| line.starts_with("transformers==")));
    }

    #[test]
    fn counts_are_kept() {
        assert!(counts("strangers: chats: 250 cases, 250 agreed, 0 refused, 0 disagreed"));
        assert!(counts("  3 refused: config.json, `rope_type`: is unknown"));
        assert!(counts("  disagreed: chats-1-4: other ids"));
        assert!(!counts("running 8 tests"));
    }
}
