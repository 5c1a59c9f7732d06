//! Blocks of 64 values to 4-bit codes and back.

#[cfg(not(target_arch = "wasm32"))]
use rayon::prelude::*;

/// Values that share one scale. Blocks run over the flattened tensor, across row borders.
pub const NF4_BLOCK: usize = 64;

/// The sixteen values of NormalFloat4, ascending: code `c` stands for `NF4_CODE[c] · absmax`.
///
/// **Source** Dettmers et al. 2023 (arXiv:2305.14314), appendix E; the digits are bitsandbytes'
/// `f32` table.
pub const NF4_CODE: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// `(NF4_CODE[i] + NF4_CODE[i+1]) / 2` in `f32`: a scaled value gets the code `#{t : s > t}`, so a
/// tie goes down.
pub const NF4_THRESHOLDS: [f32; 15] = {
    let mut t = [0.0; 15];
    let mut i = 0;
    while i < 15 {
        t[i] = (NF4_CODE[i] + NF4_CODE[i + 1]) / 2.0;
        i += 1;
    }
    t
};

/// The smallest scale a block is divided by. Blocks below it (all zero, or denormal) get the codes
/// that bitsandbytes' CPU kernel gives them: 7, the code of 0, for a block of zeros.
const SMALLEST_SCALE: f32 = 1e-38;

/// One unit of parallel work, in blocks: large enough to hide the hand-over, small enough to share
/// evenly.
#[cfg(not(target_arch = "wasm32"))]
const BLOCKS_PER_TASK: usize = 1024;

/// Quantizes a flattened tensor to NF4 in blocks of [`NF4_BLOCK`], byte for byte as bitsandbytes on
/// a CPU.
///
/// `absmax[b] = max |x|` of block `b`; `s = x · (1 / absmax)` in `f32`, a reciprocal and a product;
/// `code = #{t ∈ NF4_THRESHOLDS : s > t}`. A partial last block *divides* (`x / absmax`), as the
/// original does.
///
/// **Shapes** `x (n)` → packed `(⌈n/2⌉)` bytes, first value in the HIGH nibble, and absmax
/// `(⌈n/64⌉)`. An odd length is padded with code 7. Values that are not finite give a NaN or
/// infinite scale, never a panic.
pub fn quantize(x: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let mut packed = vec![0; x.len().div_ceil(2)];
    let mut absmax = vec![0.0; x.len().div_ceil(NF4_BLOCK)];
    #[cfg(not(target_arch = "wasm32"))]
    x.par_chunks(BLOCKS_PER_TASK * NF4_BLOCK)
        .zip(packed.par_chunks_mut(BLOCKS_PER_TASK * NF4_BLOCK / 2))
        .zip(absmax.par_chunks_mut(BLOCKS_PER_TASK))
        .for_each(|((x, packed), absmax)| quantize_blocks(x, packed, absmax));
    #[cfg(target_arch = "wasm32")]
    quantize_blocks(x, &mut packed, &mut absmax);
    (packed, absmax)
}

fn quantize_blocks(x: &[f32], packed: &mut [u8], absmax: &mut [f32]) {
    for ((x, packed), absmax) in
        x.chunks(NF4_BLOCK).zip(packed.chunks_mut(NF4_BLOCK / 2)).zip(absmax)
    {
        let largest = x.iter().fold(0.0f32, |m, v| if v.abs() <= m { m } else { v.abs() });
        // Unused places of a partial block stay 0, whose code is 7.
        let mut scaled = [0.0f32; NF4_BLOCK];
        if let Ok(x) = <&[f32; NF4_BLOCK]>::try_from(x) {
            *absmax = largest;
            let inverse = 1.0 / at_least(largest, SMALLEST_SCALE);
            for (s, x) in scaled.iter_mut().zip(x) {
                *s = x * inverse;
            }
        } else {
            *absmax = at_least(largest, SMALLEST_SCALE);
            for (s, x) in scaled.iter_mut().zip(x) {
                *s = x / *absmax;
            }
        }
        // Counting thresholds one at a time over the whole block has no branches and becomes vector
        // code.
        let mut codes = [0u32; NF4_BLOCK];
        for t in NF4_THRESHOLDS {
            for (code, s) in codes.iter_mut().zip(&scaled) {
                *code += u32::from(*s > t);
            }
        }
        for (byte, pair) in packed.iter_mut().zip(codes.chunks_exact(2)) {
            *byte = (pair[0] << 4 | pair[1]) as u8;
        }
    }
}

/// `max(v, floor)` that keeps NaN, so that a damaged block shows.
fn at_least(v: f32, floor: f32) -> f32 {
    if v < floor { floor } else { v }
}

/// The `out.len()` values from `first` on: `NF4_CODE[code] · absmax`, one `f32` product each.
///
/// **Shapes** packed `(⌈n/2⌉)`, absmax `(⌈n/64⌉)` of the whole tensor; values past their end stay
/// as they were.
pub fn dequantize(packed: &[u8], absmax: &[f32], first: usize, out: &mut [f32]) {
    for (i, y) in out.iter_mut().enumerate() {
        let at = first + i;
        let (Some(byte), Some(scale)) = (packed.get(at / 2), absmax.get(at / NF4_BLOCK)) else {
            return;
        };
        let code = if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 };
        *y = NF4_CODE[usize::from(code)] * scale;
    }
}
