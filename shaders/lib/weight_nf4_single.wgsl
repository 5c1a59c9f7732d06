// weight_nf4_single: 4-bit NormalFloat in blocks of 64 over the flattened matrix, eight codes a
// word of `w` in bitsandbytes' byte order, with each block's scale as an f32 in `scales`.
// uses: codebook_selects

fn weight_at(i: u32) -> f32 {
    let code = (w[i / 8u] >> ((i % 8u) / 2u * 8u + 4u - (i % 2u) * 4u)) & 15u;
    return nf4_value(code) * bitcast<f32>(scales[i / 64u]);
}
