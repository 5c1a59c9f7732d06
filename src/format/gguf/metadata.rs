//! GGUF metadata, read as what a key wants.

use std::fmt;

use super::file::GgufFile;
use super::value::{GgufValue, brief};
use crate::error::{Error, Result, brief as shorten};

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

    /// A whole number from 1 to 2³¹−1, if the key is there. A list of equal ones counts as one
    /// (layers that are alike).
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
