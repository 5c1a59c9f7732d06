//! Values of GGUF metadata.

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
        let size = width(self.kind).unwrap_or(1);
        self.bytes.chunks_exact(size).map(|b| number(self.kind, b))
    }
}

/// Bytes of a fixed-size metadata type.
pub(super) fn width(kind: u32) -> Option<usize> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
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
