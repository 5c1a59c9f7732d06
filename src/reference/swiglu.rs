fn sigmoid(g: f64) -> f64 {
    1.0 / (1.0 + (-g).exp())
}

/// `y = silu(gate) · up`, `silu(g) = g / (1 + exp(−g))`; all of one length.
pub fn swiglu_fwd(gate: &[f32], up: &[f32], y: &mut [f32]) {
    for i in 0..y.len() {
        let g = f64::from(gate[i]);
        y[i] = (g * sigmoid(g) * f64::from(up[i])) as f32;
    }
}

/// `dup = dy · g·s`, `dgate = dy · up · s · (1 + g·(1 − s))` with `s = 1 / (1 + exp(−g))`.
pub fn swiglu_bwd(gate: &[f32], up: &[f32], dy: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
    for i in 0..gate.len() {
        let (g, up, dy) = (f64::from(gate[i]), f64::from(up[i]), f64::from(dy[i]));
        let s = sigmoid(g);
        dup[i] = (dy * g * s) as f32;
        dgate[i] = (dy * up * s * (1.0 + g * (1.0 - s))) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{gradient, noise};

    #[test]
    fn backward_is_the_derivative_of_forward() {
        let n = 12;
        let gate: Vec<f32> = noise(n, 1).iter().map(|g| 4.0 * g).collect();
        let (up, dy) = (noise(n, 2), noise(n, 3));
        let forward = |gate: &[f32], up: &[f32]| {
            let mut y = vec![0.0; n];
            swiglu_fwd(gate, up, &mut y);
            y
        };
        let (mut dgate, mut dup) = (vec![0.0; n], vec![0.0; n]);
        swiglu_bwd(&gate, &up, &dy, &mut dgate, &mut dup);
        gradient(&gate, &dy, |gate| forward(gate, &up), &dgate);
        gradient(&up, &dy, |up| forward(&gate, up), &dup);
    }
}
