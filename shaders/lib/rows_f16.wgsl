// rows_f16: eight consecutive half-precision weights, 8i to 8i+7 of `row`; `w: array<vec4u>`.
// uses: rows32_apart

alias Rows8 = vec4u;

fn rows8_begin(lane: u32) {}

fn rows8_load(row: u32, i: u32) -> Rows8 {
    return w[row * (p.k / 8u) + i];
}

fn rows8_decode(words: Rows8) -> mat2x4f {
    return mat2x4f(
        vec4f(unpack2x16float(words.x), unpack2x16float(words.y)),
        vec4f(unpack2x16float(words.z), unpack2x16float(words.w)),
    );
}

fn rows8(row: u32, i: u32) -> mat2x4f {
    return rows8_decode(rows8_load(row, i));
}
