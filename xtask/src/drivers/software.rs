//! Other software drivers, which compute as well: the newest lavapipe, and SwiftShader.

use super::{Unavailable, debian, quiet, watch};
use crate::shaders::Verdict;
use crate::{models, sh};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

pub fn lavapipe() -> Result<Verdict> {
    on_lavapipe("gpu")
}

pub fn lavapipe_goldens() -> Result<Verdict> {
    on_lavapipe("golden")
}

fn on_lavapipe(test: &str) -> Result<Verdict> {
    let mesa = debian::SID.ensure()?;
    let mut run = mesa.vulkan("lvp", None, &built(test)?);
    here(&mut run)?;
    let mut verdict = Verdict { ok: true, lines: Vec::new() };
    watch(&mut verdict, &mut run)?;
    Ok(verdict)
}

pub fn swiftshader() -> Result<Verdict> {
    let icd = icd()?;
    let mut doctor = sh::program(&["doctor", "--quick", "--out", "target/drivers/swiftshader"]);
    on_swiftshader(&mut doctor, &icd)
}

pub fn swiftshader_tests() -> Result<Verdict> {
    let icd = icd()?;
    on_swiftshader(&mut Command::new(built("gpu")?), &icd)
}

fn on_swiftshader(command: &mut Command, icd: &Path) -> Result<Verdict> {
    here(command)?.env("VK_DRIVER_FILES", icd).env("VK_ICD_FILENAMES", icd);
    quiet(command.env("WGPU_BACKEND", "vulkan").env_remove("WGPU_LORA_DEVICE"));
    let mut verdict = Verdict { ok: true, lines: Vec::new() };
    watch(&mut verdict, command)?;
    Ok(verdict)
}

/// As cargo would run a test: in the clone, with the models.
fn here(command: &mut Command) -> Result<&mut Command> {
    Ok(command.current_dir(sh::root()).env(models::VARIABLE, models::default_dir()?))
}

/// SwiftShader's manifest: of the Chromium that is installed, else of Debian's package.
fn icd() -> Result<PathBuf> {
    const ICD: &str = "usr/lib/chromium/vk_swiftshader_icd.json";
    let installed = Path::new("/").join(ICD);
    if installed.exists() {
        return Ok(installed);
    }
    let fetched = debian::CHROMIUM.ensure()?.path(ICD);
    match fetched.exists() {
        true => Ok(fetched),
        false => Err(Unavailable("Debian's chromium-common has no SwiftShader".into()).into()),
    }
}

/// The program of an integration test, built for release.
fn built(test: &str) -> Result<PathBuf> {
    let build = ["test", "--release", "--no-run", "--message-format", "json", "--test", test];
    let messages = sh::output(&mut sh::cargo(&build))?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == test)
        .find_map(|message| Some(message["executable"].as_str()?.into()))
        .with_context(|| format!("cargo built no test {test}"))
}
