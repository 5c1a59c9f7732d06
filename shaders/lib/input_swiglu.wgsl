// input_swiglu: element i of a row of silu(gate) ⊙ up, of which `x` holds gate and then up, (M, K) each.

const INPUT_SQUARES = false;

fn input_squares(row: u32, lane: u32, lanes: u32) -> f32 {
    return 0.0;
}

fn input_begin(squares: f32) {}

fn input(row: u32, i: u32) -> f32 {
    let g = x[row * p.k + i];
    // exp(80) is finite; beyond it silu is zero to 30 digits.
    return g / (1.0 + exp(min(-g, 80.0))) * x[(p.m + row) * p.k + i];
}
