// input_norm: element i of a row of RMSNorm's output, x · norm / √(mean(x²) + eps).

const INPUT_SQUARES = true;

var<private> input_rstd: f32;

// A lane's share of Σ x².
fn input_squares(row: u32, lane: u32, lanes: u32) -> f32 {
    var sum = 0.0;
    for (var i = lane; i < p.k; i += lanes) { sum += x[row * p.k + i] * x[row * p.k + i]; }
    return sum;
}

fn input_begin(squares: f32) {
    input_rstd = inverseSqrt(squares / f32(p.k) + p.eps);
}

fn input(row: u32, i: u32) -> f32 {
    return x[row * p.k + i] * input_rstd * norm[i];
}
