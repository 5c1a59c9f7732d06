// weight_bf16: elements of row-major bfloat16 weights, two in a word, low half first.

fn weight_at(i: u32) -> f32 {
    let pair = w[i / 2u];
    return bitcast<f32>(select(pair << 16u, pair & 0xffff0000u, i % 2u == 1u));
}
