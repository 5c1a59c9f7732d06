//! Reading GGUF: a header, metadata, a table of tensors, and their bytes.
//!
//! **Source** the GGUF specification, versions 2 and 3. Only the metadata is kept in memory; tensors are read by
//! position.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::gguf_blocks::{GgufType, works};
use super::gguf_cursor::Cursor;
use super::source::{ByteSource, FileSource};
use crate::error::{Error, Result, brief as shorten};

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum GgufValue {
    /// An unsigned integer of any width.
    Unsigned(u64),
    /// A signed integer of any width.
    Signed(i64),
    /// A float of either width.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A string.
    Text(String),
    /// An array of strings.
    Texts(Vec<String>),
    /// An array of numbers or truth values.
    Numbers(GgufNumbers),
    /// An array of arrays: read over, not kept.
    Nested,
}

/// An array of numbers as the file holds it: a tokenizer has a hundred thousand of them.
#[derive(Clone, Debug, PartialEq)]
pub struct GgufNumbers {
    pub(super) kind: u32,
    pub(super) bytes: Vec<u8>,
}

impl GgufNumbers {
    /// The numbers.
    pub fn iter(&self) -> impl Iterator<Item = f64> + '_ {
        let size = super::gguf_cursor::width(self.kind).unwrap_or(1);
        self.bytes.chunks_exact(size).map(|b| number(self.kind, b))
    }
}

/// A number of a GGUF type; every integer that a model's metadata holds is exact in `f64`.
fn number(kind: u32, b: &[u8]) -> f64 {
    let mut wide = [0; 8];
    wide[..b.len()].copy_from_slice(b);
    let unsigned = u64::from_le_bytes(wide);
    let shift = 64 - 8 * b.len() as u32;
    let signed = (unsigned << shift).cast_signed() >> shift;
    match kind {
        6 => f64::from(f32::from_bits(unsigned as u32)),
        12 => f64::from_bits(unsigned),
        1 | 3 | 5 | 11 => signed as f64,
        _ => unsigned as f64,
    }
}

/// One row of the table of tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct GgufTensor {
    /// Axes, outermost first (the file lists them the other way round).
    pub shape: Vec<usize>,
    /// Element type.
    pub kind: GgufType,
    /// Position of the first byte in the file.
    pub offset: u64,
    /// Size in bytes.
    pub bytes: u64,
}

/// An opened GGUF file: its checked metadata and table, and a source to read tensors from.
pub struct GgufFile {
    source: Box<dyn ByteSource>,
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
    /// **Errors** [`Error::Format`] with the byte for what is truncated, overlaps, leaves the file or makes no sense;
    /// [`Error::Unsupported`] for versions before 2, big-endian files, and element types that are not read.
    pub fn open(source: Box<dyn ByteSource>) -> Result<Self> {
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
        Ok(Self { source, metadata, tensors })
    }

    /// [`GgufFile::open`] of a file on disk.
    pub fn open_path(path: impl AsRef<Path>) -> Result<Self> {
        Self::open(Box::new(FileSource::open(path)?))
    }

    /// The source's name.
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// The metadata.
    pub fn metadata(&self) -> &BTreeMap<String, GgufValue> {
        &self.metadata
    }

    /// The tensors, by the names that GGUF gives them.
    pub fn tensors(&self) -> &BTreeMap<String, GgufTensor> {
        &self.tensors
    }

    /// A [`Error::Format`] at a metadata key.
    pub(super) fn error(&self, key: &str, why: impl ToString) -> Error {
        Error::format(self.name(), format!("metadata key `{key}`"), why)
    }

    /// A [`Error::Unsupported`] about this file.
    pub(super) fn unsupported(&self, what: impl fmt::Display, hint: impl Into<String>) -> Error {
        let what = shorten(format!("{}: {what}", self.name()));
        Error::Unsupported { what, hint: hint.into() }
    }

