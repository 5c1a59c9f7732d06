//! The portable generator that goldens use in place of large stored tensors.

/// `n` values in [-1, 1) with 24 bits: `u = (z >> 40)·2^-23 − 1`, `z` the finalizer of SplitMix64
/// of `stream · 0x9E3779B97F4A7C15 + i`.
pub fn hash_uniform(n: usize, stream: u64) -> Vec<f32> {
    let start = stream.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..n as u64)
        .map(|i| {
            let z = start.wrapping_add(i);
            let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            let z = z ^ (z >> 31);
            (z >> 40) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}
