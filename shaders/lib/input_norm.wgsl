// input_norm: element i of a row of RMSNorm's output but for the factor 1/√(mean(x²) + eps), which
// is one for the whole row. An invocation adds up the squares of what it has read, so it reads
// nothing twice.

const INPUT_SQUARES = true;

var<private> input_squares: f32;

fn input_factor(squares: f32) -> f32 {
    return inverseSqrt(squares / f32(p.k) + p.eps);
}

fn input(row: u32, i: u32) -> f32 {
    let v = x[row * p.k + i];
    input_squares += v * v;
    return v * norm[i];
}
