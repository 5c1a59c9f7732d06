// rows_f32: eight consecutive single-precision weights, 8i to 8i+7 of `row`; `w: array<vec4u>`.
// uses: rows32_apart

alias Rows8 = mat2x4f;

fn rows8_begin(lane: u32) {}

fn rows8_load(row: u32, i: u32) -> Rows8 {
    let at = 2u * (row * (p.k / 8u) + i);
    return mat2x4f(bitcast<vec4f>(w[at]), bitcast<vec4f>(w[at + 1u]));
}

fn rows8_decode(words: Rows8) -> mat2x4f {
    return words;
}

fn rows8(row: u32, i: u32) -> mat2x4f {
    return rows8_decode(rows8_load(row, i));
}
