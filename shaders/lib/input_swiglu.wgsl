// input_swiglu: element i of silu(gate) ⊙ up, of which `x` holds gate and then up, (M, K) each.

fn input(i: u32) -> f32 {
    let g = x[i];
    // exp(80) is finite; beyond it silu is zero to 30 digits.
    return g / (1.0 + exp(min(-g, 80.0))) * x[p.m * p.k + i];
}
