//! Writing GGUF: metadata first, then tensors in the order in which they were announced.

use std::io::Write;
use std::path::Path;

use super::blocks::GgufType;
use crate::error::{Error, Result};
use crate::format::atomic::PendingFile;

/// Where tensors begin, and each of them.
const ALIGNMENT: u64 = 32;

/// A metadata value to be written, in the type that llama.cpp expects of its key.
#[derive(Clone, Debug, PartialEq)]
pub enum GgufField {
    /// A 32-bit unsigned integer.
    U32(u32),
    /// A 32-bit float.
    F32(f32),
    /// A truth value.
    Bool(bool),
    /// A string.
    Text(String),
    /// Strings.
    Texts(Vec<String>),
    /// 32-bit signed integers.
    I32s(Vec<i32>),
    /// 32-bit floats.
    F32s(Vec<f32>),
}

impl GgufField {
    fn write(&self, out: &mut Vec<u8>) {
        let text = |out: &mut Vec<u8>, s: &str| {
            out.extend((s.len() as u64).to_le_bytes());
            out.extend(s.as_bytes());
        };
        let kind = |out: &mut Vec<u8>, n: u32| out.extend(n.to_le_bytes());
        match self {
            Self::U32(n) => {
                kind(out, 4);
                out.extend(n.to_le_bytes());
            }
            Self::F32(n) => {
                kind(out, 6);
                out.extend(n.to_le_bytes());
            }
            Self::Bool(b) => {
                kind(out, 7);
                out.push(u8::from(*b));
            }
            Self::Text(s) => {
                kind(out, 8);
                text(out, s);
            }
            Self::Texts(list) => {
                kind(out, 9);
                kind(out, 8);
                out.extend((list.len() as u64).to_le_bytes());
                list.iter().for_each(|s| text(out, s));
            }
            Self::I32s(list) => {
                kind(out, 9);
                kind(out, 5);
                out.extend((list.len() as u64).to_le_bytes());
                list.iter().for_each(|n| out.extend(n.to_le_bytes()));
            }
            Self::F32s(list) => {
                kind(out, 9);
                kind(out, 6);
                out.extend((list.len() as u64).to_le_bytes());
                list.iter().for_each(|n| out.extend(n.to_le_bytes()));
            }
        }
    }
}

/// A tensor to come.
#[derive(Clone, Debug, PartialEq)]
pub struct GgufAnnounced {
    /// Its name.
    pub name: String,
    /// Element type, F32, F16 or BF16.
    pub kind: GgufType,
    /// Axes, outermost first.
    pub shape: Vec<usize>,
}

impl GgufAnnounced {
    fn bytes(&self) -> u64 {
        let elements: usize = self.shape.iter().product();
        (elements / self.kind.block() * self.kind.block_bytes()) as u64
    }
}

/// Writes a GGUF file, version 3; it appears under its name only when it is complete.
#[derive(Debug)]
pub struct GgufWriter {
    file: PendingFile,
    name: String,
    tensors: Vec<GgufAnnounced>,
    /// The tensor that is being written, and how many of its bytes are there.
    at: (usize, u64),
}

impl GgufWriter {
    /// Starts a file.
    ///
    /// **Errors** [`Error::Io`].
    pub fn create(
        path: impl AsRef<Path>,
        metadata: &[(String, GgufField)],
        tensors: Vec<GgufAnnounced>,
    ) -> Result<Self> {
        let name = path.as_ref().display().to_string();
        let mut header = b"GGUF".to_vec();
        header.extend(3u32.to_le_bytes());
        header.extend((tensors.len() as u64).to_le_bytes());
        header.extend((metadata.len() as u64).to_le_bytes());
        let text = |out: &mut Vec<u8>, s: &str| {
            out.extend((s.len() as u64).to_le_bytes());
            out.extend(s.as_bytes());
        };
        for (key, field) in metadata {
            text(&mut header, key);
            field.write(&mut header);
        }
        let mut offset = 0u64;
        for tensor in &tensors {
            text(&mut header, &tensor.name);
            header.extend((tensor.shape.len() as u32).to_le_bytes());
            // The contiguous axis comes first.
            for axis in tensor.shape.iter().rev() {
                header.extend((*axis as u64).to_le_bytes());
            }
            header.extend(tensor.kind.number().to_le_bytes());
            header.extend(offset.to_le_bytes());
            offset += tensor.bytes().next_multiple_of(ALIGNMENT);
        }
        header.resize(header.len().next_multiple_of(ALIGNMENT as usize), 0);
        let mut file = PendingFile::create(&path)?;
        file.file().write_all(&header).map_err(Error::io(&name))?;
        Ok(Self { file, name, tensors, at: (0, 0) })
    }

    /// Writes the next values of the tensor whose turn it is, in its element type.
    ///
    /// **Errors** [`Error::Invalid`] if it is the turn of another one, for values past its end, or
    /// ones too large for F16; [`Error::Io`].
    pub fn write(&mut self, tensor: &str, values: &[f32]) -> Result<()> {
        let (index, done) = self.at;
        let wrong = |why: &str| Err(Error::invalid(format!("`{tensor}` of {}", self.name), why));
        let Some(next) = self.tensors.get(index).filter(|next| next.name == tensor) else {
            return wrong("comes out of turn");
        };
        let bytes: Vec<u8> = match next.kind {
            GgufType::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            GgufType::BF16 => {
                values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect()
            }
            GgufType::F16 => {
                if values.iter().any(|v| v.is_finite() && v.abs() >= 65_520.0) {
                    return wrong("has a value that is too large for F16; write it as F32 or BF16");
                }
                values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect()
            }
            _ => return wrong("is of a block type, which is not written"),
        };
        let total = next.bytes();
        let done = done + bytes.len() as u64;
        if done > total {
            return wrong("has more values than were announced");
        }
        let file = self.file.file();
        file.write_all(&bytes).map_err(Error::io(&self.name))?;
        self.at = (index, done);
        if done == total {
            let padding = (total.next_multiple_of(ALIGNMENT) - total) as usize;
            file.write_all(&[0; ALIGNMENT as usize][..padding]).map_err(Error::io(&self.name))?;
            self.at = (index + 1, 0);
        }
        Ok(())
    }

    /// Syncs the file and gives it its name.
    ///
    /// **Errors** [`Error::Invalid`] if values are missing, [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        match self.tensors.get(self.at.0) {
            None => self.file.commit(),
            Some(next) => Err(Error::invalid(
                format!("`{}` of {}", next.name, self.name),
                "its values were not all written",
            )),
        }
    }
}
