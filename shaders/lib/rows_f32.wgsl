// rows_f32: eight consecutive single-precision weights, elements 8i to 8i+7 of `w: array<vec4u>`.

fn rows8(i: u32) -> mat2x4f {
    return mat2x4f(bitcast<vec4f>(w[2u * i]), bitcast<vec4f>(w[2u * i + 1u]));
}
