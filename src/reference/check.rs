//! Finite differences, for the tests of the twins.

/// Reproducible values in (-1, 1).
pub(crate) fn noise(n: usize, seed: u32) -> Vec<f32> {
    (0..n as u32)
        .map(|i| {
            let mut h = i.wrapping_mul(0x9E37_79B9) ^ seed.wrapping_mul(0x85EB_CA6B);
            h ^= h >> 16;
            h = h.wrapping_mul(0x7FEB_352D);
            h ^= h >> 15;
            h = h.wrapping_mul(0x846C_A68B);
            h ^= h >> 16;
            (h >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

/// Asserts that `dx` is the gradient of `Σ f(x)·dy` by central differences.
pub(crate) fn gradient(x: &[f32], dy: &[f32], f: impl Fn(&[f32]) -> Vec<f32>, dx: &[f32]) {
    let step = 1e-2f32;
    let scale = dx.iter().fold(0f32, |m, v| m.max(v.abs())).max(1e-3);
    let dot =
        |y: Vec<f32>| -> f64 { y.iter().zip(dy).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum() };
    for i in 0..x.len() {
        let mut moved = x.to_vec();
        moved[i] = x[i] + step;
        let (above, up) = (dot(f(&moved)), moved[i]);
        moved[i] = x[i] - step;
        let (below, down) = (dot(f(&moved)), moved[i]);
        let slope = (above - below) / f64::from(up - down);
        let gap = (slope - f64::from(dx[i])).abs();
        assert!(
            gap < 5e-3 * f64::from(scale),
            "element {i}: {slope} by differences, {} given",
            dx[i]
        );
    }
}
