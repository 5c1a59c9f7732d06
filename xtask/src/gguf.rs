//! Just enough of GGUF to unpack one known file: metadata, tensor table, and the block types F32,
//! Q8_0 and Q4_1.
//!
//! The library has a full reader. This one exists because the models must be there before the
//! library's tests run, and because two readers that were written apart check each other: the tests
//! compare what both make of this file.

use anyhow::{Context, Result, bail, ensure};
use std::collections::HashMap;

/// A metadata value, as far as a tokenizer or a row permutation needs one.
pub enum Value {
    /// Any integer or boolean.
    Integer(u64),
    /// A string.
    Text(String),
    /// An array of strings.
    Texts(Vec<String>),
    /// An array of integers.
    Integers(Vec<u64>),
    /// Floats and arrays of them: read, not kept.
    Other,
}

/// One row of the tensor table.
pub struct Tensor {
    /// The GGUF name.
    pub name: String,
    /// Row-major shape: the last axis is contiguous (GGUF stores it the other way round).
    pub shape: Vec<usize>,
    kind: u32,
    offset: usize,
}

impl Tensor {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A parsed file, kept in memory.
pub struct Gguf {
    bytes: Vec<u8>,
    data_start: usize,
    /// The metadata.
    pub metadata: HashMap<String, Value>,
    /// The tensors, in file order.
    pub tensors: Vec<Tensor>,
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let found = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let found = *found.with_context(|| format!("file ends at byte {}", self.at))?;
        self.at += N;
        Ok(found)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn count(&mut self) -> Result<usize> {
        let n = usize::try_from(self.u64()?)?;
        ensure!(
            n <= self.bytes.len(),
            "a count of {n} at byte {} is larger than the file",
            self.at
        );
        Ok(n)
    }

    fn text(&mut self) -> Result<String> {
        let n = self.count()?;
        let found = self.bytes.get(self.at..self.at + n).context("a string passes the end")?;
        self.at += n;
        Ok(std::str::from_utf8(found)?.to_string())
    }

    /// A value of a GGUF type; integers of every width become u64.
    fn value(&mut self, kind: u32) -> Result<Value> {
        Ok(match kind {
            0 | 1 | 7 => Value::Integer(self.take::<1>()?[0].into()),
            2 | 3 => Value::Integer(u16::from_le_bytes(self.take()?).into()),
            4 | 5 => Value::Integer(self.u32()?.into()),
            10 | 11 => Value::Integer(self.u64()?),
            6 => self.take::<4>().map(|_| Value::Other)?,
            12 => self.take::<8>().map(|_| Value::Other)?,
            8 => Value::Text(self.text()?),
            9 => self.array()?,
            _ => bail!("unknown metadata type {kind} at byte {}", self.at),
        })
    }

    fn array(&mut self) -> Result<Value> {
        let (kind, n) = (self.u32()?, self.count()?);
        let (mut texts, mut integers) = (Vec::new(), Vec::new());
        for _ in 0..n {
            match self.value(kind)? {
                Value::Text(text) => texts.push(text),
                Value::Integer(integer) => integers.push(integer),
                _ => {}
            }
        }
        Ok(match kind {
            8 => Value::Texts(texts),
            6 | 9 | 12 => Value::Other,
            _ => Value::Integers(integers),
        })
    }
}

impl Gguf {
    /// Reads header, metadata and tensor table, and checks that every tensor lies inside the file.
    pub fn parse(bytes: Vec<u8>) -> Result<Gguf> {
        let mut cursor = Cursor { bytes: &bytes, at: 0 };
        ensure!(&cursor.take::<4>()? == b"GGUF", "not a GGUF file");
        let version = cursor.u32()?;
        ensure!(matches!(version, 2 | 3), "GGUF version {version}");
        let (n_tensors, n_metadata) = (cursor.count()?, cursor.count()?);
        let mut metadata = HashMap::new();
        for _ in 0..n_metadata {
            let name = cursor.text()?;
            let kind = cursor.u32()?;
            metadata.insert(name, cursor.value(kind)?);
        }
        let mut tensors = Vec::new();
        for _ in 0..n_tensors {
            let name = cursor.text()?;
            let n_axes = cursor.u32()?;
            let mut shape = (0..n_axes).map(|_| cursor.count()).collect::<Result<Vec<_>>>()?;
            shape.reverse();
            let (kind, offset) = (cursor.u32()?, usize::try_from(cursor.u64()?)?);
            tensors.push(Tensor { name, shape, kind, offset });
        }
        let align = match metadata.get("general.alignment") {
            Some(Value::Integer(n)) if *n > 0 => usize::try_from(*n)?,
            _ => 32,
        };
        let data_start = cursor.at.next_multiple_of(align);
        Ok(Gguf { bytes, data_start, metadata, tensors })
    }

