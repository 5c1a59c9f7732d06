//! `cargo xtask web [--serve]`: the page, the library for npm, and the wasm behind both, in
//! `web/dist`.

use crate::{Flags, sh, wasm};
use anyhow::{Context, Result, bail};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Bytes of the `.wasm` after `gzip -9`, tokenizers included: what a visitor waits for.
const MOST_GZIPPED: usize = 1_258_291;

/// The files that make the page, beside what wasm-bindgen writes.
const FILES: &str = "web";

/// `cargo xtask web [--serve] [--port N]`.
pub fn command(flags: &Flags) -> Result<()> {
    let port = flags.value("--port").map(str::parse).transpose().context("--port")?;
    let built = build()?;
    println!("{}", built.line);
    if flags.has("--serve") {
        return crate::serve::forever(&built.dist, port.unwrap_or(8080));
    }
    println!(
        "web: any web server can serve {}; `cargo xtask web --serve` does",
        built.dist.display()
    );
    Ok(())
}

/// What [`build`] made.
pub struct Built {
    pub dist: PathBuf,
    /// One line about it.
    pub line: String,
}

/// Compiles, binds, copies, and checks the size.
pub fn build() -> Result<Built> {
    let toolchain = wasm::Toolchain::ensure(wasm::TARGET)?;
    println!("web: compiling for {} with {}", wasm::TARGET, toolchain.about());
    let compiled = wasm::build(&toolchain)?;
    let template = wasm::build_template(&toolchain)?;
    let dist = sh::root().join("web/dist");
    if dist.exists() {
        fs::remove_dir_all(&dist).with_context(|| dist.display().to_string())?;
    }
    fs::create_dir_all(&dist).with_context(|| dist.display().to_string())?;
    for (wasm, name) in [(&compiled, "wgpu_lora_wasm"), (&template, "chat_template")] {
        let mut bindgen = sh::cargo(&["run", "--quiet", "--release", "--package", "bindgen", "--"]);
        sh::run(bindgen.arg(wasm).arg(&dist).arg(name))?;
    }
    copy_folder(&sh::root().join(FILES), &dist, &["dist", "test"])?;
    for license in ["LICENSE-APACHE", "LICENSE-MIT"] {
        fs::copy(sh::root().join(license), dist.join(license)).context(license)?;
    }
    embed(&dist)?;
    link_project(&dist)?;
    list_for_offline(&dist)?;
    let bound = dist.join("wgpu_lora_wasm_bg.wasm");
    let bytes = fs::read(&bound).with_context(|| bound.display().to_string())?;
    let zipped = gzipped(&bytes)?;
    if zipped > MOST_GZIPPED {
        bail!("the .wasm has {zipped} bytes after gzip -9, the limit is {MOST_GZIPPED}");
    }
    if let Some(name) = wasm::forbidden()? {
        bail!(
            "the .wasm contains {name}: the browser compiles WGSL itself, and has no command line"
        );
    }
    let line = format!(
        "web: {} bytes of wasm, {zipped} after gzip -9 (limit {MOST_GZIPPED}), in {}",
        bytes.len(),
        dist.display()
    );
    Ok(Built { dist, line })
}

/// The model, its adapters and the table of products that the page has at once, and the list of
/// them.
fn embed(dist: &Path) -> Result<()> {
    let assets = sh::root().join("assets");
    if !assets.join("model").is_dir() {
        println!("web: no assets/model here; the page will ask for a model");
        return Ok(());
    }
    let to = dist.join("embedded");
    fs::create_dir_all(&to).with_context(|| to.display().to_string())?;
    let mut adapters = Vec::new();
    let mut folders: Vec<_> =
        fs::read_dir(&assets)?.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
    folders.sort();
    for folder in folders {
        if let Some(name) = folder.strip_prefix("adapter-") {
            let files = embed_folder(&assets, &folder, &to)?;
            adapters.push(serde_json::json!({ "name": name, "files": files }));
        }
    }
    let files = embed_folder(&assets, "model", &to)?;
    for file in ["examples.json", "recorded.json"] {
        let from = assets.join("page").join(file);
        if from.is_file() {
            fs::copy(&from, to.join(file)).with_context(|| from.display().to_string())?;
        }
    }
    let table = assets.join("diamonds/diamonds.csv");
    fs::copy(&table, to.join("products.csv")).with_context(|| table.display().to_string())?;
    let model = serde_json::json!({ "name": "built-in", "files": files });
    let manifest = serde_json::json!({ "model": model, "adapters": adapters });
    fs::write(to.join("manifest.json"), serde_json::to_string_pretty(&manifest)?)?;
    Ok(())
}

