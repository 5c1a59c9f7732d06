// eights_nf4: eight NF4 codes in a word to weights, by the `nf4_values` of the codebook that the
// body names.

// The first code in the low bits.
fn nf4_eight(word: u32, scale: f32) -> mat2x4f {
    let low = (vec4u(word) >> vec4u(0u, 4u, 8u, 12u)) & vec4u(15u);
    let high = (vec4u(word) >> vec4u(16u, 20u, 24u, 28u)) & vec4u(15u);
    return mat2x4f(nf4_values(low) * scale, nf4_values(high) * scale);
}

// From bitsandbytes' order, the first of two codes in a byte's high nibble.
fn nf4_swapped(word: u32) -> u32 {
    return ((word & 0x0f0f0f0fu) << 4u) | ((word >> 4u) & 0x0f0f0f0fu);
}
