//! The element types of GGUF and what their blocks mean.
//!
//! A block holds `n` consecutive values of a row. `d`, `m`, `dmin` are f16; products and sums are
//! rounded to `f32` one by one, in the order written here, as the reference implementation does.
//!
//! | type | values | bytes | value `i` |
//! |---|---|---|---|
//! | Q4_0 | 32 | 18 | `d · (q − 8)`, q the low nibble of byte `i`, or the high nibble of byte `i − 16` |
//! | Q4_1 | 32 | 20 | `d · q + m` |
//! | Q5_0 | 32 | 22 | `d · (q − 16)`, the fifth bit of q is bit `i` of a word |
//! | Q5_1 | 32 | 24 | `d · q + m` |
//! | Q8_0 | 32 | 34 | `d · q`, q signed |
//! | Q4_K | 256 | 144 | `(d · s) · q − (dmin · t)`, s and t of 6 bits for each 32 values |
//! | Q5_K | 256 | 176 | the same with a fifth bit |
//! | Q6_K | 256 | 210 | `(d · s) · (q − 32)`, s of 8 bits, signed, for each 16 values |
//!
//! **Source** the block layouts of `ggml-common.h`; the values are compared with PyPI `gguf`'s in
//! the tests.

use std::fmt;

use half::{bf16, f16};

/// An element type whose values can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GgufType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an `f32`.
    BF16,
    /// 4 bits, a scale for 32.
    Q4_0,
    /// 4 bits, scale and minimum for 32.
    Q4_1,
    /// 5 bits, a scale for 32.
    Q5_0,
    /// 5 bits, scale and minimum for 32.
    Q5_1,
    /// 8 bits, a scale for 32.
    Q8_0,
    /// 4 bits, 6-bit scales and minima for 32, in super-blocks of 256.
    Q4K,
    /// 5 bits, 6-bit scales and minima for 32, in super-blocks of 256.
    Q5K,
    /// 6 bits, 8-bit scales for 16, in super-blocks of 256.
    Q6K,
}

/// Number in the file, type, name, values and bytes of a block.
const TYPES: [(u32, GgufType, &str, usize, usize); 11] = [
    (0, GgufType::F32, "F32", 1, 4),
    (1, GgufType::F16, "F16", 1, 2),
    (30, GgufType::BF16, "BF16", 1, 2),
    (2, GgufType::Q4_0, "Q4_0", 32, 18),
    (3, GgufType::Q4_1, "Q4_1", 32, 20),
    (6, GgufType::Q5_0, "Q5_0", 32, 22),
    (7, GgufType::Q5_1, "Q5_1", 32, 24),
    (8, GgufType::Q8_0, "Q8_0", 32, 34),
    (12, GgufType::Q4K, "Q4_K", 256, 144),
    (13, GgufType::Q5K, "Q5_K", 256, 176),
    (14, GgufType::Q6K, "Q6_K", 256, 210),
];

/// Types that exist and are not read, by name.
const OTHERS: [(u32, &str); 23] = [
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    (41, "Q1_0"),
];

impl GgufType {
    fn row(self) -> (u32, Self, &'static str, usize, usize) {
        TYPES.into_iter().find(|t| t.1 == self).unwrap_or(TYPES[0])
    }

    /// The type of a number in the file; otherwise the name of what it is.
    pub(super) fn from_number(number: u32) -> Result<Self, String> {
        if let Some(found) = TYPES.iter().find(|t| t.0 == number) {
            return Ok(found.1);
        }
        let other = OTHERS.iter().find(|t| t.0 == number);
        Err(other.map_or_else(|| format!("number {number}"), |t| t.1.to_owned()))
    }

    /// Its number in the file.
    pub fn number(self) -> u32 {
        self.row().0
    }

    /// Values in a block.
    pub fn block(self) -> usize {
        self.row().3
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        self.row().4
    }

