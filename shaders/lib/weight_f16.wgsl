// weight_f16: dense half-precision weights, two a word of `w`, the first in the low bits.

fn weight_at(i: u32) -> f32 {
    let pair = unpack2x16float(w[i / 2u]);
    return select(pair.x, pair.y, (i & 1u) == 1u);
}
