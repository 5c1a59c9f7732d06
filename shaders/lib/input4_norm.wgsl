// input4_norm: elements 4i to 4i+3 of a row of RMSNorm's output but for the factor 1/√(mean(x²) +
// eps), which is one for the whole row. An invocation adds up the squares of what it has read, so
// it reads nothing twice.

const INPUT_SQUARES = true;

var<private> input_squares: f32;

fn input_factor(squares: f32) -> f32 {
    return inverseSqrt(squares / f32(p.k) + p.eps);
}

fn input4(row: u32, i: u32) -> vec4f {
    let v = x[row * (p.k / 4u) + i];
    input_squares += dot(v, v);
    return v * norm[i];
}
