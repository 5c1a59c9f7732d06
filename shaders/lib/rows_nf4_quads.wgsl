// rows_nf4_quads: eight consecutive weights, 8i to 8i+7 of `row`; `w: array<vec4u>` and the scales as in
// weight_nf4_quads.
// uses: eights_nf4

struct Rows8 { codes: u32, scales: u32, shift: u32, nested: f32 }

fn rows8_begin(lane: u32) {
    nf4_begin(lane);
}

fn rows8_load(row: u32, i: u32) -> Rows8 {
    let codes = w[row / 4u * (p.k / 8u) + i][row % 4u];
    let byte = i / 8u * p.n + row;
    let block = row * (p.k / 64u) + i / 8u;
    return Rows8(codes, scales[byte / 4u], 8u * (byte % 4u), nested[block / 256u]);
}

fn rows8_decode(words: Rows8) -> mat2x4f {
    let scale = nf4_scale((words.scales >> words.shift) & 255u) * words.nested + p.offset;
    return nf4_eight(words.codes, scale);
}

fn rows8(row: u32, i: u32) -> mat2x4f {
    return rows8_decode(rows8_load(row, i));
}
