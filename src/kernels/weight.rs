//! A frozen or trainable matrix on the device, and how its elements are stored.

use crate::gpu::{Host, Tensor, Weight};
use crate::quant::{NESTED_BLOCK, NF4_BLOCK, NF4_CODE, Nf4Matrix, Nf4Scales};

/// Storage of a dense weight, packed in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dense {
    /// IEEE single.
    F32,
    /// IEEE half, two a word, the first in the low bits.
    F16,
    /// bfloat16, two a word, the first in the low bits.
    BF16,
}

impl Dense {
    /// In the words of variants.
    pub(super) fn weight(self) -> Weight {
        match self {
            Dense::F32 => Weight::F32,
            Dense::F16 => Weight::F16,
            Dense::BF16 => Weight::Bf16,
        }
    }

    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Dense::F32 => 4,
            Dense::F16 | Dense::BF16 => 2,
        }
    }

    /// Words that `elements` take.
    pub fn words(self, elements: usize) -> usize {
        (elements * self.bytes()).div_ceil(4)
    }

    /// Element `i` on the host: what `weight_at` gives a shader.
    pub fn at(self, words: &[u32], i: usize) -> f32 {
        let half = |i: usize| (words[i / 2] >> (16 * (i % 2))) as u16;
        match self {
            Dense::F32 => f32::from_bits(words[i]),
            Dense::F16 => half::f16::from_bits(half(i)).to_f32(),
            Dense::BF16 => half::bf16::from_bits(half(i)).to_f32(),
        }
    }
}

/// Storage of a matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Storage {
    /// Dense elements, row-major.
    Dense(Dense),
    /// NF4 with 8-bit scales, the layout of the fast kernels: see `Nf4Words::quads`.
    Nf4Quads {
        /// Mean of the blocks' absolute maxima.
        offset: f32,
    },
    /// NF4 with 8-bit scales in bitsandbytes' order, for shapes that have no quads.
    Nf4 {
        /// Mean of the blocks' absolute maxima.
        offset: f32,
    },
    /// NF4 with one f32 per block of 64 in `scales`, in bitsandbytes' order.
    Nf4Single,
}

impl Storage {
    /// In the words of variants.
    pub(super) fn weight(self) -> Weight {
        match self {
            Storage::Dense(dense) => dense.weight(),
            Storage::Nf4Quads { .. } => Weight::Nf4Quads,
            Storage::Nf4 { .. } => Weight::Nf4,
            Storage::Nf4Single => Weight::Nf4Single,
        }
    }
}

/// How a matrix will be kept, before it is anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Dense elements.
    Dense(Dense),
    /// NF4 with 8-bit scales.
    Nf4,
    /// NF4 with one f32 per block.
    Nf4Single,
}

impl Kept {
    /// Words of elements or codes, of scales, and of the scales' scales.
    pub fn words(self, rows: usize, cols: usize) -> [usize; 3] {
        let n = rows * cols;
        let (codes, blocks) = (n.div_ceil(2).div_ceil(4), n.div_ceil(NF4_BLOCK));
        match self {
            Kept::Dense(dense) => [dense.words(n), 0, 0],
            Kept::Nf4 => [codes, blocks.div_ceil(4), blocks.div_ceil(NESTED_BLOCK)],
            Kept::Nf4Single => [codes, blocks, 0],
        }
    }
}

/// A matrix `(rows, cols)` on the device.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub cols: usize,
    /// How elements are stored.
    pub storage: Storage,
    /// Elements or codes.
    pub w: Tensor,
    /// Scales of the blocks; `w` again where there are none.
    pub scales: Tensor,
    /// Scales of the scales; `w` again where there are none.
    pub nested: Tensor,
    /// The 256 values of 8-bit scales ([`Gpu::table`](crate::gpu::Gpu::table)).
    pub table: Tensor,
    /// Whether f16 holds its elements to 11 bits of the largest, so that products with it may run
    /// at 16 bits.
    pub halves: bool,
}

/// Sizes of a matrix's largest element with which it is taken for f16: four products of numbers up
/// to the upper one are still in range, and below the lower one too much lies under f16's normal
/// numbers.
const HALVES: std::ops::RangeInclusive<f32> = 0.003_906_25..=8000.0;

impl Matrix {
    /// The same, whose largest element has this size.
    pub(crate) fn with_largest(self, largest: f32) -> Matrix {
        Matrix { halves: largest == 0.0 || HALVES.contains(&largest), ..self }
    }

    /// A dense matrix over the words of `w`; `table` only fills its binding.
    pub fn dense(rows: usize, cols: usize, dense: Dense, w: Tensor, table: Tensor) -> Matrix {
        let (scales, nested) = (w.clone(), w.clone());
        Matrix {
            rows,
            cols,
            storage: Storage::Dense(dense),
            w,
            scales,
            nested,
            table,
            halves: true,
        }
    }

    /// Some of the rows of a dense matrix, if they begin where a binding may.
    pub fn band(&self, first: usize, rows: usize) -> Option<Matrix> {
        let Storage::Dense(dense) = self.storage else { return None };
        let [at, words] = [first, rows].map(|rows| dense.words(rows * self.cols));
        let w = self.w.slice(at, &[words], self.w.name()).ok()?;
        let band = Matrix::dense(rows, self.cols, dense, w, self.table.clone());
        Some(Matrix { halves: self.halves, ..band })
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        match self.storage {
            Storage::Dense(_) => self.w.bytes(),
            _ => self.w.bytes() + self.scales.bytes() + self.nested.bytes(),
        }
    }

