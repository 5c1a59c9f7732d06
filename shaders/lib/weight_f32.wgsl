// weight_f32: dense single-precision weights, one a word of `w`.

fn weight_at(i: u32) -> f32 {
    return bitcast<f32>(w[i]);
}