    /// A metadata integer.
    pub fn integer(&self, key: &str) -> Result<usize> {
        match self.metadata.get(key) {
            Some(Value::Integer(n)) => Ok(usize::try_from(*n)?),
            _ => bail!("metadata lacks the integer {key}"),
        }
    }

    /// A metadata array of strings.
    pub fn texts(&self, key: &str) -> Result<&[String]> {
        match self.metadata.get(key) {
            Some(Value::Texts(texts)) => Ok(texts),
            _ => bail!("metadata lacks the strings {key}"),
        }
    }

    /// A metadata array of integers.
    pub fn integers(&self, key: &str) -> Result<&[u64]> {
        match self.metadata.get(key) {
            Some(Value::Integers(integers)) => Ok(integers),
            _ => bail!("metadata lacks the integers {key}"),
        }
    }

    /// The tensor's values in f32: product, then sum, each rounded, as ggml's own reference does.
    pub fn dequantize(&self, tensor: &Tensor) -> Result<Vec<f32>> {
        let (block, block_bytes) = match tensor.kind {
            0 => (1, 4),
            3 => (32, 20),
            8 => (32, 34),
            kind => {
                bail!("{}: GGUF type {kind} is not in the file this was written for", tensor.name)
            }
        };
        let n = tensor.len();
        ensure!(n.is_multiple_of(block), "{}: {n} elements are not whole blocks", tensor.name);
        let start = self.data_start + tensor.offset;
        let data = self
            .bytes
            .get(start..start + n / block * block_bytes)
            .with_context(|| format!("{}: passes the end of the file", tensor.name))?;
        let mut out = Vec::with_capacity(n);
        for b in data.chunks_exact(block_bytes) {
            let half = |at: usize| f16_to_f32(u16::from_le_bytes([b[at], b[at + 1]]));
            match tensor.kind {
                0 => out.push(f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
                8 => out.extend(b[2..].iter().map(|&q| half(0) * f32::from(q.cast_signed()))),
                // Q4_1: scale, minimum, 16 bytes; the low nibbles are elements 0..16, the high ones
                // 16..32.
                _ => {
                    let (d, m) = (half(0), half(2));
                    out.extend(b[4..].iter().map(|q| d * f32::from(q & 15) + m));
                    out.extend(b[4..].iter().map(|q| d * f32::from(q >> 4) + m));
                }
            }
        }
        Ok(out)
    }
}

/// Exact widening of an IEEE half.
fn f16_to_f32(half: u16) -> f32 {
    let (sign, exponent, fraction) = (half >> 15, (half >> 10) & 31, u32::from(half & 1023));
    let magnitude = match exponent {
        0 => fraction as f32 * 2f32.powi(-24),
        31 => f32::from_bits(0x7f80_0000 | (fraction << 13)),
        _ => f32::from_bits(((u32::from(exponent) + 112) << 23) | (fraction << 13)),
    };
    if sign == 1 { -magnitude } else { magnitude }
}

/// Rounds to bfloat16, ties to even (finite values).
pub fn bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_widen_exactly() {
        let cases = [(0x3c00, 1.0), (0xc000, -2.0), (0x0001, 5.960_464_5e-8), (0x7bff, 65504.0)];
        for (bits, value) in cases {
            assert_eq!(f16_to_f32(bits), value);
        }
    }

    #[test]
    fn bf16_rounds_ties_to_even() {
        let cases = [(0x3f80_0000, 0x3f80), (0x3f80_8000, 0x3f80), (0x3f81_8000, 0x3f82)];
        for (value, rounded) in cases {
            assert_eq!(bf16(f32::from_bits(value)), rounded, "{value:x}");
        }
        assert_eq!(bf16(f32::from_bits(0x3f80_8001)), 0x3f81);
    }

    #[test]
    fn damaged_files_are_errors() {
        assert!(Gguf::parse(b"GGU".to_vec()).is_err());
        assert!(Gguf::parse(b"GGUF\x03\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()).is_err());
    }
}
