// rows_nf4: eight consecutive weights, 8i to 8i+7 of `row`; `w: array<vec4u>` and the scales as in
// weight_nf4.
// uses: codebook_nf4

fn rows8(row: u32, i: u32) -> mat2x4f {
    let at = row * (p.k / 8u) + i;
    let word = w[at / 4u][at % 4u];
    let block = at / 8u;
    let code = (scales[block / 4u] >> (8u * (block % 4u))) & 255u;
    let scale = table[code / 4u][code % 4u] * nested[block / 256u] + p.offset;
    // The first of two codes is in a byte's high nibble.
    return nf4_word(((word & 0x0f0f0f0fu) << 4u) | ((word >> 4u) & 0x0f0f0f0fu), scale);
}