    pub(super) fn offset(&self) -> f32 {
        match self.storage {
            Storage::Nf4Quads { offset } | Storage::Nf4 { offset } => offset,
            _ => 0.0,
        }
    }

    /// The elements as f32, row-major, from host copies of its words: what `weight_at` gives a
    /// shader.
    pub(super) fn values(&self, w: &Host, scales: &Host, nested: &Host, table: &Host) -> Vec<f32> {
        let (rows, cols) = (self.rows, self.cols);
        let restored = |code: u8, block: usize, offset: f32| {
            table.f32()[usize::from(code)] * nested.f32()[block / 256] + offset
        };
        let flat = |i: usize, scale: f32| {
            let byte = w.bytes()[i / 2];
            NF4_CODE[usize::from(if i.is_multiple_of(2) { byte >> 4 } else { byte & 15 })] * scale
        };
        let element = |i: usize| match self.storage {
            Storage::Dense(dense) => dense.at(w.u32(), i),
            Storage::Nf4Single => flat(i, scales.f32()[i / 64]),
            Storage::Nf4 { offset } => flat(i, restored(scales.bytes()[i / 64], i / 64, offset)),
            Storage::Nf4Quads { offset } => {
                let (n, k) = (i / cols, i % cols);
                let word = w.u32()[(n / 4 * (cols / 8) + k / 8) * 4 + n % 4];
                let code = scales.bytes()[k / 64 * rows + n];
                NF4_CODE[(word >> (4 * (k % 8)) & 15) as usize] * restored(code, i / 64, offset)
            }
        };
        (0..rows * cols).map(element).collect()
    }
}

/// The device's words of an NF4 matrix.
#[derive(Clone, Debug)]
pub struct Nf4Words {
    /// Codes.
    pub w: Vec<u32>,
    /// Scale codes, or f32 scales.
    pub scales: Vec<u32>,
    /// Scales of the scales; empty with f32 scales.
    pub nested: Vec<f32>,
    /// How they lie.
    pub storage: Storage,
}

/// Little-endian bytes as words, the last one padded with zeros.
pub fn words_of(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks(4)
        .map(|c| {
            let mut word = [0u8; 4];
            word[..c.len()].copy_from_slice(c);
            u32::from_le_bytes(word)
        })
        .collect()
}

impl Nf4Words {
    /// Lays out a quantized matrix: in quads where its shape and scales allow, else as it is
    /// stored.
    pub fn of(nf4: &Nf4Matrix) -> Nf4Words {
        match &nf4.scales {
            Nf4Scales::Single { absmax } => Nf4Words {
                w: words_of(&nf4.packed),
                scales: bytemuck::cast_slice(absmax).to_vec(),
                nested: Vec::new(),
                storage: Storage::Nf4Single,
            },
            Nf4Scales::Double { codes, nested_absmax, offset, .. } => {
                let (nested, offset) = (nested_absmax.clone(), *offset);
                // A row of at most 256 blocks has at most two nested scales, which the kernels rely
                // on.
                let quads = nf4.rows.is_multiple_of(4)
                    && nf4.cols.is_multiple_of(64)
                    && nf4.cols <= 64 * 256;
                if !quads {
                    let (w, scales) = (words_of(&nf4.packed), words_of(codes));
                    return Nf4Words { w, scales, nested, storage: Storage::Nf4 { offset } };
                }
                let (w, scales) = Nf4Words::quads(nf4.rows, nf4.cols, &nf4.packed, codes);
                Nf4Words { w, scales, nested, storage: Storage::Nf4Quads { offset } }
            }
        }
    }

    /// Four rows side by side, so that one load serves a lane's four rows: word
    /// `((n/4)·(K/8) + k/8)·4 + n%4` holds row `n`'s codes of columns `8·(k/8)…`, the first in the
    /// low bits; byte `(k/64)·N + n` of the scales is row `n`'s block at column `k`.
    fn quads(rows: usize, cols: usize, packed: &[u8], codes: &[u8]) -> (Vec<u32>, Vec<u32>) {
        // bitsandbytes has the first of two codes in the high nibble of a byte.
        let swap = |w: u32| (w & 0x0f0f_0f0f) << 4 | (w >> 4) & 0x0f0f_0f0f;
        let (words, blocks) = (cols / 8, cols / 64);
        let row_major = words_of(packed);
        let mut w = vec![0; rows * words];
        for (n, row) in row_major.chunks_exact(words).enumerate() {
            for (k, &word) in row.iter().enumerate() {
                w[(n / 4 * words + k) * 4 + n % 4] = swap(word);
            }
        }
        let mut scales = vec![0; codes.len()];
        for (n, row) in codes.chunks_exact(blocks).enumerate() {
            for (block, &code) in row.iter().enumerate() {
                scales[block * rows + n] = code;
            }
        }
        (w, words_of(&scales))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_takes_the_words_that_were_planned() {
        for (rows, cols) in [(4, 64), (3, 100), (8, 192), (300, 64), (5, 7)] {
            let values: Vec<f32> = (0..rows * cols).map(|i| (i % 17) as f32 - 8.0).collect();
            for (kept, double) in [(Kept::Nf4, true), (Kept::Nf4Single, false)] {
                let nf4 = Nf4Matrix::quantize(rows, cols, &values, double).unwrap();
                let Nf4Words { w, scales, nested, .. } = Nf4Words::of(&nf4);
                let got = [w.len(), scales.len(), nested.len()];
                assert_eq!(got, kept.words(rows, cols), "{kept:?} {rows} {cols}");
            }
        }
    }
}
