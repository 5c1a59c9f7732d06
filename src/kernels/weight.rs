//! A frozen or trainable matrix on the device, and how its elements are stored.

use crate::gpu::Tensor;

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
    /// The shader module that reads it.
    pub fn module(self) -> &'static str {
        match self {
            Dense::F32 => "weight_f32",
            Dense::F16 => "weight_f16",
            Dense::BF16 => "weight_bf16",
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
    /// NF4 with 8-bit scales: bitsandbytes' bytes, four a word; `scales` one byte per block of 64;
    /// `nested` the 256 code values, then one f32 per 256 blocks; `offset` as stored.
    Nf4Double {
        /// Mean of the blocks' absolute maxima.
        offset: f32,
    },
    /// NF4 with one f32 per block of 64 in `scales`.
    Nf4Single,
}

impl Storage {
    /// The shader module that reads it.
    pub fn module(self) -> &'static str {
        match self {
            Storage::Dense(dense) => dense.module(),
            Storage::Nf4Double { .. } => "weight_nf4",
            Storage::Nf4Single => "weight_nf4_single",
        }
    }
}

/// A matrix `(rows, cols)` on the device, row-major in the order of its checkpoint.
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
}

impl Matrix {
    /// A dense matrix over the words of `w`.
    pub fn dense(rows: usize, cols: usize, dense: Dense, w: Tensor) -> Matrix {
        let (scales, nested) = (w.clone(), w.clone());
        Matrix { rows, cols, storage: Storage::Dense(dense), w, scales, nested }
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        match self.storage {
            Storage::Dense(_) => self.w.bytes(),
            _ => self.w.bytes() + self.scales.bytes() + self.nested.bytes(),
        }
    }

    /// `weight_…`, and whether rows start at a word and a block border, which fast bodies rely on.
    pub(super) fn roles(&self) -> Vec<(&'static str, &'static str)> {
        let shape = if self.cols.is_multiple_of(64) { "aligned" } else { "ragged" };
        vec![("weight", self.storage.module()), ("shape", shape)]
    }

    pub(super) fn offset(&self) -> f32 {
        match self.storage {
            Storage::Nf4Double { offset } => offset,
            _ => 0.0,
        }
    }
}
