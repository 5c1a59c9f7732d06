//! JSON files with errors that name file and key.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result, brief};

/// The largest JSON file that is read: configurations are small, and a wrong path should not fill
/// the memory.
const MAX_BYTES: u64 = 64 << 20;

/// The bytes of a JSON file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let size = std::fs::metadata(path).map_err(Error::io(path))?.len();
    if size > MAX_BYTES {
        let why = format!("{size} bytes is too long for a configuration file");
        return Err(Error::format(path.display(), "size", why));
    }
    std::fs::read(path).map_err(Error::io(path))
}

/// The JSON of a file, without the mark that some editors put in front of it.
pub(crate) fn text<'a>(label: &str, bytes: &'a [u8]) -> Result<&'a [u8]> {
    let utf16 = bytes.starts_with(b"\xff\xfe")
        || bytes.starts_with(b"\xfe\xff")
        || bytes.starts_with(b"{\0")
        || bytes.starts_with(b"\0{");
    if utf16 {
        return Err(Error::format(label, "byte 0", "is UTF-16; save it as UTF-8"));
    }
    Ok(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
}

/// Parses JSON; `label` is the file's name in messages.
pub(crate) fn parse<T: DeserializeOwned>(label: &str, bytes: &[u8]) -> Result<T> {
    let bytes = text(label, bytes)?;
    // A value of a list takes 32 bytes in memory, and a list that grows twice that: a long list of
    // short ones would be many times the file. No configuration is one.
    let values = bytes.iter().filter(|b| **b == b',').count();
    if values * 64 > 4 * bytes.len() + (64 << 10) {
        let why =
            format!("lists {values} values in {} bytes: this is no configuration", bytes.len());
        return Err(Error::format(label, "size", why));
    }
    parse_any(label, bytes)
}

/// Parses JSON of any size; what is made of it should not be much larger.
pub(crate) fn parse_any<T: DeserializeOwned>(label: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| {
        if bytes.trim_ascii().is_empty() {
            return Error::format(label, "size", "is empty, not JSON");
        }
        if let Err(e) = std::str::from_utf8(bytes) {
            let at = format!("byte {}", e.valid_up_to());
            return Error::format(label, at, "is not UTF-8; save the file as UTF-8");
        }
        let end = if e.is_eof() { "; the file is cut off" } else { "" };
        let why = format!("{}{end}", reason(&e));
        Error::format(label, format!("line {} column {}", e.line(), e.column()), why)
    })
}

/// What a JSON error says besides its place.
pub(crate) fn reason(e: &serde_json::Error) -> String {
    let text = e.to_string();
    let place = format!(" at line {} column {}", e.line(), e.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

/// An object of a JSON file, read key by key. A key that is absent or null gives `None`.
pub(crate) struct Object<'a> {
    label: &'a str,
    /// `rope_parameters.` for a nested object.
    prefix: String,
    map: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    /// The top of a file.
    pub(crate) fn new(label: &'a str, value: &'a Value) -> Result<Self> {
        let map = value.as_object();
        let map =
            map.ok_or_else(|| Error::format(label, "top level", "should be a JSON object"))?;
        Ok(Self { label, prefix: String::new(), map })
    }

    /// A [`Error::Format`] at a key.
    pub(crate) fn error(&self, key: &str, why: impl ToString) -> Error {
        Error::format(self.label, format!("key `{}{key}`", self.prefix), why)
    }

    /// A [`Error::Unsupported`] for the value of a key.
    pub(crate) fn unsupported(
        &self,
        key: &str,
        value: impl std::fmt::Display,
        hint: &str,
    ) -> Error {
        Error::Unsupported {
            what: brief(format!("{}: `{}{key}` = {value}", self.label, self.prefix)),
            hint: hint.into(),
        }
    }

    /// Whether the key is there, be it null.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    /// The keys that are there.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.map.keys().map(String::as_str)
    }

    fn typed<T>(
        &self,
        key: &str,
        kind: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let quoted = match value {
            Value::String(s) if s.parse::<f64>().is_ok() => "; remove the quotation marks",
            _ => "",
        };
        read(value)
            .map(Some)
            .ok_or_else(|| self.error(key, format!("should be {kind}, is {value}{quoted}")))
    }

    pub(crate) fn object(&self, key: &str) -> Result<Option<Object<'a>>> {
        let map = self.typed(key, "an object", Value::as_object)?;
        Ok(map.map(|map| Object {
            label: self.label,
            prefix: format!("{}{key}.", self.prefix),
            map,
        }))
    }

    pub(crate) fn string(&self, key: &str) -> Result<Option<&'a str>> {
        self.typed(key, "a string", Value::as_str)
    }

    pub(crate) fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// A finite number; integers count.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", |v| v.as_f64().filter(|n| n.is_finite()))
    }

    /// A whole number from 1 to 2³¹−1: a size or a count.
    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>> {
        let kind = "a whole number of at least 1";
        self.typed(key, kind, |v| {
            v.as_u64().filter(|n| (1..1 << 31).contains(n)).and_then(|n| usize::try_from(n).ok())
        })
    }

    /// One token id.
    pub(crate) fn token(&self, key: &str) -> Result<Option<u32>> {
        self.typed(key, "a token id", token_id)
    }

    /// A token id or a list of them; absent gives an empty list.
    pub(crate) fn tokens(&self, key: &str) -> Result<Vec<u32>> {
        let tokens = self.typed(key, "a token id or a list of them", |v| match v {
            Value::Array(list) => list.iter().map(token_id).collect(),
            one => token_id(one).map(|id| vec![id]),
        })?;
        Ok(tokens.unwrap_or_default())
    }

    /// A list of strings.
    pub(crate) fn strings(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.typed(key, "a list of strings", |v| {
            v.as_array()?.iter().map(|s| s.as_str().map(str::to_owned)).collect()
        })
    }
}

fn token_id(v: &Value) -> Option<u32> {
    v.as_u64().and_then(|n| u32::try_from(n).ok())
}
