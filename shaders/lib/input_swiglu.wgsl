// input_swiglu: element i of a row of silu(gate) ⊙ up, of which `x` holds gate and then up, (M, K)
// each.

const INPUT_SQUARES = false;

var<private> input_squares: f32;

fn input_factor(squares: f32) -> f32 {
    return 1.0;
}

fn input(row: u32, i: u32) -> f32 {
    let g = x[row * p.k + i];
    // exp(80) is finite; beyond it silu is zero to 30 digits.
    return g / (1.0 + exp(min(-g, 80.0))) * x[(p.m + row) * p.k + i];
}
