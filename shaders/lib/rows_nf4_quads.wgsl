// rows_nf4_quads: eight consecutive weights, 8i to 8i+7 of `row`; `w: array<vec4u>` and the scales as in
// weight_nf4_quads.
// uses: codebook_nf4

fn rows8(row: u32, i: u32) -> mat2x4f {
    let word = w[row / 4u * (p.k / 8u) + i][row % 4u];
    let byte = i / 8u * p.n + row;
    let code = (scales[byte / 4u] >> (8u * (byte % 4u))) & 255u;
    let block = row * (p.k / 64u) + i / 8u;
    return nf4_word(word, table[code / 4u][code % 4u] * nested[block / 256u] + p.offset);
}
