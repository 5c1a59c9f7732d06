//! Records of a table or a list of JSON objects, one at a time: JSONL, a JSON array, CSV and
//! Parquet, plain or compressed with gzip or zstd. Memory holds one record (of Parquet: one page a
//! column), however long the file is.

pub(super) mod json;
mod record;

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::Value;

use super::lines::Lines;
use super::{csv, signature};
use crate::format::json_error_reason as reason;
use crate::{Error, Result};
use json::Kept;
pub(super) use record::MOST_BYTES;
pub use record::Record;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use record::bytes_value;
pub(crate) use record::no_text;

/// How records lie in a file, its compression apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One object a line, or one array of objects.
    Json,
    /// A header line, then values; with tabs between them, if the name says so and the header has
    /// one.
    Csv {
        /// Whether the name says so.
        tabs: bool,
    },
}

/// Calls `each(line, record)` for every record of a file and returns their number.
///
/// Compression and Parquet are told by the first bytes; JSON from CSV by the name (`.json`,
/// `.jsonl`, `.ndjson`; `.csv`, `.tsv`, each perhaps with `.gz` or `.zst` behind it), else by the
/// first character. `line` counts from 1: the line of a JSONL or CSV record's first character, the
/// number of a record in a JSON array or of a row in Parquet. CSV's values are strings. Parquet's
/// numbers stay numbers; its dates, times and decimals become the strings that Python makes of
/// them, and bytes the text that they are (else an object that says how many they are, of which no
/// row can be made).
///
/// **Errors** [`Error::Io`]; [`Error::Format`] naming file and line or row for anything that is not
/// as its format says; [`Error::Unsupported`] for Parquet and zstd in the browser; and whatever
/// `each` returns.
pub fn for_each_record(
    path: impl AsRef<Path>,
    each: impl FnMut(usize, Record) -> Result<()>,
) -> Result<usize> {
    let path = path.as_ref();
    let name = path.display().to_string();
    let mut file = File::open(path).map_err(Error::io(path))?;
    if path.is_dir() {
        return Err(Error::invalid(&name, "is a folder; name the files in it"));
    }
    let magic = first_bytes(&mut file).map_err(Error::io(path))?;
    if magic.starts_with(b"PAR1") || magic.starts_with(b"PARE") {
        return super::parquet::for_each(&name, file, each);
    }
    for_each_record_in(&name, BufReader::new(Read::chain(&magic[..], file)), each)
}

/// [`for_each_record`] from any reader of JSON or CSV, such as text that was pasted; `name` stands
/// for the file in messages, and its ending tells JSON from CSV.
///
/// **Errors** as [`for_each_record`]; [`Error::Unsupported`] for Parquet, which needs a file.
pub fn for_each_record_in<'a>(
    name: &str,
    source: impl BufRead + 'a,
    each: impl FnMut(usize, Record) -> Result<()>,
) -> Result<usize> {
    let mut source: Box<dyn BufRead + 'a> = Box::new(source);
    // Twice: a file may be compressed and then compressed again, but nobody means more.
    for _ in 0..2 {
        source = match peek(name, &mut source)? {
            [0x1f, 0x8b, ..] => {
                Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(source)))
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => unzstd(name, source)?,
            _ => break,
        };
    }
    let head = peek(name, &mut source)?;
    if head.starts_with(b"PAR1") {
        let what = format!("{name}: Parquet inside another compression, or not from a file");
        let hint = "decompress the file; Parquet compresses its own pages".into();
        return Err(Error::Unsupported { what, hint });
    }
    if let Some((what, hint)) = signature::named(head) {
        return Err(Error::format(name, "line 1", format!("this is {what}; {hint}")));
    }
    if head.starts_with(b"\xef\xbb\xbf") {
        source.consume(3);
    }
    match kind(name, peek(name, &mut source)?) {
        Kind::Csv { tabs } => csv::for_each(name, source, tabs, each),
        Kind::Json if peek(name, &mut source)?.trim_ascii_start().starts_with(b"[") => {
            json_array(name, source, each)
        }
        Kind::Json => json_lines(name, source, each),
    }
}

/// As many of the first bytes as there are and are looked at.
fn first_bytes(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut magic = Vec::new();
    Read::by_ref(file).take(64).read_to_end(&mut magic)?;
    Ok(magic)
}

/// What the buffer holds: everything up to its size, or nothing at the end.
fn peek<'b>(name: &str, source: &'b mut impl BufRead) -> Result<&'b [u8]> {
    source.fill_buf().map_err(Error::io(name))
}

