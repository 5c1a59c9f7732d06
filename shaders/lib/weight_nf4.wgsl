// weight_nf4: 4-bit NormalFloat in blocks of 64 over the flattened matrix, eight codes a word of
// `w` in bitsandbytes' byte order (first element in a byte's high nibble). A block's scale is a
// byte of `scales` into `table`, times nested[block / 256], plus p.offset.
// uses: codebook_selects

fn weight_scale(block: u32) -> f32 {
    let code = (scales[block / 4u] >> (8u * (block % 4u))) & 255u;
    return table[code / 4u][code % 4u] * nested[block / 256u] + p.offset;
}

fn weight_at(i: u32) -> f32 {
    let code = (w[i / 8u] >> ((i % 8u) / 2u * 8u + 4u - (i % 2u) * 4u)) & 15u;
    return nf4_value(code) * weight_scale(i / 64u);
}
