//! `cargo check` of everything for Windows and macOS.
//!
//! A check links nothing. The C libraries below this crate would be compiled for their objects
//! alone, so a script stands in for their compiler, and no other system's tools are needed.

use super::{Unavailable, cache, watch};
use crate::sh;
use crate::shaders::Verdict;
use crate::wasm::Toolchain;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

const TARGETS: [&str; 2] = ["x86_64-pc-windows-msvc", "aarch64-apple-darwin"];

/// Makes the file that an archiver would, which build scripts look for; compilers' they do not.
const STAND_IN: &str = r#"#!/bin/sh
for word; do
  case "$word" in
    -out:*|/out:*) : > "${word#*:}";;
    *.a|*.lib) : > "$word";;
  esac
done
"#;

/// The library, the program, tests and examples for both systems. Warnings are named and do not
/// fail.
pub fn all() -> Result<Verdict> {
    let stand_in = stand_in()?;
    let mut verdict = Verdict { ok: true, lines: Vec::new() };
    for target in TARGETS {
        let toolchain = Toolchain::ensure(target)
            .context(Unavailable(format!("no standard library for {target} to be had")))?;
        let mut check = sh::cargo(&["check", "--release", "--keep-going", "--target", target]);
        check.args(["--lib", "--bins", "--tests", "--examples"]);
        toolchain.apply(&mut check, "std,panic_abort,panic_unwind,test");
        let underscored = target.replace('-', "_");
        for tool in ["CC", "CXX", "AR"] {
            check.env(format!("{tool}_{underscored}"), &stand_in);
        }
        // Outside the clone, like the browser's.
        check.env("CARGO_TARGET_DIR", sh::cache_dir()?.join("systems-target"));
        let ok = watch(&mut verdict, &mut check)?;
        let word = if ok { "checked" } else { "failed" };
        verdict.lines.push(format!("systems: {target}: {word} ({})", toolchain.about()));
    }
    Ok(verdict)
}

fn stand_in() -> Result<PathBuf> {
    if !cfg!(unix) {
        return Err(Unavailable("needs a shell (Linux or macOS)".into()).into());
    }
    let dir = cache()?;
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let path = dir.join("stand-in");
    if fs::read_to_string(&path).ok().as_deref() != Some(STAND_IN) {
        fs::write(&path, STAND_IN).with_context(|| path.display().to_string())?;
        #[cfg(unix)]
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    Ok(path)
}

#[cfg(all(test, unix))]
mod tests {
    use super::STAND_IN;
    use std::process::Command;

    #[test]
    fn the_stand_in_makes_what_both_kinds_of_archivers_make() {
        let dir = std::env::temp_dir().join(format!("wgpu-lora-stand-in-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for args in [&["cq", "libone.a", "x.o"][..], &["-out:two.lib", "-nologo", "x.o"]] {
            let mut shell = Command::new("sh");
            shell.current_dir(&dir).args(["-c", STAND_IN, "ar"]).args(args);
            assert!(shell.status().unwrap().success());
        }
        for (file, made) in [("libone.a", true), ("two.lib", true), ("x.o", false)] {
            assert_eq!(dir.join(file).exists(), made, "{file}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
