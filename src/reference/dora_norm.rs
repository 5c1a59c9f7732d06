/// `norm[n] = ‖w[n, :] + scale · Σ_r b[n, r] · a[r, :]‖₂`; `w (N, K)`, `a (R, K)`, `b (N, R)`,
/// `norm (N)`.
pub fn dora_norm(w: &[f32], a: &[f32], b: &[f32], rank: usize, scale: f32, norm: &mut [f32]) {
    let k = w.len() / norm.len();
    for (n, out) in norm.iter_mut().enumerate() {
        let squares = (0..k).map(|i| {
            let pairs = b[n * rank..][..rank].iter().zip(a[i..].iter().step_by(k));
            let delta: f64 = pairs.map(|(&b, &a)| f64::from(b) * f64::from(a)).sum();
            (f64::from(w[n * k + i]) + f64::from(scale) * delta).powi(2)
        });
        *out = squares.sum::<f64>().sqrt() as f32;
    }
}
