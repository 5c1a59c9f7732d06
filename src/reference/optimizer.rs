use crate::quant::nearest_code;

/// Elements of one partial sum of [`sum_squares`].
pub const CHUNK: usize = 4096;

/// `partials[i] = Σ g²` over the `i`-th [`CHUNK`] elements.
pub fn sum_squares(g: &[f32], partials: &mut [f32]) {
    for (partial, chunk) in partials.iter_mut().zip(g.chunks(CHUNK)) {
        *partial = chunk.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>() as f32;
    }
}

/// `stats[0] = norm = √(Σ partials)`, `stats[1] = min(1, max_norm / (norm + 10⁻⁶))`, or 1 where
/// `max_norm` is 0; 0 where the norm is not finite.
pub fn clip_coefficient(partials: &[f32], max_norm: f32, stats: &mut [f32]) {
    let norm = partials.iter().map(|&x| f64::from(x)).sum::<f64>().sqrt();
    stats[0] = norm as f32;
    stats[1] = match () {
        () if !stats[0].is_finite() => 0.0,
        () if max_norm > 0.0 => (f64::from(max_norm) / (norm + 1e-6)).min(1.0) as f32,
        () => 1.0,
    };
}

/// What one step of [`adamw`] multiplies with.
#[derive(Clone, Copy, Debug)]
pub struct AdamWFactors {
    /// `1 − lr·weight_decay`.
    pub decay: f32,
    /// `beta1`.
    pub beta1: f32,
    /// `1 − beta1`.
    pub rest1: f32,
    /// `beta2`.
    pub beta2: f32,
    /// `1 − beta2`.
    pub rest2: f32,
    /// `eps`.
    pub eps: f32,
    /// `lr / (1 − beta1^t)`.
    pub step: f32,
    /// `√(1 − beta2^t)`.
    pub root: f32,
}

/// One step of AdamW on the gradient `g·stats[1]`, then `g = 0`; only the latter where the norm
/// `stats[0]` is not finite.
pub fn adamw(
    g: &mut [f32],
    p: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
    stats: &[f32],
    factors: &AdamWFactors,
) {
    let AdamWFactors { decay, rest1, beta2, rest2, eps, step, root, .. } = *factors;
    let wide = |x: f32| f64::from(x);
    for i in 0..g.len() {
        let gradient = wide(g[i]) * wide(stats[1]);
        g[i] = 0.0;
        if !stats[0].is_finite() {
            continue;
        }
        let mean = wide(m[i]) + wide(rest1) * (gradient - wide(m[i]));
        let square = wide(v[i]) * wide(beta2) + wide(rest2) * gradient * gradient;
        let step = wide(step) * mean / (square.sqrt() / wide(root) + wide(eps));
        (m[i], v[i]) = (mean as f32, square as f32);
        p[i] = (wide(p[i]) * wide(decay) - step) as f32;
    }
}

/// Elements that share a scale in [`adamw8bit`].
pub const BLOCK8: usize = 256;

