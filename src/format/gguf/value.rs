//! Values of GGUF metadata, and reading them as what a key wants.

use std::fmt;

use super::file::GgufFile;
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
        let size = super::cursor::width(self.kind).unwrap_or(1);
        self.bytes.chunks_exact(size).map(|b| number(self.kind, b))
    }
}

/// A number of a GGUF type; every integer that a model's metadata holds is exact in `f64`.
pub(super) fn number(kind: u32, b: &[u8]) -> f64 {
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

/// A value, short enough for a message.
pub(super) fn brief(value: &GgufValue) -> String {
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

impl GgufFile {
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
        match self.metadata().get(key) {
            None => Ok(None),
            Some(GgufValue::Text(text)) => Ok(Some(text)),
            Some(other) => Err(self.error(key, format!("should be a string, is {}", brief(other)))),
        }
    }

    /// A truth value, if the key is there.
    pub(super) fn bool(&self, key: &str) -> Result<Option<bool>> {
        match self.metadata().get(key) {
            None => Ok(None),
            Some(GgufValue::Bool(b)) => Ok(Some(*b)),
            Some(other) => {
                Err(self.error(key, format!("should be true or false, is {}", brief(other))))
            }
        }
    }

    /// A finite number, if the key is there.
    pub(super) fn number(&self, key: &str) -> Result<Option<f64>> {
        let number = match self.metadata().get(key) {
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
        let Some(value) = self.metadata().get(key) else { return Ok(None) };
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
        match self.metadata().get(key) {
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
}
