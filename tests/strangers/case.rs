//! One case: what a stranger brings, and what the reference made of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// What became of a case.
#[derive(Debug)]
pub enum Verdict {
    /// The program made what the reference made.
    Agreed,
    /// The program named what it does not do. The text has no paths or numbers of this case, so
    /// that equal ones count together.
    Refused(String),
    /// The program went on and made something else.
    Disagreed(String),
}

/// The content of a file: text, or bytes in base64.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Bytes { base64: String },
}

/// One line of a kind's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    #[serde(default)]
    files: BTreeMap<String, Content>,
    #[serde(default)]
    input: Value,
    expect: Value,
}

/// A case whose files lie in a folder of its own.
pub struct Case {
    /// Its name: kind, seed and number.
    pub id: String,
    /// Settings beside the files.
    pub input: Value,
    /// What the reference computed.
    pub expect: Value,
    folder: tempfile::TempDir,
}

impl Case {
    /// All cases of a `.jsonl` or `.jsonl.gz`, their files written out.
    pub fn read_all(path: &Path) -> Result<Vec<Case>, String> {
        let bad = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let file = fs::File::open(path).map_err(|e| bad(&e))?;
        let source: Box<dyn Read> = match path.extension().is_some_and(|e| e == "gz") {
            true => Box::new(flate2::read::MultiGzDecoder::new(file)),
            false => Box::new(file),
        };
        let read = |line: std::io::Result<String>| {
            let line: Line =
                serde_json::from_str(&line.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
            let folder = tempfile::tempdir().map_err(|e| bad(&e))?;
            for (name, content) in &line.files {
                let path = folder.path().join(name);
                fs::create_dir_all(path.parent().ok_or("a file without a folder")?)
                    .map_err(|e| bad(&e))?;
                let bytes = match content {
                    Content::Text(text) => text.clone().into_bytes(),
                    Content::Bytes { base64 } => decode(base64).ok_or("not base64")?,
                };
                fs::write(path, bytes).map_err(|e| bad(&e))?;
            }
            let Line { id, input, expect, .. } = line;
            Ok(Case { id, input, expect, folder })
        };
        BufReader::new(source).lines().map(read).collect()
    }

    /// A refusal: the error's text without what only this case has, its folder and its numbers.
    pub fn refused(&self, error: &dyn std::fmt::Display) -> Verdict {
        let text = format!("{error:#}").replace(&self.path("").display().to_string(), "");
        let text = text.replace(&self.folder.path().display().to_string(), "");
        let mut short = String::new();
        for c in text.chars() {
            match c.is_ascii_digit() {
                true if short.ends_with('#') => {}
                true => short.push('#'),
                false => short.push(c),
            }
        }
        Verdict::Refused(short)
    }

    /// The place of one of its files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// `<kind>.jsonl` or `<kind>.jsonl.gz` in a folder, if there is one.
pub fn file_of(folder: &Path, kind: &str) -> Option<PathBuf> {
    [".jsonl", ".jsonl.gz"]
        .map(|end| folder.join(format!("{kind}{end}")))
        .into_iter()
        .find(|path| path.is_file())
}

/// Standard base64; white space is passed over.
fn decode(text: &str) -> Option<Vec<u8>> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for c in text.bytes().filter(|c| !c.is_ascii_whitespace() && *c != b'=') {
        bits = bits << 6 | u32::from(value(c)?);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Some(out)
}
