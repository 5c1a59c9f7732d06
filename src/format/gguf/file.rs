//! Reading GGUF: a header, metadata, a table of tensors, and their bytes. A model may lie in
//! several files.
//!
//! **Source** the GGUF specification, versions 2 and 3; for split files `llama-model-loader.cpp`.
//! Only the metadata is kept in memory; tensors are read by position.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::cursor::Cursor;
use super::table::{GgufTensor, place, read_row};
use super::value::{GgufValue, brief};
use crate::error::{Error, Result};
use crate::format::source::{ByteSource, FileSource};

/// Number of a part, from 0.
const SPLIT_NO: &str = "split.no";
/// How many parts there are.
const SPLIT_COUNT: &str = "split.count";
/// Tensors in all parts.
const SPLIT_TENSORS: &str = "split.tensors.count";

/// An opened GGUF file: its checked metadata and table, and sources to read tensors from.
pub struct GgufFile {
    /// The file, or the parts that it was split into.
    parts: Vec<Box<dyn ByteSource>>,
    metadata: BTreeMap<String, GgufValue>,
    tensors: BTreeMap<String, GgufTensor>,
}

impl fmt::Debug for GgufFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GgufFile({}, {} tensors)", self.name(), self.tensors.len())
    }
}

impl GgufFile {
    /// Reads and checks everything but the tensors' values.
    ///
    /// **Errors** [`Error::Format`] with the byte for what is truncated, overlaps, leaves the file
    /// or makes no sense; [`Error::Unsupported`] for versions before 2, big-endian files, element
    /// types that are not read, and one of several parts.
    pub fn open(source: Box<dyn ByteSource>) -> Result<Self> {
        Self::open_parts(vec![source])
    }

    /// [`GgufFile::open`] of all parts of a model that was split, the first one first.
    ///
    /// **Errors** as [`GgufFile::open`]; [`Error::Format`] if they are not the parts of one model.
    pub fn open_parts(sources: Vec<Box<dyn ByteSource>>) -> Result<Self> {
        let mut parts = sources.into_iter();
        let first = parts.next().ok_or_else(|| Error::invalid("GGUF", "no files given"))?;
        let (mut file, given) = (Self::part(first)?, parts.len() + 1);
        let count = file.first_of()?;
        if count != given {
            let what = format!("{given} of the {count} files that this model was split into");
            let hint = "give all of them, or join them with `llama-gguf-split --merge`";
            return Err(file.unsupported(what, hint));
        }
        for (no, source) in parts.enumerate() {
            file.append(Self::part(source)?, no + 1)?;
        }
        if let Some(all) = file.number(SPLIT_TENSORS)?.filter(|_| count > 1)
            && all != file.tensors.len() as f64
        {
            let why = format!("says {all}, the {count} parts hold {}", file.tensors.len());
            return Err(file.error(SPLIT_TENSORS, why));
        }
        Ok(file)
    }

    /// [`GgufFile::open`] of a file on disk; of the first part of a split model, with the others
    /// beside it.
    ///
    /// **Errors** as [`GgufFile::open_parts`]; [`Error::Format`] with their names if parts are
    /// missing.
    pub fn open_path(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let first = Self::part(Box::new(FileSource::open(path)?))?;
        let count = first.first_of()?;
        if count == 1 {
            return Ok(first);
        }
        let end = part_end(0, count);
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let Some(stem) = name.as_deref().and_then(|name| name.strip_suffix(&end)) else {
            let why = format!("is {count}, but the name of its first part ends in `{end}`");
            return Err(first.error(SPLIT_COUNT, why));
        };
        let others = (1..count).map(|no| format!("{stem}{}", part_end(no, count)));
        let (there, missing): (Vec<_>, Vec<_>) =
            others.partition(|name| path.with_file_name(name).is_file());
        if !missing.is_empty() {
            let why = format!("is {count}; not beside it: {}; download them", missing.join(", "));
            return Err(first.error(SPLIT_COUNT, why));
        }
        let mut sources: Vec<Box<dyn ByteSource>> = vec![Box::new(FileSource::open(path)?)];
        for name in there {
            sources.push(Box::new(FileSource::open(path.with_file_name(name))?));
        }
        Self::open_parts(sources)
    }

