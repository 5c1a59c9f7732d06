//! The texts that drivers get from wgpu before judges of their languages: SPIR-V and HLSL.

use super::{Unavailable, cache, debian, watch};
use crate::sh;
use crate::shaders::{self, Verdict};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// DXC as a library for Linux, with its headers, lies in this source package.
const DXC: &str = "compushady==0.17.5";
const DXC_LIBRARY: &str = "libdxcompiler_x86_64.so.3.7";

/// `spirv-val` over every body's SPIR-V.
pub fn spirv() -> Result<Verdict> {
    let tools = debian::TRIXIE.ensure()?;
    let texts = emit()?;
    let mut failed = 0;
    let mut verdict = Verdict { ok: true, lines: Vec::new() };
    let files = named(&texts, "spv")?;
    for file in &files {
        let mut judge = tools.program("spirv-val");
        // wgpu enables scalar block layout where the driver has it.
        judge.args(["--target-env", "vulkan1.3", "--scalar-block-layout"]).arg(file);
        let said = judge.output().context("spirv-val")?;
        if !said.status.success() {
            failed += 1;
            let why = String::from_utf8_lossy(&said.stderr);
            let why = why.trim().lines().next().unwrap_or("no reason given").to_owned();
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            println!("FAILED {name}: {why}");
            verdict.lines.push(format!("FAILED {name}: {why}"));
        }
    }
    verdict.ok = failed == 0 && !files.is_empty();
    verdict.lines.push(format!("texts: {} of SPIR-V, {failed} failed (spirv-val)", files.len()));
    Ok(verdict)
}

/// DXC over every body's HLSL, with the arguments of wgpu.
pub fn hlsl() -> Result<Verdict> {
    let dxc = dxc()?;
    let texts = emit()?;
    let mut verdict = Verdict { ok: true, lines: Vec::new() };
    let mut judge = Command::new(dxc.join("dxc-check"));
    judge.current_dir(&texts).arg(dxc.join(DXC_LIBRARY)).args(["cs_6_5", "hlsl.txt"]);
    watch(&mut verdict, &mut judge)?;
    Ok(verdict)
}

/// Every text as wgpu emits it, in a fresh folder.
fn emit() -> Result<PathBuf> {
    let shaders = shaders::write_shaders()?;
    let out = sh::target_dir()?.join("drivers/texts");
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| out.display().to_string())?;
    }
    let mut naga = sh::cargo(&["run", "--quiet", "--release", "--package", "shader-check", "--"]);
    sh::run(naga.arg(shaders).arg(&out))?;
    Ok(out)
}

/// The files of a folder whose names end so, in order.
fn named(dir: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    files.sort();
    Ok(files)
}

/// The folder with DXC and the program that drives it, made once.
fn dxc() -> Result<PathBuf> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(Unavailable("needs x86_64 Linux".into()).into());
    }
    let dir = cache()?.join("dxc");
    let program = dir.join("dxc-check");
    let source = sh::root().join("xtask/src/drivers/dxc-check.cpp");
    let modified = |path: &Path| fs::metadata(path).and_then(|about| about.modified()).ok();
    if modified(&program) > modified(&source) {
        return Ok(dir);
    }
    if !sh::works("g++", &["--version"]) {
        return Err(Unavailable("needs g++ (Debian, Ubuntu: apt-get install -y g++)".into()).into());
    }
    if !dir.join(DXC_LIBRARY).exists() {
        fetch_dxc(&dir)?;
    }
    let mut compile = Command::new("g++");
    compile.args(["-O1", "-std=c++17", "-fms-extensions", "-w", "-I"]).arg(&dir).arg(source);
    sh::run(compile.arg("-o").arg(&program).arg("-ldl"))?;
    Ok(dir)
}

fn fetch_dxc(dir: &Path) -> Result<()> {
    let Some(python) = sh::python() else {
        let why = "needs Python with pip (Debian, Ubuntu: apt-get install -y python3-pip)";
        return Err(Unavailable(why.into()).into());
    };
    println!("drivers: fetching {DXC} with pip (67 MB) for Microsoft's DXC, to {}", dir.display());
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let mut pip = Command::new(python[0]);
    pip.args(&python[1..]).current_dir(dir).args(["-m", "pip", "download", "--quiet"]);
    pip.args(["--disable-pip-version-check", "--no-deps", "--no-binary=:all:", "--dest", ".", DXC]);
    sh::run(&mut pip).context(Unavailable(format!("pip could not fetch {DXC}")))?;
    let Some(archive) = named(dir, "gz")?.pop() else { bail!("pip left no archive") };
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(&archive).arg("-C").arg(dir).args(["--strip-components=3", "--wildcards"]);
    sh::run(tar.args([&format!("*/{DXC_LIBRARY}"), "*/dxcapi.h", "*/WinAdapter.h"]))?;
    fs::remove_file(archive).context("the archive of DXC")
}
