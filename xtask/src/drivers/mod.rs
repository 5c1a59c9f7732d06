//! `cargo xtask drivers [PART]...`: what other vendors' drivers, compilers and systems say, on a
//! machine that has none of them.
//!
//! Every part stands alone, says what it fetches, and keeps that in the cache folder. Nothing is
//! installed. The parts were written for Debian's packages on x86_64 Linux; elsewhere they say what
//! is missing.

mod debian;
mod pipelines;
mod software;
mod systems;
mod texts;

use crate::adapter::Adapter;
use crate::sh;
use crate::shaders::Verdict;
use anyhow::{Result, bail};
use std::fmt;
use std::process::Command;
use std::time::{Duration, Instant};

/// What a program that hangs in a driver is given.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Something that a part needs and this machine does not give: a system, a program, the network.
#[derive(Debug)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// Whether a part could not begin, in which case it says nothing about this crate.
pub fn is_unavailable(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Unavailable>().is_some()
}

/// Runs a program of a part, prints what it prints, keeps the lines that sum it up, and returns
/// whether it did well.
fn watch(verdict: &mut Verdict, command: &mut Command) -> Result<bool> {
    let seen = sh::watch(command, Some(LIMIT), is_summary)?;
    verdict.lines.extend(seen.lines);
    verdict.ok &= seen.ok;
    Ok(seen.ok)
}

/// Sums and faults of checkers, of rustc and of tests, and the stages of `doctor`.
fn is_summary(line: &str) -> bool {
    let sums = ["pipelines: ", "texts: ", "test result: ", "golden: ", "killed after"];
    let faults = ["FAILED ", "error", "warning: `wgpu-lora`"];
    let is_stage = line.contains(" right  ") || line.contains(" WRONG  ");
    sums.iter().chain(&faults).any(|start| line.starts_with(start))
        || line.starts_with("test ") && line.ends_with("FAILED")
        || is_stage
}

/// One part.
struct Part {
    name: &'static str,
    shows: &'static str,
    fetches: &'static str,
    /// Of two cores, once everything is fetched and built.
    minutes: &'static str,
    run: fn() -> Result<Verdict>,
}

const PARTS: [Part; 8] = [
    Part {
        name: "pipelines",
        shows: "every body for GPUs through Mesa's compilers for AMD, NVIDIA, Apple's M1, Adreno",
        fetches: "69 MB (Debian sid: Mesa)",
        minutes: "4",
        run: pipelines::all,
    },
    Part {
        name: "spirv",
        shows: "the SPIR-V of every body before spirv-val",
        fetches: "8 MB (Debian trixie: spirv-tools)",
        minutes: "1",
        run: texts::spirv,
    },
    Part {
        name: "hlsl",
        shows: "the HLSL of every body before DXC, Microsoft's compiler",
        fetches: "67 MB (PyPI: compushady)",
        minutes: "2",
        run: texts::hlsl,
    },
    Part {
        name: "systems",
        shows: "cargo check of all targets for Windows and macOS",
        fetches: "50 MB (rustup), or 140 MB (Debian: rustc-web)",
        minutes: "not measured",
        run: systems::all,
    },
    Part {
        name: "lavapipe",
        shows: "the kernel tests on the newest lavapipe",
        fetches: "as pipelines",
        minutes: "not measured",
        run: software::lavapipe,
    },
    Part {
        name: "lavapipe-goldens",
        shows: "the golden tests there",
        fetches: "as pipelines",
        minutes: "not measured",
        run: software::lavapipe_goldens,
    },
    Part {
        name: "swiftshader",
        shows: "`doctor --quick` on SwiftShader as a native driver",
        fetches: "nothing where Chromium is installed, else 32 MB (Debian: chromium-common)",
        minutes: "1½",
        run: software::swiftshader,
    },
    Part {
        name: "swiftshader-tests",
        shows: "the kernel tests there",
        fetches: "as swiftshader",
        minutes: "not measured",
        run: software::swiftshader_tests,
    },
];