    /// One file by itself.
    fn part(source: Box<dyn ByteSource>) -> Result<Self> {
        let mut cursor = Cursor::new(source.as_ref());
        let bad = |at: &dyn fmt::Display, why: String| Error::format(source.name(), at, why);
        if cursor.bytes(4)? != b"GGUF" {
            return Err(bad(&"byte 0", "does not start with `GGUF`: this is no GGUF file".into()));
        }
        let version = cursor.u32()?;
        if !matches!(version, 2 | 3) {
            let what = match version.swap_bytes() {
                2 | 3 => format!("{}: a big-endian GGUF file", source.name()),
                _ => format!("{}: GGUF version {version}", source.name()),
            };
            let hint = "versions 2 and 3, little-endian, work; convert the model again".into();
            return Err(Error::Unsupported { what, hint });
        }
        // The shortest entries take 24 bytes in the table and 13 in the metadata.
        let tensor_count = cursor.count("tensors", 24)?;
        let metadata_count = cursor.count("metadata entries", 13)?;
        let mut metadata = BTreeMap::new();
        for _ in 0..metadata_count {
            let at = cursor.position();
            let key = cursor.text("a metadata key")?;
            let kind = cursor.u32()?;
            let value = cursor.value(kind, &key)?;
            if metadata.insert(key.clone(), value).is_some() {
                let why = format!("the metadata key `{key}` is there twice");
                return Err(bad(&format!("byte {at}"), why));
            }
        }
        let mut listed = Vec::new();
        for _ in 0..tensor_count {
            listed.push(read_row(&mut cursor, source.name())?);
        }
        let alignment = match metadata.get("general.alignment") {
            None => 32,
            Some(GgufValue::Unsigned(n)) if n.is_power_of_two() && *n <= 1 << 20 => *n,
            Some(other) => {
                let why = format!("should be a power of two up to 2^20, is {}", brief(other));
                return Err(bad(&"key `general.alignment`", why));
            }
        };
        let start = cursor.position().next_multiple_of(alignment);
        let tensors = place(source.as_ref(), listed, start, alignment)?;
        Ok(Self { parts: vec![source], metadata, tensors })
    }

    /// How many parts there are, of which this is the first.
    fn first_of(&self) -> Result<usize> {
        let count = self.number(SPLIT_COUNT)?.unwrap_or(0.0);
        if !(0.0..65_536.0).contains(&count) || count.fract() != 0.0 {
            return Err(self.error(SPLIT_COUNT, format!("{count} is no number of parts")));
        }
        let count = count as usize;
        match self.number(SPLIT_NO)? {
            _ if count <= 1 => Ok(1),
            Some(0.0) => Ok(count),
            None => Err(self.error(SPLIT_NO, "is missing, although the model was split")),
            Some(no) => {
                let what = format!("part {} of {count} of a model that was split", no + 1.0);
                let hint =
                    format!("open the first part, whose name ends in `{}`", part_end(0, count));
                Err(self.unsupported(what, hint))
            }
        }
    }

    /// Takes the tensors of the next part. Of its metadata only the number counts: what a model is
    /// stands in the first.
    fn append(&mut self, mut other: GgufFile, no: usize) -> Result<()> {
        if other.number(SPLIT_NO)? != Some(no as f64) {
            let why = format!("should be {no}: is this part of {}?", self.name());
            return Err(other.error(SPLIT_NO, why));
        }
        for (name, mut tensor) in std::mem::take(&mut other.tensors) {
            tensor.part = no;
            if self.tensors.insert(name.clone(), tensor).is_some() {
                let why = "is in an earlier part, too";
                return Err(Error::format(other.name(), format!("tensor `{name}`"), why));
            }
        }
        self.parts.append(&mut other.parts);
        Ok(())
    }

    /// The name of the source, or of the first part.
    pub fn name(&self) -> &str {
        self.parts.first().map_or("", |part| part.name())
    }

    /// The metadata.
    pub fn metadata(&self) -> &BTreeMap<String, GgufValue> {
        &self.metadata
    }

    /// The tensors, by the names that GGUF gives them.
    pub fn tensors(&self) -> &BTreeMap<String, GgufTensor> {
        &self.tensors
    }

    /// The bytes of a tensor from byte `start` of it on; the caller stays inside it.
    pub(super) fn read_at(&self, tensor: &GgufTensor, start: u64, out: &mut [u8]) -> Result<()> {
        self.parts[tensor.part].read_at(tensor.offset.saturating_add(start), out)
    }
}

/// How the name of part `no` of `count` ends.
fn part_end(no: usize, count: usize) -> String {
    format!("-{:05}-of-{count:05}.gguf", no + 1)
}
