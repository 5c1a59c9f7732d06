// weight_bf16: dense bfloat16 weights, two a word of `w`, the first in the low bits.

fn weight_at(i: u32) -> f32 {
    let pair = w[i / 2u];
    return bitcast<f32>(select(pair << 16u, pair & 0xffff0000u, (i & 1u) == 1u));
}