/// `cargo xtask drivers [PART]...`; without a part, what there is.
pub fn command(names: &[String]) -> Result<()> {
    if names.is_empty() {
        list();
        return Ok(());
    }
    for name in names {
        if !PARTS.iter().any(|part| part.name == name) && pipelines::gpu(name).is_none() {
            bail!("no part `{name}`; `cargo xtask drivers` lists them");
        }
    }
    let (mut sum, mut failed) = (Vec::new(), Vec::new());
    for name in names {
        println!("\n== {name}");
        let start = Instant::now();
        let done = part(name);
        let ok = done.as_ref().is_ok_and(|verdict| verdict.ok);
        match done {
            Ok(verdict) => sum.extend(verdict.lines),
            Err(error) => sum.push(format!("drivers: {name}: {error:#}")),
        }
        let word = if ok { "ok    " } else { "FAILED" };
        sum.push(format!("{word} {name} ({} s)", start.elapsed().as_secs()));
        failed.extend((!ok).then_some(name.as_str()));
    }
    println!();
    sum.iter().for_each(|line| println!("{line}"));
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}

/// A part, or `pipelines` on one GPU, by its name.
pub fn part(name: &str) -> Result<Verdict> {
    match (PARTS.iter().find(|part| part.name == name), pipelines::gpu(name)) {
        (Some(part), _) => (part.run)(),
        (None, Some(gpu)) => pipelines::on(&[gpu]),
        (None, None) => bail!("no part `{name}`"),
    }
}

/// What CI runs at a commit: texts and SwiftShader at every one, pipelines on one GPU in turns.
pub fn turn(commit: &str) -> [&'static str; 4] {
    let hash = commit.get(..8).and_then(|hex| usize::from_str_radix(hex, 16).ok());
    let gpu = hash.unwrap_or(0) % pipelines::GPUS.len();
    [pipelines::GPUS[gpu].name, "spirv", "hlsl", "swiftshader"]
}

fn list() {
    println!("cargo xtask drivers PART...\n");
    println!("{:<18} {:<20} what it shows", "part", "minutes of 2 cores");
    for part in &PARTS {
        println!("{:<18} {:<20} {}", part.name, part.minutes, part.shows);
        println!("{:<39} fetches {}", "", part.fetches);
    }
    println!("\npipelines on one GPU:");
    for gpu in &pipelines::GPUS {
        println!("{:<18} {}", gpu.name, gpu.about);
    }
    if let Ok(dir) = cache() {
        println!("\nfetched files stay in {}; remove it for newer ones", dir.display());
    }
}

/// Where the parts keep what they fetch.
fn cache() -> Result<std::path::PathBuf> {
    Ok(sh::cache_dir()?.join("drivers"))
}

/// Environment of programs that must not look for a display.
fn quiet(command: &mut Command) -> &mut Command {
    Adapter::default().apply(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_turn_is_of_parts_that_exist_and_every_gpu_has_one() {
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..64 {
            let turn = turn(&format!("{n:08x}ffff"));
            for name in &turn {
                assert!(PARTS.iter().any(|p| p.name == *name) || pipelines::gpu(name).is_some());
            }
            seen.extend(turn);
        }
        assert_eq!(seen.len(), pipelines::GPUS.len() + 3);
        assert_eq!(turn(""), turn("00000000"));
    }

    #[test]
    fn what_is_not_to_be_had_is_told_from_what_failed() {
        let error = || anyhow::Error::new(Unavailable("no network".into()));
        assert!(is_unavailable(&error()));
        assert!(is_unavailable(&error().context("Mesa")));
        let wrapped: Result<()> = Err(anyhow::anyhow!("exit code 100"));
        assert!(is_unavailable(&wrapped.context(Unavailable("apt".into())).unwrap_err()));
        assert!(!is_unavailable(&anyhow::anyhow!("refused")));
    }
}
