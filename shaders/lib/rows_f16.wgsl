// rows_f16: eight consecutive half-precision weights, 8i to 8i+7 of `row`; `w: array<vec4u>`.

fn rows8(row: u32, i: u32) -> mat2x4f {
    let words = w[row * (p.k / 8u) + i];
    return mat2x4f(
        vec4f(unpack2x16float(words.x), unpack2x16float(words.y)),
        vec4f(unpack2x16float(words.z), unpack2x16float(words.w)),
    );
}
