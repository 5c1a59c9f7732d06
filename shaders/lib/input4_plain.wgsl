// input4_plain: elements 4i to 4i+3 of a row of the input as they lie.

const INPUT_SQUARES = false;

var<private> input_squares: f32;

fn input_factor(squares: f32) -> f32 {
    return 1.0;
}

fn input4(row: u32, i: u32) -> vec4f {
    return x[row * (p.k / 4u) + i];
}
