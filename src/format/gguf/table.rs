//! The table of tensors of a GGUF file, checked against the file.

use std::collections::BTreeMap;

use super::blocks::{GgufType, works};
use super::cursor::Cursor;
use crate::error::{Error, Result, brief as shorten};
use crate::format::source::ByteSource;

/// One row of the table of tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct GgufTensor {
    /// Axes, outermost first (the file lists them the other way round).
    pub shape: Vec<usize>,
    /// Element type.
    pub kind: GgufType,
    /// Position of the first byte in its file.
    pub offset: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// Number of the file that holds it, of a model that was split; otherwise 0.
    pub part: usize,
}

/// A row of the table, its offset still relative to the first tensor.
pub(super) fn read_row(cursor: &mut Cursor<'_>, file: &str) -> Result<(String, GgufTensor)> {
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
    Ok((name, GgufTensor { shape, kind, offset, bytes, part: 0 }))
}

/// Checks offsets against each other and the file, and makes them absolute.
pub(super) fn place(
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
