// rows_f32: eight consecutive single-precision weights, 8i to 8i+7 of `row`; `w: array<vec4u>`.

fn rows8(row: u32, i: u32) -> mat2x4f {
    let at = 2u * (row * (p.k / 8u) + i);
    return mat2x4f(bitcast<vec4f>(w[at]), bitcast<vec4f>(w[at + 1u]));
}
