// input4_plain: elements 4i to 4i+3 of a row of the input as they lie.

const INPUT_SQUARES = false;

fn input_squares(row: u32, lane: u32, lanes: u32) -> f32 {
    return 0.0;
}

fn input_begin(squares: f32) {}

fn input4(row: u32, i: u32) -> vec4f {
    return x[row * (p.k / 4u) + i];
}
