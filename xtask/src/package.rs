//! `cargo xtask package`: what would be published, made and judged as the registries would. The
//! crate, which cargo builds from its own `.crate`, and the package of the browser's build, which
//! node loads from its own archive.

use crate::{sh, web};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of a `.crate` that crates.io takes.
const MOST: u64 = 10_000_000;

/// `cargo xtask package`.
pub fn command() -> Result<()> {
    let out = sh::target_dir()?.join("package");
    let metadata = sh::metadata()?;
    let mut packages = metadata["packages"].as_array().into_iter().flatten();
    let version = packages.find(|package| package["name"] == "wgpu-lora");
    let version = version.and_then(|package| package["version"].as_str()).context("no version")?;
    let krate = krate(&out, version)?;
    let npm = npm(&out, version)?;
    println!("{krate}\n{npm}");
    Ok(())
}

/// The crate: cargo unpacks what it has packed and builds it. Says what came out.
fn krate(out: &Path, version: &str) -> Result<String> {
    sh::run(&mut sh::cargo(&["package", "--package", "wgpu-lora"]))?;
    let path = out.join(format!("wgpu-lora-{version}.crate"));
    let bytes = fs::metadata(&path).with_context(|| path.display().to_string())?.len();
    if bytes >= MOST {
        bail!("{} has {bytes} bytes; crates.io takes {MOST}", path.display());
    }
    Ok(format!("package: {} ({bytes} bytes of at most {MOST})", path.display()))
}

/// The npm package, from `web/dist`: every file that `package.json` promises is in it, and node
/// finds all that its modules import. Says what came out.
fn npm(out: &Path, version: &str) -> Result<String> {
    let dist = web::build()?.dist;
    let mut pack = Command::new("npm");
    pack.args(["pack", "--json", "--pack-destination"]).arg(out).current_dir(&dist);
    let packed: Value = serde_json::from_str(&sh::output(&mut pack)?).context("npm pack --json")?;
    let packed = &packed[0];
    let promised: Value = serde_json::from_slice(&fs::read(dist.join("package.json"))?)?;
    if promised["version"] != version {
        bail!("web/package.json is version {}, the crate {version}", promised["version"]);
    }
    let missing = missing(&promised["files"], &packed["files"]);
    if !missing.is_empty() {
        bail!("the npm package lacks {}, which package.json names", missing.join(", "));
    }
    let archive = out.join(packed["filename"].as_str().context("npm pack: no filename")?);
    load(out, &archive)?;
    Ok(format!("package: {} ({} bytes)", archive.display(), packed["size"]))
}

/// Files of a `package.json` that are not in what npm packed.
fn missing<'a>(promised: &'a Value, packed: &Value) -> Vec<&'a str> {
    let packed: Vec<_> = packed.as_array().into_iter().flatten().map(|it| &it["path"]).collect();
    let promised = promised.as_array().into_iter().flatten();
    promised.filter(|file| !packed.contains(file)).filter_map(Value::as_str).collect()
}

/// Unpacks an npm package and has node load its modules; none of them touches a device then.
fn load(out: &Path, archive: &Path) -> Result<()> {
    let folder: PathBuf = out.join("npm");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    sh::run(Command::new("tar").arg("-xzf").arg(archive).current_dir(&folder))?;
    let script = "const { Gpu, Model } = await import('./package/wgpu_lora.js'); \
        await import('./package/files.js'); if (!Gpu?.create || !Model?.load) process.exit(1);";
    let mut node = Command::new("node");
    sh::run(node.args(["--input-type=module", "--eval", script]).current_dir(&folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_npm_left_out_is_found() {
        let packed = json!([{"path": "a.js", "size": 1}, {"path": "package.json", "size": 2}]);
        assert_eq!(missing(&json!(["a.js", "b.js"]), &packed), ["b.js"]);
        assert!(missing(&json!(["a.js"]), &packed).is_empty());
    }
}
