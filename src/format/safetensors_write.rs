//! Writing safetensors, whole or piece by piece, laid out as the Python package lays them out.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::json;

use super::atomic::{PendingFile, write_atomic};
use super::safetensors::{DType, MAX_HEADER, TensorInfo};
use crate::error::{Error, Result};

/// A tensor to be written.
#[derive(Clone, Copy, Debug)]
pub struct TensorData<'a> {
    /// Its name, unique in the file.
    pub name: &'a str,
    /// Element type.
    pub dtype: DType,
    /// Axes, outermost first.
    pub shape: &'a [usize],
    /// Elements, row-major, little-endian.
    pub bytes: &'a [u8],
}

/// Header bytes (length field included) and the place of every tensor.
///
/// Larger element types come first, then names in order, so that everything is aligned and equal
/// content gives equal files.
pub(super) fn layout(
    path: &str,
    tensors: &[(&str, DType, &[usize])],
    metadata: &[(&str, &str)],
) -> Result<(Vec<u8>, BTreeMap<String, TensorInfo>)> {
    let mut order: Vec<_> = tensors.iter().collect();
    order.sort_by_key(|(name, dtype, _)| (Reverse(dtype.bytes()), Reverse(*dtype), *name));
    let metadata: BTreeMap<_, _> = metadata.iter().copied().collect();
    // Written as text, entry by entry, because the order of keys is the order of offsets.
    let mut entries = Vec::new();
    if !metadata.is_empty() {
        entries.push(format!("\"__metadata__\":{}", json!(metadata)));
    }
    let (mut end, mut places) = (0u64, BTreeMap::new());
    for (name, dtype, shape) in order {
        let bytes = shape.iter().try_fold(dtype.bytes() as u64, |n, &a| n.checked_mul(a as u64));
        let start = end;
        let bytes = bytes.filter(|n| start.checked_add(*n).is_some()).ok_or_else(|| {
            Error::invalid(format!("tensor `{name}` of {path}"), format!("{shape:?} is too large"))
        })?;
        end = start + bytes;
        entries.push(format!(
            "{}:{{\"dtype\":\"{dtype}\",\"shape\":{},\"data_offsets\":[{start},{end}]}}",
            json!(name),
            json!(shape),
        ));
        let info = TensorInfo { dtype: *dtype, shape: shape.to_vec(), offset: start, bytes };
        if places.insert((*name).to_owned(), info).is_some() {
            return Err(Error::invalid(format!("tensor `{name}` of {path}"), "is given twice"));
        }
    }
    let mut text = format!("{{{}}}", entries.join(",")).into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    if text.len() as u64 > MAX_HEADER {
        return Err(Error::invalid(path, format!("a header of {} bytes is too long", text.len())));
    }
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.append(&mut text);
    for info in places.values_mut() {
        info.offset += header.len() as u64;
    }
    Ok((header, places))
}

/// Writes a file whose tensors arrive in any order and in pieces; it appears under its name only
/// when it is complete.
#[derive(Debug)]
pub struct SafetensorsWriter {
    file: PendingFile,
    name: String,
    places: BTreeMap<String, TensorInfo>,
    /// Bytes received of each tensor.
    received: BTreeMap<String, u64>,
}

impl SafetensorsWriter {
    /// Starts a file with the given `(name, type, shape)` tensors and `__metadata__` strings.
    ///
    /// **Errors** [`Error::Invalid`] for a name given twice or a tensor that is too large,
    /// [`Error::Io`].
    pub fn create(
        path: impl AsRef<Path>,
        tensors: &[(&str, DType, &[usize])],
        metadata: &[(&str, &str)],
    ) -> Result<Self> {
        let name = path.as_ref().display().to_string();
        let (header, places) = layout(&name, tensors, metadata)?;
        let mut file = PendingFile::create(path)?;
        file.file().write_all(&header).map_err(Error::io(&name))?;
        Ok(Self { file, name, places, received: BTreeMap::new() })
    }

    /// Writes bytes of a tensor from byte `offset` of that tensor on.
    ///
    /// **Errors** [`Error::MissingTensor`] for a name that was not announced, [`Error::Invalid`]
    /// for bytes outside the tensor, [`Error::Io`].
    pub fn write(&mut self, tensor: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let place = self.places.get(tensor).ok_or_else(|| Error::MissingTensor {
            name: tensor.into(),
            file: self.name.clone(),
            hint: ": it was not announced when the file was started".into(),
        })?;
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > place.bytes) {
            return Err(Error::invalid(
                format!("{} bytes from {offset} of `{tensor}` in {}", bytes.len(), self.name),
                format!("the tensor has {} bytes", place.bytes),
            ));
        }
        let position = SeekFrom::Start(place.offset + offset);
        let file = self.file.file();
        file.seek(position).and_then(|_| file.write_all(bytes)).map_err(Error::io(&self.name))?;
        *self.received.entry(tensor.into()).or_default() += bytes.len() as u64;
        Ok(())
    }

    /// Syncs the file and gives it its name.
    ///
    /// **Errors** [`Error::Invalid`] if bytes of a tensor are missing, [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        for (tensor, place) in &self.places {
            let received = self.received.get(tensor).copied().unwrap_or(0);
            if received != place.bytes {
                return Err(Error::invalid(
                    format!("tensor `{tensor}` of {}", self.name),
                    format!("{received} of its {} bytes were written", place.bytes),
                ));
            }
        }
        self.file.commit()
    }
}

/// A whole safetensors file in memory.
///
/// **Errors** [`Error::Invalid`] for a name given twice or bytes that do not fit shape and type.
pub fn to_safetensors(tensors: &[TensorData<'_>], metadata: &[(&str, &str)]) -> Result<Vec<u8>> {
    let announced: Vec<_> = tensors.iter().map(|t| (t.name, t.dtype, t.shape)).collect();
    let (mut out, places) = layout("safetensors", &announced, metadata)?;
    out.resize(out.len() + places.values().map(|p| p.bytes as usize).sum::<usize>(), 0);
    for tensor in tensors {
        let place = &places[tensor.name];
        if place.bytes != tensor.bytes.len() as u64 {
            return Err(Error::invalid(
                format!("tensor `{}`", tensor.name),
                format!(
                    "shape {:?} of {} needs {} bytes, not {}",
                    tensor.shape,
                    tensor.dtype,
                    place.bytes,
                    tensor.bytes.len()
                ),
            ));
        }
        out[place.offset as usize..][..tensor.bytes.len()].copy_from_slice(tensor.bytes);
    }
    Ok(out)
}

/// [`to_safetensors`] into a file, atomically.
///
/// **Errors** those of [`to_safetensors`], and [`Error::Io`].
pub fn write_safetensors(
    path: impl AsRef<Path>,
    tensors: &[TensorData<'_>],
    metadata: &[(&str, &str)],
) -> Result<()> {
    let bytes = to_safetensors(tensors, metadata)?;
    let path = path.as_ref();
    write_atomic(path, |file| file.write_all(&bytes).map_err(Error::io(path)))
}