/// One step of AdamW whose moments are 8-bit codes: restored, used as in [`adamw`], and quantized
/// again with the largest magnitude of each block of [`BLOCK8`] elements as its scale. `scales`
/// holds those of `m` and `v` by turns; `codes` the 256 values of `m`'s code, ascending, then those
/// of `v`'s.
///
/// In f32 throughout: a code may hang on the last bit.
#[allow(clippy::too_many_arguments, reason = "the tensors of the kernel, in its order")]
pub fn adamw8bit(
    g: &mut [f32],
    p: &mut [f32],
    m: &mut [u8],
    v: &mut [u8],
    scales: &mut [f32],
    stats: &[f32],
    codes: &[f32],
    factors: &AdamWFactors,
) {
    let AdamWFactors { decay, beta1, rest1, beta2, rest2, eps, step, root } = *factors;
    let books = [&codes[..256], &codes[256..]];
    let pack = |book: &[f32], x: f32, scale: f32| match scale < 1e-37 {
        true => 0,
        false => nearest_code(book, x * (1.0 / scale)),
    };
    for (block, scales) in scales.chunks_exact_mut(2).enumerate() {
        let elements = block * BLOCK8..(block + 1) * BLOCK8;
        let gradient: Vec<f32> = g[elements.clone()].iter().map(|g| g * stats[1]).collect();
        g[elements.clone()].fill(0.0);
        if !stats[0].is_finite() {
            continue;
        }
        let restored = |book: &[f32], code: u8, scale: f32| book[usize::from(code)] * scale;
        let mean = elements.clone().zip(&gradient);
        let mean = mean.map(|(i, g)| restored(books[0], m[i], scales[0]) * beta1 + rest1 * g);
        let mean: Vec<f32> = mean.collect();
        let square = elements.clone().zip(&gradient);
        let square =
            square.map(|(i, g)| restored(books[1], v[i], scales[1]) * beta2 + rest2 * g * g);
        let square: Vec<f32> = square.collect();
        let largest = |x: &[f32]| x.iter().fold(0f32, |most, x| most.max(x.abs()));
        (scales[0], scales[1]) = (largest(&mean), largest(&square));
        for (i, (mean, square)) in elements.zip(mean.into_iter().zip(square)) {
            p[i] = p[i] * decay - step * mean / (square.sqrt() / root + eps);
            m[i] = pack(books[0], mean, scales[0]);
            v[i] = pack(books[1], square, scales[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::dynamic8_code;

    #[test]
    fn eight_bits_follow_thirty_two() {
        // Gradients of many magnitudes, of both signs; a tenth of the block is zero.
        let gradient = |t: usize, i: usize| {
            let x = ((i * 37 + t * 101) % 97) as f32 / 48.0 - 1.0;
            if i.is_multiple_of(10) { 0.0 } else { x * x * x }
        };
        let n = 2 * BLOCK8;
        let start: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
        let (mut p, mut m, mut v) = (start.clone(), vec![0.0; n], vec![0.0; n]);
        let (mut p8, mut m8, mut v8) = (start.clone(), vec![0u8; n], vec![0u8; n]);
        let mut scales = vec![0.0; 4];
        let codes = [dynamic8_code(true), dynamic8_code(false)].concat();
        let (lr, b1, b2) = (1e-3, 0.9f64, 0.999f64);
        for t in 1..=20 {
            let factors = AdamWFactors {
                decay: (1.0 - lr * 0.01) as f32,
                beta1: b1 as f32,
                rest1: (1.0 - b1) as f32,
                beta2: b2 as f32,
                rest2: (1.0 - b2) as f32,
                eps: 1e-8,
                step: (lr / (1.0 - b1.powi(t as i32))) as f32,
                root: (1.0 - b2.powi(t as i32)).sqrt() as f32,
            };
            let mut g: Vec<f32> = (0..n).map(|i| gradient(t, i)).collect();
            adamw(&mut g.clone(), &mut p, &mut m, &mut v, &[1.0, 0.5], &factors);
            let stats = [1.0, 0.5];
            let (m8, v8) = (&mut m8, &mut v8);
            adamw8bit(&mut g, &mut p8, m8, v8, &mut scales, &stats, &codes, &factors);
            assert!(g.iter().all(|g| *g == 0.0));
        }
        let mut far = 0;
        for i in 0..n {
            let (moved, moved8) = (p[i] - start[i], p8[i] - start[i]);
            far += usize::from((moved - moved8).abs() > 2e-3);
        }
        // Most follow closely; small second moments beside large ones are what 8 bits lose.
        assert!(far < n / 10, "{far} of {n} parameters went elsewhere");
        let before = (p8.clone(), m8.clone(), v8.clone(), scales.clone());
        let factors = AdamWFactors {
            decay: 0.5,
            beta1: 0.5,
            rest1: 0.5,
            beta2: 0.5,
            rest2: 0.5,
            eps: 0.5,
            step: 0.5,
            root: 0.5,
        };
        let mut g = vec![f32::NAN; n];
        let stats = [f32::NAN, 0.0];
        adamw8bit(&mut g, &mut p8, &mut m8, &mut v8, &mut scales, &stats, &codes, &factors);
        assert_eq!((g, (p8, m8, v8, scales)), (vec![0.0; n], before));
    }

    #[test]
    fn two_steps_follow_the_formula() {
        let (lr, wd, b1, b2, eps) = (0.1, 0.2, 0.5, 0.75, 1e-3);
        let (mut p, mut m, mut v) = (vec![2.0f32], vec![0.0], vec![0.0]);
        let (mut want_p, mut want_m, mut want_v) = (2.0f64, 0.0, 0.0);
        for t in 1..=2 {
            let (g, coefficient) = (3.0 / f64::from(t), 0.5);
            let (bias1, bias2) = (1.0 - f64::powi(b1, t), 1.0 - f64::powi(b2, t));
            want_p *= 1.0 - lr * wd;
            want_m = b1 * want_m + (1.0 - b1) * g * coefficient;
            want_v = b2 * want_v + (1.0 - b2) * (g * coefficient).powi(2);
            want_p -= lr * (want_m / bias1) / ((want_v / bias2).sqrt() + eps);
            let factors = AdamWFactors {
                decay: (1.0 - lr * wd) as f32,
                beta1: b1 as f32,
                rest1: (1.0 - b1) as f32,
                beta2: b2 as f32,
                rest2: (1.0 - b2) as f32,
                eps: eps as f32,
                step: (lr / bias1) as f32,
                root: bias2.sqrt() as f32,
            };
            let mut gradient = vec![g as f32];
            adamw(&mut gradient, &mut p, &mut m, &mut v, &[1.0, coefficient as f32], &factors);
            assert_eq!(gradient, [0.0]);
            assert!((f64::from(p[0]) - want_p).abs() < 1e-6, "{} {want_p}", p[0]);
        }
        let before = (p.clone(), m.clone(), v.clone());
        let factors = AdamWFactors {
            decay: 0.5,
            beta1: 0.5,
            rest1: 0.5,
            beta2: 0.5,
            rest2: 0.5,
            eps: 0.5,
            step: 0.5,
            root: 0.5,
        };
        let mut gradient = vec![f32::NAN];
        adamw(&mut gradient, &mut p, &mut m, &mut v, &[f32::NAN, 0.0], &factors);
        assert_eq!((gradient, (p, m, v)), (vec![0.0], before));
    }

    #[test]
    fn clipping_limits_the_norm() {
        let mut stats = [9.0; 8];
        let mut coefficient = |partials: &[f32], max_norm| {
            clip_coefficient(partials, max_norm, &mut stats);
            stats[1]
        };
        assert!((coefficient(&[9.0, 16.0], 1.0) - 0.2).abs() < 1e-6);
        assert_eq!(coefficient(&[9.0, 16.0], 6.0), 1.0);
        assert_eq!(coefficient(&[9.0, 16.0], 0.0), 1.0);
        assert_eq!(coefficient(&[f32::INFINITY], 1.0), 0.0);
        assert_eq!(stats[2..], [9.0; 6]);
    }
}
