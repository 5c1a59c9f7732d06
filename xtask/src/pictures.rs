//! `cargo xtask pictures`: the pictures of README's first screen, from what `cargo xtask demo` and
//! `cargo xtask test` have left. A test holds them to the sources of what they show.

use crate::sh;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Where pictures lie, and the file that says what they were made from.
const FOLDER: &str = "docs/pictures";
const MADE_FROM: &str = "made-from.txt";

/// A picture, what makes it, and the sources of what it shows.
struct Picture {
    name: &'static str,
    made: fn() -> Result<PathBuf>,
    by: &'static str,
    sources: &'static [&'static str],
}

const PICTURES: [Picture; 2] = [
    Picture {
        name: "report.png",
        made: || Ok(sh::root().join("target/demo/report.png")),
        by: "cargo xtask demo",
        sources: &["src/cli/evaluate/report.rs", "src/report"],
    },
    Picture {
        name: "page.png",
        made: || Ok(sh::target_dir()?.join("browser/price-wide-light.png")),
        by: "cargo xtask test",
        sources: &["web/index.html", "web/style.css", "web/page"],
    },
];

/// Takes the pictures, and notes what they were made from.
pub fn command() -> Result<()> {
    let folder = sh::root().join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for Picture { name, made, by, .. } in PICTURES {
        let from = made()?;
        if !from.exists() {
            bail!("{} is missing; `{by}` makes it", from.display());
        }
        fs::copy(&from, folder.join(name)).with_context(|| from.display().to_string())?;
    }
    let path = folder.join(MADE_FROM);
    fs::write(&path, made_from(&sh::root())?).with_context(|| path.display().to_string())
}

/// A line for each picture: its name and the FNV-1a hash of its sources.
fn made_from(root: &Path) -> Result<String> {
    let mut lines = String::new();
    for Picture { name, sources, .. } in PICTURES {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for source in sources {
            for path in files(&root.join(source))? {
                let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
                for byte in bytes.iter().filter(|byte| **byte != b'\r') {
                    hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
                }
            }
        }
        lines += &format!("{name} {hash:016x}\n");
    }
    Ok(lines)
}

/// A file, or all files in and below a folder, in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).with_context(|| path.display().to_string())?;
    let mut inside = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    inside.sort();
    Ok(inside.iter().map(|path| files(path)).collect::<Result<Vec<_>>>()?.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pictures_show_what_there_is() {
        let path = sh::root().join(FOLDER).join(MADE_FROM);
        let noted = fs::read_to_string(&path).unwrap_or_default();
        let why = "what they show has changed: cargo xtask demo, test, then pictures";
        assert_eq!(noted.replace('\r', ""), made_from(&sh::root()).unwrap(), "{why}");
        for Picture { name, .. } in PICTURES {
            let bytes = fs::metadata(sh::root().join(FOLDER).join(name)).unwrap().len();
            assert!(bytes < 200 << 10, "{name}: {bytes} bytes");
        }
    }
}
