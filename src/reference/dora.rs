/// `y = z · magnitude / norm` per column; `z, y (M, N)`, `magnitude, norm (N)`.
pub fn dora_scale(z: &[f32], magnitude: &[f32], norm: &[f32], y: &mut [f32]) {
    for (i, (y, &z)) in y.iter_mut().zip(z).enumerate() {
        let n = i % norm.len();
        *y = (f64::from(z) * f64::from(magnitude[n]) / f64::from(norm[n])) as f32;
    }
}

/// `dz = dy · magnitude / norm`, `d_magnitude[n] += Σ_m dy·z / norm`; shapes as in [`dora_scale`].
pub fn dora_bwd(
    dy: &[f32],
    z: &[f32],
    magnitude: &[f32],
    norm: &[f32],
    dz: &mut [f32],
    d_magnitude: &mut [f32],
) {
    dora_scale(dy, magnitude, norm, dz);
    for n in 0..norm.len() {
        let column = dy.iter().zip(z).skip(n).step_by(norm.len());
        let sum: f64 = column.map(|(&dy, &z)| f64::from(dy) * f64::from(z)).sum();
        d_magnitude[n] += (sum / f64::from(norm[n])) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{gradient, noise};

    #[test]
    fn backward_is_the_derivative_of_forward() {
        let (m, n) = (3, 4);
        let (z, magnitude, dy) = (noise(m * n, 1), noise(n, 2), noise(m * n, 3));
        let norm: Vec<f32> = noise(n, 4).iter().map(|v| 1.5 + v / 2.0).collect();
        let forward = |z: &[f32], magnitude: &[f32]| {
            let mut y = vec![0.0; m * n];
            dora_scale(z, magnitude, &norm, &mut y);
            y
        };
        let (mut dz, mut d_magnitude) = (vec![0.0; m * n], vec![0.0; n]);
        dora_bwd(&dy, &z, &magnitude, &norm, &mut dz, &mut d_magnitude);
        gradient(&z, &dy, |z| forward(z, &magnitude), &dz);
        gradient(&magnitude, &dy, |magnitude| forward(&z, magnitude), &d_magnitude);
    }
}
