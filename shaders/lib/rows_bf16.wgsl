// rows_bf16: eight consecutive bfloat16 weights, 8i to 8i+7 of `row`; `w: array<vec4u>`.

fn rows8(row: u32, i: u32) -> mat2x4f {
    let words = w[row * (p.k / 8u) + i];
    let even = bitcast<vec4f>(words << vec4u(16u));
    let odd = bitcast<vec4f>(words & vec4u(0xffff0000u));
    return mat2x4f(even.x, odd.x, even.y, odd.y, even.z, odd.z, even.w, odd.w);
}
