/// `y = x · rstd · w`, `rstd = 1/√(mean(x²) + eps)`; `x, y (N, D)`, `w (D)`, `rstd (N)`.
pub fn rms_norm_fwd(x: &[f32], w: &[f32], eps: f32, y: &mut [f32], rstd: &mut [f32]) {
    let d = w.len();
    for (n, r) in rstd.iter_mut().enumerate() {
        let x = &x[n * d..][..d];
        let mean_sq = x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / d as f64;
        let rstd = 1.0 / (mean_sq + f64::from(eps)).sqrt();
        for i in 0..d {
            y[n * d + i] = (f64::from(x[i]) * rstd * f64::from(w[i])) as f32;
        }
        *r = rstd as f32;
    }
}

/// `dx (+)= rstd · (w∘dy − x · rstd² · mean(x∘w∘dy))`; shapes as in [`rms_norm_fwd`].
pub fn rms_norm_bwd(
    x: &[f32],
    w: &[f32],
    rstd: &[f32],
    dy: &[f32],
    accumulate: bool,
    dx: &mut [f32],
) {
    let d = w.len();
    for (n, &r) in rstd.iter().enumerate() {
        let (x, dy, r) = (&x[n * d..][..d], &dy[n * d..][..d], f64::from(r));
        let wdy = |i: usize| f64::from(w[i]) * f64::from(dy[i]);
        let mean = (0..d).map(|i| f64::from(x[i]) * wdy(i)).sum::<f64>() / d as f64 * r * r;
        for i in 0..d {
            let before = if accumulate { f64::from(dx[n * d + i]) } else { 0.0 };
            dx[n * d + i] = (before + r * (wdy(i) - f64::from(x[i]) * mean)) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{gradient, noise};

    #[test]
    fn backward_is_the_derivative_of_forward() {
        let (n, d) = (3, 8);
        let (x, w, dy) = (noise(n * d, 1), noise(d, 2), noise(n * d, 3));
        let forward = |x: &[f32]| {
            let (mut y, mut rstd) = (vec![0.0; n * d], vec![0.0; n]);
            rms_norm_fwd(x, &w, 1e-5, &mut y, &mut rstd);
            (y, rstd)
        };
        let mut dx = vec![0.0; n * d];
        rms_norm_bwd(&x, &w, &forward(&x).1, &dy, false, &mut dx);
        gradient(&x, &dy, |x| forward(x).0, &dx);
    }
}
