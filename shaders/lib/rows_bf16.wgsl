// rows_bf16: eight consecutive bfloat16 weights, 8i to 8i+7 of `row`; `w: array<vec4u>`.
// uses: rows32_apart

alias Rows8 = vec4u;

fn rows8_begin(lane: u32) {}

fn rows8_load(row: u32, i: u32) -> Rows8 {
    return w[row * (p.k / 8u) + i];
}

fn rows8_decode(words: Rows8) -> mat2x4f {
    let even = bitcast<vec4f>(words << vec4u(16u));
    let odd = bitcast<vec4f>(words & vec4u(0xffff0000u));
    return mat2x4f(even.x, odd.x, even.y, odd.y, even.z, odd.z, even.w, odd.w);
}

fn rows8(row: u32, i: u32) -> mat2x4f {
    return rows8_decode(rows8_load(row, i));
}
