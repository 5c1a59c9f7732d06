//! The page in a real Chromium: `web/test/browser.mjs`, with what it needs installed outside the
//! clone.

use crate::{sh, web};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Drives the browser, looks for what keeps people from using a page, and compiles the package's
/// types.
const NPM_PACKAGES: [&str; 3] = ["playwright-core@1.65.1", "axe-core@4.14.1", "typescript@5.9.3"];

/// Where distributions put it.
const CHROMIUM: [&str; 4] = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/snap/bin/chromium",
];

/// Builds page and program, and gives the command that tests them; `None` without a model to build
/// in.
pub fn command() -> Result<Option<Command>> {
    if !sh::root().join("assets/model").is_dir() {
        return Ok(None);
    }
    let packages = packages()?;
    let chromium = chromium()?;
    let built = web::build()?;
    println!("{}", built.line);
    sh::run(&mut sh::cargo(&["build", "--release", "--bin", "wgpu-lora"]))?;
    let target = sh::target_dir()?;
    let mut node = Command::new("node");
    node.arg(sh::root().join("web/test/browser.mjs")).arg(packages).arg(built.dist);
    node.arg(sh::root().join("assets")).arg(target.join("browser"));
    node.arg(target.join("release").join(if cfg!(windows) {
        "wgpu-lora.exe"
    } else {
        "wgpu-lora"
    }));
    node.env("WGPU_LORA_CHROMIUM", chromium);
    Ok(Some(node))
}

fn chromium() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("WGPU_LORA_CHROMIUM") {
        return Ok(path.into());
    }
    let found = || CHROMIUM.iter().map(PathBuf::from).find(|path| path.exists());
    if let Some(path) = found() {
        return Ok(path);
    }
    const LINE: &str = "apt-get install -y --no-install-recommends chromium";
    let is_root = sh::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !is_root || !sh::works("apt-get", &["--version"]) {
        bail!("no Chromium here; install one (Debian: {LINE}) or name it in WGPU_LORA_CHROMIUM");
    }
    println!("browser: installing Chromium ({LINE})");
    if !sh::works("sh", &["-c", LINE]) {
        // Package lists may never have been fetched.
        sh::run(Command::new("apt-get").args(["update", "-q"]))?;
        sh::run(Command::new("sh").args(["-c", LINE]))?;
    }
    found().context("apt-get left no Chromium")
}

/// The npm packages, installed once outside the clone.
fn packages() -> Result<PathBuf> {
    let dir = sh::cache_dir()?.join("browser").join(NPM_PACKAGES.join("+"));
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    if installed(&dir) {
        return Ok(dir);
    }
    if !sh::works("node", &["--version"]) || !sh::works(npm, &["--version"]) {
        bail!("node and npm are needed (Debian, Ubuntu: apt-get install -y nodejs npm)");
    }
    println!("browser: installing {} in {}", NPM_PACKAGES.join(", "), dir.display());
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    std::fs::write(dir.join("package.json"), "{\"private\": true}\n")?;
    let mut install = Command::new(npm);
    install.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&dir);
    sh::run(install.args(NPM_PACKAGES))?;
    if !installed(&dir) {
        bail!("npm left no packages in {}", dir.display());
    }
    Ok(dir)
}

/// npm writes the lock file last, so an interrupted installation is done again.
fn installed(dir: &Path) -> bool {
    dir.join("package-lock.json").exists()
        && ["playwright-core", "axe-core", "typescript"]
            .iter()
            .all(|name| dir.join("node_modules").join(name).exists())
}
