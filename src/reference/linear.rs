/// The columns of a wider matrix that a product reads or fills.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// Width of the wider matrix.
    pub stride: usize,
    /// Its first column.
    pub first: usize,
}

/// `y[m, first + n] (+)= scale · Σ_k x[m, k] · w[n, k]`; `x (M, K)`, `w (N, K)`, `y (M, stride)`.
pub fn linear_fwd(
    x: &[f32],
    w: &[f32],
    k: usize,
    accumulate: bool,
    scale: f32,
    out: Columns,
    y: &mut [f32],
) {
    for (x, y) in x.chunks(k).zip(y.chunks_mut(out.stride)) {
        for (w, y) in w.chunks(k).zip(&mut y[out.first..]) {
            let dot: f64 = x.iter().zip(w).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            let before = if accumulate { f64::from(*y) } else { 0.0 };
            *y = (before + dot * f64::from(scale)) as f32;
        }
    }
}

/// `dx[m, k] (+)= scale · Σ_n dy[m, first + n] · w[n, k]`; `dy (M, stride)`, `w (N, K)`,
/// `dx (M, K)`.
pub fn linear_bwd(
    dy: &[f32],
    from: Columns,
    w: &[f32],
    k: usize,
    accumulate: bool,
    scale: f32,
    dx: &mut [f32],
) {
    let mut sums = vec![0f64; k];
    for (dy, dx) in dy.chunks(from.stride).zip(dx.chunks_mut(k)) {
        sums.fill(0.0);
        for (&g, w) in dy[from.first..].iter().zip(w.chunks(k)) {
            for (sum, &w) in sums.iter_mut().zip(w) {
                *sum += f64::from(g) * f64::from(w);
            }
        }
        for (dx, sum) in dx.iter_mut().zip(&sums) {
            let before = if accumulate { f64::from(*dx) } else { 0.0 };
            *dx = (before + sum * f64::from(scale)) as f32;
        }
    }
}

/// `dw[n, k] += scale · Σ_m dy[m, n] · x[m, k]`; `dy (M, N)`, `x (M, K)`, `dw (N, K)`.
pub fn linear_grad(dy: &[f32], x: &[f32], n: usize, k: usize, scale: f32, dw: &mut [f32]) {
    let mut sums = vec![0f64; n * k];
    for (dy, x) in dy.chunks(n).zip(x.chunks(k)) {
        for (&g, sums) in dy.iter().zip(sums.chunks_mut(k)) {
            for (sum, &x) in sums.iter_mut().zip(x) {
                *sum += f64::from(g) * f64::from(x);
            }
        }
    }
    for (dw, sum) in dw.iter_mut().zip(&sums) {
        *dw += (sum * f64::from(scale)) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{gradient, noise};

    #[test]
    fn both_backwards_are_derivatives_of_forward() {
        let (m, n, k) = (3, 5, 7);
        let (x, w, dy) = (noise(m * k, 1), noise(n * k, 2), noise(m * n, 3));
        let all = Columns { stride: n, first: 0 };
        let forward = |x: &[f32], w: &[f32]| {
            let mut y = vec![0.0; m * n];
            linear_fwd(x, w, k, false, 0.5, all, &mut y);
            y
        };
        let (mut dx, mut dw) = (vec![9.0; m * k], vec![0.0; n * k]);
        linear_bwd(&dy, all, &w, k, false, 0.5, &mut dx);
        linear_grad(&dy, &x, n, k, 0.5, &mut dw);
        gradient(&x, &dy, |x| forward(x, &w), &dx);
        gradient(&w, &dy, |w| forward(&x, w), &dw);
    }
}
