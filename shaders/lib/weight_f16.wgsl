// weight_f16: elements of row-major half-precision weights, two in a word, low half first.

fn weight_at(i: u32) -> f32 {
    let pair = unpack2x16float(w[i / 2u]);
    return select(pair.x, pair.y, i % 2u == 1u);
}
