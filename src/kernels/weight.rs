//! How frozen weights lie in memory.

/// Element type of a frozen, dense, row-major weight. The 16-bit kinds lie two in a word, low half
/// first; an odd number of elements pads the last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dense {
    /// 32-bit float.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a 32-bit float.
    BF16,
}

impl Dense {
    /// The module of the role `weight` that reads it.
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
