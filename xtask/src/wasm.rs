//! Compiles the library to wasm32: with rustup's target where that can be had, else with Debian's
//! rustc and its sources of the standard library.

use crate::sh;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const TARGET: &str = "wasm32-unknown-unknown";

/// What every browser with WebGPU has: products on the host (quantizing, twins) are several times
/// faster.
const RUSTFLAGS: &str = "-C target-feature=+simd128";

/// The library without the command line, with the browser's surface.
const FEATURES: [&str; 5] = ["--lib", "--no-default-features", "--features", "web", "--target"];

/// How to compile for another target here.
pub enum Toolchain {
    /// The running toolchain has the target's standard library.
    Installed,
    /// Debian's `rustc-web`, unpacked into this folder; the standard library is compiled with the
    /// crate.
    Unpacked(PathBuf),
}

impl Toolchain {
    /// Finds one for this target, or installs one and says so.
    pub fn ensure(target: &str) -> Result<Toolchain> {
        if std::env::var_os("WGPU_LORA_WASM_TOOLCHAIN").is_some_and(|v| v == "debian") {
            return unpacked(target);
        }
        if has_target(target)? {
            return Ok(Toolchain::Installed);
        }
        if sh::works("rustup", &["--version"]) {
            println!("installing the target {target} (rustup target add, 30 MB)");
            let mut add = Command::new("rustup");
            // In the clone: a rust-toolchain.toml there would decide which toolchain gets it.
            add.args(["target", "add", target]).current_dir(sh::root());
            match sh::run(&mut add) {
                Ok(()) if has_target(target)? => return Ok(Toolchain::Installed),
                Ok(()) => println!("rustup added the target to another toolchain"),
                Err(error) => println!("{error:#}"),
            }
        }
        unpacked(target)
    }

    /// Has a cargo of ours build with it; `std` is what is compiled of the standard library where
    /// only its sources are there.
    pub fn apply(&self, cargo: &mut Command, std: &str) {
        if let Toolchain::Unpacked(dir) = self {
            cargo.arg(format!("-Zbuild-std={std}"));
            cargo.env("RUSTC", dir.join("bin/rustc")).env("RUSTC_BOOTSTRAP", "1");
        }
    }

    /// `cargo` for wasm32 with the toolchain's environment; `command` is `check`, `clippy`, or
    /// `rustc`.
    pub fn cargo(&self, command: &[&str]) -> Result<Command> {
        let mut cargo = sh::cargo(command);
        cargo.args(FEATURES).arg(TARGET);
        self.browser(&mut cargo)?;
        Ok(cargo)
    }

    /// Has a cargo of ours build for a browser.
    fn browser(&self, cargo: &mut Command) -> Result<()> {
        cargo.env("CARGO_TARGET_DIR", target_dir()?).env("RUSTFLAGS", RUSTFLAGS);
        self.apply(cargo, "std,panic_abort");
        Ok(())
    }

    /// Lints the library as the browser compiles it; without clippy for Debian's compiler, checks
    /// it.
    pub fn check(&self) -> Result<Command> {
        match self {
            Toolchain::Installed => {
                let mut clippy = self.cargo(&["clippy", "--release"])?;
                clippy.args(["--", "-D", "warnings"]);
                Ok(clippy)
            }
            Toolchain::Unpacked(_) => self.cargo(&["check", "--release"]),
        }
    }

    pub fn about(&self) -> String {
        match self {
            Toolchain::Installed => "the installed toolchain's standard library".into(),
            Toolchain::Unpacked(dir) => format!("Debian's rustc-web in {}", dir.display()),
        }
    }
}

/// Outside the clone, so that a fresh clone does not compile everything again.
fn target_dir() -> Result<PathBuf> {
    Ok(sh::cache_dir()?.join("web-target"))
}

/// Compiles the `.wasm`; returns its path.
pub fn build(toolchain: &Toolchain) -> Result<PathBuf> {
    // With `crate-type = ["cdylib", "rlib"]` in the manifest cargo would drop link-time
    // optimization silently.
    let mut cargo = toolchain.cargo(&["rustc", "--profile", "wasm", "--crate-type", "cdylib"])?;
    println!(
        "compiling for the browser; the last crate is optimized as a whole, which takes minutes"
    );
    sh::run_with_clock(&mut cargo)?;
    Ok(target_dir()?.join(TARGET).join("wasm/wgpu_lora.wasm"))
}

/// Compiles the language of chat templates, which a page loads when it shows a chat; returns its
/// path.
pub fn build_template(toolchain: &Toolchain) -> Result<PathBuf> {
    let mut cargo = sh::cargo(&["rustc", "--profile", "wasm", "--package", "chat-template"]);
    cargo.args(["--crate-type", "cdylib", "--target", TARGET]);
    toolchain.browser(&mut cargo)?;
    sh::run(&mut cargo)?;
    Ok(target_dir()?.join(TARGET).join("wasm/chat_template.wasm"))
}

/// The first package of the browser's build that must not be in it.
pub fn forbidden() -> Result<Option<&'static str>> {
    let mut tree =
        sh::cargo(&["tree", "--package", "wgpu-lora", "--edges", "normal", "--prefix", "none"]);
    tree.args(["--no-default-features", "--features", "web", "--target", TARGET]);
    let tree = sh::output(&mut tree)?;
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    if !names.contains(&"tokenizers") {
        bail!("cargo tree shows no dependencies of the browser's build");
    }
    Ok(["naga", "wgpu-core", "clap", "anyhow"].into_iter().find(|name| names.contains(name)))
}

/// Whether the toolchain that cargo uses has the target's standard library.
fn has_target(target: &str) -> Result<bool> {
    let sysroot = sysroot()?;
    Ok(sysroot.join("lib/rustlib").join(target).join("lib").is_dir())
}