/// Where the repository is known (in a workflow that publishes the page), the project's name links
/// to it; else to the README beside the page.
fn link_project(dist: &Path) -> Result<()> {
    let (Ok(server), Ok(name)) =
        (std::env::var("GITHUB_SERVER_URL"), std::env::var("GITHUB_REPOSITORY"))
    else {
        return Ok(());
    };
    let index = dist.join("index.html");
    let text = fs::read_to_string(&index).with_context(|| index.display().to_string())?;
    let linked = text.replace("href=\"README.md\"", &format!("href=\"{server}/{name}\""));
    fs::write(&index, linked).with_context(|| index.display().to_string())
}

/// Writes into the service worker which files make the page, and a version that follows from their
/// bytes.
fn list_for_offline(dist: &Path) -> Result<()> {
    let mut files = Vec::new();
    walk(dist, "", &mut files)?;
    files.retain(|name| !LEFT_ONLINE.iter().any(|end| name.ends_with(end)));
    files.sort();
    let mut hasher = DefaultHasher::new();
    for name in &files {
        fs::read(dist.join(name)).with_context(|| name.clone())?.hash(&mut hasher);
    }
    files.push("./".into());
    let worker = dist.join("service-worker.js");
    let text = fs::read_to_string(&worker).with_context(|| worker.display().to_string())?;
    let version = format!("const VERSION = \"{:016x}\";", hasher.finish());
    let list = format!("const FILES = {};", serde_json::to_string(&files)?);
    let mut written = text.clone();
    for (empty, full) in [("const VERSION = \"\";", version), ("const FILES = [];", list)] {
        if !text.contains(empty) {
            bail!("{} has no line `{empty}`", worker.display());
        }
        written = written.replace(empty, &full);
    }
    fs::write(&worker, written).with_context(|| worker.display().to_string())
}

/// What nobody asks for without a network.
const LEFT_ONLINE: [&str; 6] =
    [".d.ts", "README.md", "LICENSE-APACHE", "LICENSE-MIT", "package.json", "service-worker.js"];

/// Names of all files in a folder, relative to it, with `/`.
fn walk(folder: &Path, before: &str, names: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = format!("{before}{}", entry.file_name().to_string_lossy());
        match entry.file_type()?.is_dir() {
            true => walk(&entry.path(), &format!("{name}/"), names)?,
            false => names.push(name),
        }
    }
    Ok(())
}

/// Copies what a program reads of one folder; returns the paths under `embedded`.
fn embed_folder(assets: &Path, folder: &str, to: &Path) -> Result<Vec<String>> {
    let from = assets.join(folder);
    fs::create_dir_all(to.join(folder))?;
    let mut paths = Vec::new();
    for entry in fs::read_dir(&from).with_context(|| from.display().to_string())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if [".json", ".safetensors", ".jsonl.gz"].iter().any(|end| name.ends_with(end)) {
            fs::copy(from.join(&name), to.join(folder).join(&name))?;
            paths.push(format!("{folder}/{name}"));
        }
    }
    paths.sort();
    Ok(paths)
}

/// Copies the files of a folder and of those in it, but not what is `left` out.
fn copy_folder(from: &Path, to: &Path, left: &[&str]) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name();
        if left.iter().any(|left| *left == name) {
            continue;
        }
        let target = to.join(&name);
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy_folder(&entry.path(), &target, &[])?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| target.display().to_string())?;
        }
    }
    Ok(())
}

/// Length after `gzip -9`.
fn gzipped(bytes: &[u8]) -> Result<usize> {
    let mut gzip = Command::new("gzip");
    gzip.args(["-9", "-c", "-n"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut gzip = gzip.spawn().context("cannot start gzip")?;
    let mut input = gzip.stdin.take().context("a pipe is missing")?;
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let zipped = gzip.wait_with_output()?.stdout.len();
    match writer.join() {
        Ok(Ok(())) => Ok(zipped),
        _ => bail!("gzip did not take its input"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_that_of_gzip() {
        let size = gzipped(&[7; 100_000]).unwrap();
        assert!((20..400).contains(&size), "{size}");
    }
}
