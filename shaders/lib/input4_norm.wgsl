// input4_norm: elements 4i to 4i+3 of a row of RMSNorm's output, x · norm / √(mean(x²) + eps).

const INPUT_SQUARES = true;

var<private> input_rstd: f32;

// A lane's share of Σ x².
fn input_squares(row: u32, lane: u32, lanes: u32) -> f32 {
    let k4 = p.k / 4u;
    var sum = vec4f();
    for (var i = lane; i < k4; i += lanes) {
        let v = x[row * k4 + i];
        sum += v * v;
    }
    return sum.x + sum.y + sum.z + sum.w;
}

fn input_begin(squares: f32) {
    input_rstd = inverseSqrt(squares / f32(p.k) + p.eps);
}

fn input4(row: u32, i: u32) -> vec4f {
    return x[row * (p.k / 4u) + i] * input_rstd * norm[i];
}