#[cfg(not(target_arch = "wasm32"))]
fn unzstd<'a>(name: &str, source: Box<dyn BufRead + 'a>) -> Result<Box<dyn BufRead + 'a>> {
    let decoder = zstd::stream::read::Decoder::with_buffer(source).map_err(Error::io(name))?;
    Ok(Box::new(BufReader::new(decoder)))
}

#[cfg(target_arch = "wasm32")]
fn unzstd<'a>(name: &str, _: Box<dyn BufRead + 'a>) -> Result<Box<dyn BufRead + 'a>> {
    let hint = "decompress the file, or use gzip".into();
    Err(Error::Unsupported { what: format!("{name}: zstd in the browser"), hint })
}

fn kind(name: &str, head: &[u8]) -> Kind {
    let name = name.to_ascii_lowercase();
    let bare = [".gz", ".zst"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    let ends = |endings: &[&str]| endings.iter().any(|ending| bare.ends_with(ending));
    if ends(&[".json", ".jsonl", ".ndjson"]) {
        return Kind::Json;
    }
    let tabs = ends(&[".tsv", ".tab"]);
    if tabs || ends(&[".csv"]) {
        return Kind::Csv { tabs };
    }
    match head.trim_ascii_start().first() {
        None | Some(b'{' | b'[') => Kind::Json,
        _ => Kind::Csv { tabs },
    }
}

const KIND: &str = "expected one JSON object a line, as {\"text\": \"…\"}";

fn json_lines(
    name: &str,
    source: impl BufRead,
    mut each: impl FnMut(usize, Record) -> Result<()>,
) -> Result<usize> {
    let (mut lines, mut records) = (Lines::new(name, source), 0);
    while lines.read()? {
        let bad = |why: String| lines.bad(lines.line, why);
        let text = std::str::from_utf8(&lines.bytes).map_err(|e| {
            let at = e.valid_up_to();
            bad(format!("not UTF-8 after byte {at} of the line; save the file as UTF-8"))
        })?;
        if text.trim().is_empty() {
            continue;
        }
        let value = json::value(&mut serde_json::Deserializer::from_str(text.trim_end()));
        let value = value.map_err(|e| {
            let (why, column) = (reason(&e), e.column());
            let hint = match ["NaN", "Infinity"].iter().find(|word| text.contains(**word)) {
                Some(word) => format!("; JSON has no {word}, write null"),
                None => String::new(),
            };
            bad(format!("not valid JSON ({why} at column {column}{hint}); {KIND}"))
        })?;
        each(lines.line, object(value).map_err(bad)?)?;
        records += 1;
    }
    Ok(records)
}

fn object(value: Value) -> Result<Record, String> {
    match value {
        Value::Object(record) => Ok(record),
        Value::Array(_) => Err(format!("found a JSON array; {KIND}")),
        _ => Err(format!("found no JSON object; {KIND}")),
    }
}

/// `[{…}, {…}]`, over as many lines as it likes: the layout of Alpaca's data.
fn json_array(
    name: &str,
    source: impl Read,
    each: impl FnMut(usize, Record) -> Result<()>,
) -> Result<usize> {
    struct Elements<F> {
        each: F,
        records: usize,
        failed: Option<Error>,
    }
    impl<'de, F: FnMut(usize, Record) -> Result<()>> serde::de::Visitor<'de> for &mut Elements<F> {
        type Value = ();
        fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
            to.write_str("an array of objects")
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut all: A) -> Result<(), A::Error> {
            while let Some(value) = all.next_element_seed(Kept::record())? {
                let record = object(value).map_err(serde::de::Error::custom)?;
                if let Err(error) = (self.each)(self.records + 1, record) {
                    self.failed = Some(error);
                    return Err(serde::de::Error::custom("stopped"));
                }
                self.records += 1;
            }
            Ok(())
        }
    }
    use serde::Deserializer;
    let mut elements = Elements { each, records: 0, failed: None };
    let mut json = serde_json::Deserializer::from_reader(source);
    let done = json.deserialize_seq(&mut elements).and_then(|()| json.end());
    match (done, elements.failed) {
        (_, Some(error)) => Err(error),
        (Ok(()), None) => Ok(elements.records),
        (Err(e), None) if e.is_io() => Err(Error::Io { path: name.into(), source: e.into() }),
        (Err(e), None) => {
            let at = format!("record {}", elements.records + 1);
            Err(Error::format(name, at, format!("not valid JSON ({e}); expected [{{…}}, {{…}}]")))
        }
    }
}

#[cfg(test)]
mod tests;
