// weight_f32: elements of row-major float weights.

fn weight_at(i: u32) -> f32 {
    return bitcast<f32>(w[i]);
}
