// input4_swiglu: elements 4i to 4i+3 of a row of silu(gate) ⊙ up; `x` holds gate and then up, (M,
// K) each.

const INPUT_SQUARES = false;

var<private> input_squares: f32;

fn input_factor(squares: f32) -> f32 {
    return 1.0;
}

fn input4(row: u32, i: u32) -> vec4f {
    let k4 = p.k / 4u;
    let g = x[row * k4 + i];
    // exp(80) is finite; beyond it silu is zero to 30 digits.
    return g / (1.0 + exp(min(-g, vec4f(80.0)))) * x[(p.m + row) * k4 + i];
}
