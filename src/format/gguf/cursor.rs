//! Reading a GGUF header front to back, through a window: a source may be an address from which
//! ranges are fetched.

use super::value::{GgufNumbers, GgufValue, width};
use crate::error::{Error, Result};
use crate::format::source::ByteSource;

/// Bytes fetched at a time.
const WINDOW: u64 = 1 << 20;

/// Arrays in arrays in arrays are no metadata of a model.
const DEEPEST: u32 = 4;

/// A place in a source, and some bytes from there on.
pub(super) struct Cursor<'a> {
    source: &'a dyn ByteSource,
    /// Position of the window's first byte.
    base: u64,
    window: Vec<u8>,
    /// Bytes of the window that were taken.
    taken: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(source: &'a dyn ByteSource) -> Self {
        Self { source, base: 0, window: Vec::new(), taken: 0 }
    }

    /// Byte of the file that comes next.
    pub(super) fn position(&self) -> u64 {
        self.base + self.taken as u64
    }

    fn rest(&self) -> u64 {
        self.source.len() - self.position()
    }

    fn bad(&self, at: u64, why: impl ToString) -> Error {
        Error::format(self.source.name(), format!("byte {at}"), why)
    }

    /// The next `n` bytes.
    pub(super) fn bytes(&mut self, n: u64) -> Result<&[u8]> {
        if n > self.rest() {
            let why = format!(
                "the file ends at byte {}, but {n} more bytes are needed here: it is truncated or damaged",
                self.source.len()
            );
            return Err(self.bad(self.position(), why));
        }
        let n = n as usize;
        if self.window.len() - self.taken < n {
            let position = self.position();
            let length = (n as u64).max(WINDOW).min(self.rest());
            self.window.clear();
            self.window.resize(length as usize, 0);
            self.base = position;
            self.taken = 0;
            self.source.read_at(position, &mut self.window)?;
        }
        let from = self.taken;
        self.taken += n;
        Ok(&self.window[from..self.taken])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N as u64)?);
        Ok(out)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A count of things that take at least `least` bytes each: more than the rest of the file
    /// holds is damage.
    pub(super) fn count(&mut self, what: &str, least: u64) -> Result<u64> {
        let at = self.position();
        let n = self.u64()?;
        if n > self.rest() / least {
            let why = format!("{n} {what} are announced, which the rest of the file cannot hold");
            return Err(self.bad(at, why));
        }
        Ok(n)
    }

    pub(super) fn text(&mut self, what: &str) -> Result<String> {
        let at = self.position();
        let n = self.u64()?;
        if n > self.rest() {
            let why = format!("{what} of {n} bytes is announced, the file ends before");
            return Err(self.bad(at, why));
        }
        let bytes = self.bytes(n)?.to_vec();
        String::from_utf8(bytes).map_err(|_| self.bad(at, format!("{what} is not UTF-8")))
    }

    /// A metadata value of a GGUF type; `key` is for messages.
    pub(super) fn value(&mut self, kind: u32, key: &str) -> Result<GgufValue> {
        let at = self.position();
        Ok(match kind {
            0 => GgufValue::Unsigned(self.array::<1>()?[0].into()),
            1 => GgufValue::Signed(self.array::<1>()?[0].cast_signed().into()),
            2 => GgufValue::Unsigned(u16::from_le_bytes(self.array()?).into()),
            3 => GgufValue::Signed(i16::from_le_bytes(self.array()?).into()),
            4 => GgufValue::Unsigned(self.u32()?.into()),
            5 => GgufValue::Signed(i32::from_le_bytes(self.array()?).into()),
            6 => GgufValue::Float(f32::from_le_bytes(self.array()?).into()),
            7 => match self.array::<1>()? {
                [b @ (0 | 1)] => GgufValue::Bool(b == 1),
                [b] => {
                    let why = format!("the truth value of `{key}` should be 0 or 1, is {b}");
                    return Err(self.bad(at, why));
                }
            },
            8 => GgufValue::Text(self.text(&format!("the value of `{key}`"))?),
            9 => self.list(key)?,
            10 => GgufValue::Unsigned(self.u64()?),
            11 => GgufValue::Signed(i64::from_le_bytes(self.array()?)),
            12 => GgufValue::Float(f64::from_le_bytes(self.array()?)),
            _ => return Err(self.bad(at, format!("`{key}` has the unknown type {kind}"))),
        })
    }

    fn list(&mut self, key: &str) -> Result<GgufValue> {
        let kind = self.u32()?;
        let what = format!("elements of `{key}`");
        if let Some(size) = width(kind) {
            let n = self.count(&what, size as u64)?;
            let bytes = self.bytes(n * size as u64)?.to_vec();
            return Ok(GgufValue::Numbers(GgufNumbers { kind, bytes }));
        }
        if kind == 8 {
            let n = self.count(&what, 8)?;
            let mut texts = Vec::with_capacity(n as usize);
            for _ in 0..n {
                texts.push(self.text(&what)?);
            }
            return Ok(GgufValue::Texts(texts));
        }
        self.skip(kind, key, 0)?;
        Ok(GgufValue::Nested)
    }

    /// Reads over an array's elements.
    fn skip(&mut self, kind: u32, key: &str, depth: u32) -> Result<()> {
        let what = format!("elements of `{key}`");
        match (width(kind), kind) {
            (Some(size), _) => {
                let n = self.count(&what, size as u64)?;
                self.bytes(n * size as u64)?;
            }
            (None, 8) => {
                for _ in 0..self.count(&what, 8)? {
                    self.text(&what)?;
                }
            }
            (None, 9) if depth < DEEPEST => {
                for _ in 0..self.count(&what, 12)? {
                    let inner = self.u32()?;
                    self.skip(inner, key, depth + 1)?;
                }
            }
            _ => {
                let why = format!("`{key}` is a list of type {kind}, nested too deep or unknown");
                return Err(self.bad(self.position(), why));
            }
        }
        Ok(())
    }
}