    /// Appends the values of whole blocks; bytes of a last, incomplete block are left.
    pub fn dequantize(self, bytes: &[u8], out: &mut Vec<f32>) {
        out.reserve(bytes.len() / self.block_bytes() * self.block());
        for b in bytes.chunks_exact(self.block_bytes()) {
            let half = |at: usize| f16::from_le_bytes([b[at], b[at + 1]]).to_f32();
            match self {
                Self::F32 => out.push(f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
                Self::F16 => out.push(half(0)),
                Self::BF16 => out.push(bf16::from_le_bytes([b[0], b[1]]).to_f32()),
                Self::Q4_0 => nibbles(&b[2..], |_, q| half(0) * (f32::from(q) - 8.0), out),
                Self::Q4_1 => nibbles(&b[4..], |_, q| half(0) * f32::from(q) + half(2), out),
                Self::Q5_0 => {
                    let five = five_bits(&b[2..6]);
                    nibbles(&b[6..], |i, q| half(0) * (f32::from(five(i, q)) - 16.0), out);
                }
                Self::Q5_1 => {
                    let five = five_bits(&b[4..8]);
                    nibbles(&b[8..], |i, q| half(0) * f32::from(five(i, q)) + half(2), out);
                }
                Self::Q8_0 => {
                    out.extend(b[2..].iter().map(|q| half(0) * f32::from(q.cast_signed())));
                }
                Self::Q4K => k4_or_k5(half(0), half(2), &b[4..16], None, &b[16..], out),
                Self::Q5K => k4_or_k5(half(0), half(2), &b[4..16], Some(&b[16..48]), &b[48..], out),
                Self::Q6K => k6(half(208), &b[..128], &b[128..192], &b[192..208], out),
            }
        }
    }
}

impl fmt::Display for GgufType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().2)
    }
}

/// What works, for refusals.
pub(super) fn works() -> String {
    let names: Vec<_> = TYPES.iter().map(|t| t.2).collect();
    format!("{} work", names.join(", "))
}

/// 32 values of 16 bytes: all low nibbles, then all high ones.
fn nibbles(bytes: &[u8], value: impl Fn(usize, u8) -> f32, out: &mut Vec<f32>) {
    out.extend(bytes.iter().enumerate().map(|(i, b)| value(i, b & 15)));
    out.extend(bytes.iter().enumerate().map(|(i, b)| value(i + 16, b >> 4)));
}

/// Adds the fifth bit, bit `i` of a little-endian word, to a nibble.
fn five_bits(word: &[u8]) -> impl Fn(usize, u8) -> u8 + '_ {
    |i, q| q | ((word[i / 8] >> (i % 8)) & 1) << 4
}

/// Eight scales and minima of 6 bits in 12 bytes: four bytes of low scales, four of low minima,
/// whose upper two bits belong to the other four; their lower four bits are the nibbles of the last
/// four bytes.
fn scale_and_min(s: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        (s[j] & 63, s[j + 4] & 63)
    } else {
        (s[j + 4] & 15 | (s[j - 4] >> 6) << 4, s[j + 4] >> 4 | (s[j] >> 6) << 4)
    }
}

/// Q4_K, or Q5_K with `high` bits: for each 64 values, 32 low nibbles, then 32 high ones.
fn k4_or_k5(d: f32, dmin: f32, scales: &[u8], high: Option<&[u8]>, qs: &[u8], out: &mut Vec<f32>) {
    for j in 0..8 {
        let (scale, min) = scale_and_min(scales, j);
        let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
        let codes = &qs[j / 2 * 32..][..32];
        out.extend(codes.iter().enumerate().map(|(l, byte)| {
            let q = if j % 2 == 0 { byte & 15 } else { byte >> 4 };
            let fifth = high.map_or(0, |high| (high[l] >> j & 1) << 4);
            scale * f32::from(q | fifth) - min
        }));
    }
}

/// Q6_K: for each 128 values, four groups of 32 share 64 bytes of low nibbles and 32 bytes of upper
/// bit pairs.
fn k6(d: f32, low: &[u8], high: &[u8], scales: &[u8], out: &mut Vec<f32>) {
    for n in 0..2 {
        for group in 0..4 {
            out.extend((0..32).map(|l| {
                let nibbles = low[64 * n + 32 * (group % 2) + l];
                let q = if group < 2 { nibbles & 15 } else { nibbles >> 4 };
                let pair = high[32 * n + l] >> (2 * group) & 3;
                let scale = scales[8 * n + 2 * group + l / 16].cast_signed();
                (d * f32::from(scale)) * (f32::from(q | pair << 4) - 32.0)
            }));
        }
    }
}
