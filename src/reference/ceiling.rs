/// `y = x`.
pub fn ceiling_copy(x: &[f32], y: &mut [f32]) {
    y.copy_from_slice(x);
}

/// `y = f(f(… f(x)))` with `f(x) = x·a + b`, `turns` times.
pub fn ceiling_fma(x: &[f32], turns: u32, a: f32, b: f32, y: &mut [f32]) {
    for (x, y) in x.iter().zip(y) {
        let value = (0..turns).fold(f64::from(*x), |x, _| x * f64::from(a) + f64::from(b));
        *y = value as f32;
    }
}