    /// A string, if the key is there.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(GgufValue::Text(text)) => Ok(Some(text)),
            Some(other) => Err(self.error(key, format!("should be a string, is {}", brief(other)))),
        }
    }

    /// A truth value, if the key is there.
    pub(super) fn bool(&self, key: &str) -> Result<Option<bool>> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(GgufValue::Bool(b)) => Ok(Some(*b)),
            Some(other) => {
                Err(self.error(key, format!("should be true or false, is {}", brief(other))))
            }
        }
    }

    /// A finite number, if the key is there.
    pub(super) fn number(&self, key: &str) -> Result<Option<f64>> {
        let number = match self.metadata.get(key) {
            None => return Ok(None),
            Some(GgufValue::Unsigned(n)) => *n as f64,
            Some(GgufValue::Signed(n)) => *n as f64,
            Some(GgufValue::Float(n)) if n.is_finite() => *n,
            Some(other) => {
                return Err(self.error(key, format!("should be a number, is {}", brief(other))));
            }
        };
        Ok(Some(number))
    }

    /// A whole number from 1 to 2³¹−1, if the key is there. A list of equal ones counts as one (layers that are alike).
    pub(super) fn size(&self, key: &str) -> Result<Option<usize>> {
        let wrong = |value: &GgufValue| {
            let why = format!("should be a whole number of at least 1, is {}", brief(value));
            self.error(key, why)
        };
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        let number = match value {
            GgufValue::Unsigned(n) => Some(*n as f64),
            GgufValue::Signed(n) => Some(*n as f64),
            GgufValue::Numbers(list) => {
                let mut all = list.iter();
                let first = all.next();
                if first.is_some_and(|first| all.any(|n| n != first)) {
                    let hint = "models whose layers are all alike work";
                    return Err(self.unsupported(format!("`{key}` that differs by layer"), hint));
                }
                first
            }
            _ => None,
        };
        let whole = number.filter(|n| n.fract() == 0.0 && (1.0..2_147_483_648.0).contains(n));
        whole.map(|n| Some(n as usize)).ok_or_else(|| wrong(value))
    }

    /// A token id, if the key is there.
    pub(super) fn token(&self, key: &str) -> Result<Option<u32>> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(GgufValue::Unsigned(n)) if *n <= u64::from(u32::MAX) => Ok(Some(*n as u32)),
            // −1 says "none" in some files.
            Some(GgufValue::Signed(-1)) => Ok(None),
            Some(GgufValue::Signed(n)) if (0..=i64::from(u32::MAX)).contains(n) => {
                Ok(Some(*n as u32))
            }
            Some(other) => {
                Err(self.error(key, format!("should be a token id, is {}", brief(other))))
            }
        }
    }

    /// The bytes of a tensor from byte `start` of it on; the caller stays inside it.
    pub(super) fn read_at(&self, tensor: &GgufTensor, start: u64, out: &mut [u8]) -> Result<()> {
        self.source.read_at(tensor.offset.saturating_add(start), out)
    }
}

/// A value, short enough for a message.
fn brief(value: &GgufValue) -> String {
    match value {
        GgufValue::Texts(list) => format!("a list of {} strings", list.len()),
        GgufValue::Numbers(list) => format!("a list of {} numbers", list.iter().count()),
        GgufValue::Text(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
        GgufValue::Unsigned(n) => n.to_string(),
        GgufValue::Signed(n) => n.to_string(),
        GgufValue::Float(n) => n.to_string(),
        GgufValue::Bool(b) => b.to_string(),
        GgufValue::Nested => "a list of lists".into(),
    }
}

/// A row of the table, its offset still relative to the first tensor.
fn read_row(cursor: &mut Cursor<'_>, file: &str) -> Result<(String, GgufTensor)> {
    let at = cursor.position();
    let name = cursor.text("a tensor's name")?;
    let bad = |why: String| Error::format(file, format!("byte {at}, tensor `{name}`"), why);
    let axes = cursor.u32()?;
    if axes == 0 || axes > 4 {
        return Err(bad(format!("has {axes} axes; 1 to 4 are allowed")));
    }
    let mut shape = Vec::new();
    for _ in 0..axes {
        shape.push(cursor.u64()?);
    }
    shape.reverse();
    let (number, offset) = (cursor.u32()?, cursor.u64()?);
    let kind = GgufType::from_number(number).map_err(|other| Error::Unsupported {
        what: shorten(format!("{file}: tensor `{name}` of type {other}")),
        hint: format!("{}; take the model in one of these", works()),
    })?;
    let elements = shape.iter().try_fold(1u64, |n, &axis| n.checked_mul(axis));
    let elements = elements.filter(|n| (1..1 << 48).contains(n));
    let elements = elements.ok_or_else(|| bad(format!("{shape:?} is no usable shape")))?;
    let row = shape.last().copied().unwrap_or(0);
    if row % kind.block() as u64 != 0 {
        return Err(bad(format!(
            "rows of {row} values are not whole blocks of {kind}, which have {}",
            kind.block()
        )));
    }
    let bytes = elements / kind.block() as u64 * kind.block_bytes() as u64;
    let shape = shape.into_iter().map(|n| n as usize).collect();
    Ok((name, GgufTensor { shape, kind, offset, bytes }))
}

/// Checks offsets against each other and the file, and makes them absolute.
fn place(
    source: &dyn ByteSource,
    mut listed: Vec<(String, GgufTensor)>,
    start: u64,
    alignment: u64,
) -> Result<BTreeMap<String, GgufTensor>> {
    listed.sort_by_key(|(_, tensor)| tensor.offset);
    let (mut tensors, mut free) = (BTreeMap::new(), 0);
    for (name, mut tensor) in listed {
        let bad = |why: String| Error::format(source.name(), format!("tensor `{name}`"), why);
        if tensor.offset % alignment != 0 {
            let offset = tensor.offset;
            return Err(bad(format!("its offset {offset} is no multiple of {alignment}")));
        }
        if tensor.offset < free {
            let offset = tensor.offset;
            return Err(bad(format!("its offset {offset} lies in another tensor")));
        }
        free = tensor.offset.saturating_add(tensor.bytes);
        tensor.offset = tensor.offset.saturating_add(start);
        if tensor.offset.saturating_add(tensor.bytes) > source.len() {
            let why = format!(
                "should end at byte {}, the file has {}: it is truncated, download it again",
                tensor.offset.saturating_add(tensor.bytes),
                source.len()
            );
            return Err(bad(why));
        }
        if tensors.contains_key(&name) {
            return Err(bad("is listed twice".into()));
        }
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}