fn sysroot() -> Result<PathBuf> {
    let mut rustc = Command::new("rustc");
    Ok(sh::output(rustc.args(["--print", "sysroot"]).current_dir(sh::root()))?.trim().into())
}

/// Debian's `rustc-web` and the sources of its standard library, unpacked into the cache folder.
/// Nothing is installed on the system, and rustup's cargo drives it.
fn unpacked(target: &str) -> Result<Toolchain> {
    let dir = sh::cache_dir()?.join("rustc-web");
    let done = dir.join("done");
    if done.exists() {
        return Ok(Toolchain::Unpacked(dir));
    }
    for program in ["apt-get", "apt-cache", "dpkg", "dpkg-deb", "tar"] {
        if !sh::works(program, &["--version"]) {
            bail!(
                "no standard library for {target}: `rustup target add {target}` did not work, and without \
                 {program} Debian's rustc-web cannot be unpacked; install one of the two"
            );
        }
    }
    println!(
        "unpacking Debian's rustc-web and its standard library in {} (140 MB; nothing is installed)",
        dir.display()
    );
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
    }
    let debs = dir.join("debs");
    fs::create_dir_all(&debs).with_context(|| debs.display().to_string())?;
    // Package names carry versions, so apt is asked for them.
    let std_package = depends("libstd-rust-web-dev", "libstd-rust-web-")?;
    let llvm = depends(&std_package, "libllvm")?;
    let binaries = ["rustc-web", "libstd-rust-web-dev", &std_package, &llvm];
    let mut fetch = Command::new("apt-get");
    fetch.args(["download", "-q"]).args(binaries).arg("rust-web-src").current_dir(&debs);
    sh::run(&mut fetch)?;
    for package in binaries {
        sh::run(Command::new("dpkg").arg("-x").arg(deb(&debs, package)?).arg(&dir))?;
    }
    // 80 MB of the 340: only the standard library.
    let mut source = Command::new("dpkg-deb");
    source.arg("--fsys-tarfile").arg(deb(&debs, "rust-web-src")?);
    source.stdout(std::process::Stdio::piped());
    let mut source = source.spawn().context("dpkg-deb")?;
    let mut tar = Command::new("tar");
    // The folder comes first: tar goes there for what is named behind it.
    tar.arg("-x").arg("-C").arg(&dir).args(["--wildcards", "./usr/src/rustc-*/library/*"]);
    sh::run(tar.stdin(source.stdout.take().context("a pipe is missing")?))?;
    if !source.wait().context("dpkg-deb")?.success() {
        bail!("dpkg-deb could not read rust-web-src");
    }
    wire(&dir)?;
    fs::remove_dir_all(&debs).with_context(|| debs.display().to_string())?;
    fs::write(&done, "").with_context(|| done.display().to_string())?;
    Ok(Toolchain::Unpacked(dir))
}

/// Puts sources and linker where rustc looks for them, and a rustc that finds its LLVM.
fn wire(dir: &Path) -> Result<()> {
    let src = dir.join("usr/src");
    let sources = fs::read_dir(&src)
        .with_context(|| src.display().to_string())?
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .find(|name| name.to_string_lossy().starts_with("rustc-"))
        .context("rust-web-src has no usr/src/rustc-*")?;
    let rustlib = dir.join("usr/lib/rustlib");
    fs::create_dir_all(rustlib.join("src"))?;
    link(&Path::new("../../../src").join(sources), &rustlib.join("src/rust"))?;
    let host = sh::output(Command::new("rustc").arg("-vV").current_dir(sh::root()))?;
    let host = host.lines().find_map(|l| l.strip_prefix("host: ")).context("rustc -vV: host")?;
    let lld = sysroot()?.join("lib/rustlib").join(host).join("bin/rust-lld");
    if !lld.exists() {
        bail!("{} is missing: the wasm linker comes with rustup's toolchain", lld.display());
    }
    let bin = rustlib.join(host).join("bin");
    fs::create_dir_all(&bin)?;
    link(&lld, &bin.join("rust-lld"))?;
    let libraries = dir.join("usr/lib").join(host.replace("-unknown", ""));
    let script = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH={}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}} exec {} \"$@\"\n",
        libraries.display(),
        dir.join("usr/bin/rustc").display()
    );
    fs::create_dir_all(dir.join("bin"))?;
    let wrapper = dir.join("bin/rustc");
    fs::write(&wrapper, script)?;
    #[cfg(unix)]
    fs::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    sh::run(Command::new(&wrapper).arg("-V"))
}

#[cfg(unix)]
fn link(to: &Path, at: &Path) -> Result<()> {
    let _ = fs::remove_file(at);
    std::os::unix::fs::symlink(to, at).with_context(|| at.display().to_string())
}

#[cfg(not(unix))]
fn link(_: &Path, _: &Path) -> Result<()> {
    bail!("Debian's packages need Debian; use rustup target add")
}

/// The first package that `package` depends on whose name starts so.
fn depends(package: &str, start: &str) -> Result<String> {
    let ask = || {
        sh::output(Command::new("apt-cache").args(["depends", "--no-recommends", package]))
            .unwrap_or_default()
    };
    let mut text = ask();
    if text.trim().is_empty() {
        // Package lists may never have been fetched.
        sh::run(Command::new("apt-get").args(["update", "-q"]))?;
        text = ask();
    }
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with(start) && !name.ends_with("-dev"))
        .map(str::to_owned)
        .with_context(|| format!("apt-cache knows no {start}… behind {package}"))
}

/// The file that `apt-get download` left for a package.
fn deb(folder: &Path, package: &str) -> Result<PathBuf> {
    let start = format!("{package}_");
    fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&start)))
        .with_context(|| format!("apt-get download left no {package}"))
}
