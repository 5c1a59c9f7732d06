//! `cargo xtask shaders`: every kernel × variant through both compilers that will ever read it,
//! without a GPU.
//!
//! The program writes the composed text (`wgpu-lora shaders --out DIR`: `native/`, `browser/`,
//! `manifest.json`); shader-check (naga) judges the native half, tint-check.mjs (Tint, as in
//! Chrome) the browser half.

use crate::{Flags, sh};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Dawn for node, which carries Tint.
const NPM_PACKAGE: &str = "webgpu@0.6.2";

/// Lines that sum the checks up, and whether all passed.
pub struct Verdict {
    /// No shader was refused.
    pub ok: bool,
    /// The summary lines.
    pub lines: Vec<String>,
}

/// `cargo xtask shaders [--ci] [--dir DIR]`.
pub fn command(flags: &Flags) -> Result<()> {
    let verdict = check(flags.path("--dir"), flags.has("--ci"))?;
    for line in &verdict.lines {
        println!("{line}");
    }
    if verdict.ok { Ok(()) } else { bail!("some shaders were refused") }
}

/// Both compilers over a folder of shaders; without one, over what the program writes.
pub fn check(dir: Option<PathBuf>, ci: bool) -> Result<Verdict> {
    let dir = match dir {
        Some(dir) => std::path::absolute(dir)?,
        None => write_shaders()?,
    };
    let is_summary =
        |line: &str| line.starts_with("shaders: ") || line.starts_with("tint self test: ");
    let mut naga = sh::cargo(&["run", "--quiet", "--release", "--package", "shader-check", "--"]);
    let naga = sh::watch(naga.arg(&dir), None, is_summary)?;
    let mut verdict = Verdict { ok: naga.ok, lines: naga.lines };
    match tint_packages() {
        Ok(packages) => {
            for folder in [None, Some(&dir)] {
                let mut tint = Command::new("node");
                tint.arg(sh::root().join("xtask/tint-check.mjs")).arg(&packages).args(folder);
                let tint = sh::watch(&mut tint, None, is_summary)?;
                verdict.ok &= tint.ok;
                verdict.lines.extend(tint.lines);
            }
        }
        Err(why) if ci => return Err(why),
        Err(why) => verdict.lines.push(format!("shaders: Tint skipped: {why:#}")),
    }
    Ok(verdict)
}

/// Asks the program for the composed text of every variant. A fresh folder, so that no shader of
/// yesterday passes.
pub fn write_shaders() -> Result<PathBuf> {
    let dir = sh::target_dir()?.join("shaders");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
    }
    let mut program = sh::program(&["shaders", "--out"]);
    sh::run(program.arg(&dir))?;
    Ok(dir)
}

/// Tint's npm package, installed once outside the clone.
fn tint_packages() -> Result<PathBuf> {
    let dir = sh::cache_dir()?.join("tint").join(NPM_PACKAGE);
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    if !sh::works("node", &["--version"]) {
        bail!("node is not installed (Debian, Ubuntu: apt-get install -y nodejs npm)");
    }
    if installed(&dir) {
        return Ok(dir);
    }
    if !sh::works(npm, &["--version"]) {
        bail!("npm is not installed (Debian, Ubuntu: apt-get install -y npm)");
    }
    println!(
        "shaders: installing the npm package {NPM_PACKAGE} (Chrome's WGSL compiler, 130 MB) in {}",
        dir.display()
    );
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let mut install = Command::new(npm);
    install.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&dir);
    sh::run(install.arg(NPM_PACKAGE))?;
    if !installed(&dir) {
        bail!("npm left no package in {}", dir.display());
    }
    Ok(dir)
}

/// npm writes this file last, so an interrupted installation is done again.
fn installed(dir: &Path) -> bool {
    dir.join("package-lock.json").exists() && dir.join("node_modules/webgpu/index.js").exists()
}
