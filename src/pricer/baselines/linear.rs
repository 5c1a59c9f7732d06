//! Least squares with an intercept on sparse rows, by conjugate gradients.

use super::words::Sparse;

/// `ŷ = intercept + x·weights`.
#[derive(Clone, Debug, Default)]
pub struct Linear {
    intercept: f64,
    weights: Vec<f64>,
}

/// Turns after which the search ends in any case.
const MOST_TURNS: usize = 4000;

/// The gradient's norm, as a share of its first, at which the search ends.
const TOLERANCE: f64 = 1e-8;

impl Linear {
    /// Minimises `Σ(y − ŷ)² + alpha·‖weights‖²`; with `alpha` 0 the solution of least norm, as
    /// scikit-learn's `LinearRegression` and `Ridge(alpha)` have it. Columns are centred
    /// implicitly, so the matrix stays sparse.
    ///
    /// **Source** Björck 1996, Numerical Methods for Least Squares Problems, alg. 7.4.1 (CGLS).
    pub fn fit(x: &Sparse, y: &[f64], alpha: f64) -> Linear {
        let n = y.len().max(1) as f64;
        let mut mean = vec![0.0; x.columns];
        for (column, value) in x.rows.iter().flatten() {
            mean[*column as usize] += value / n;
        }
        let mean_y = y.iter().sum::<f64>() / n;
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let times = |w: &[f64]| -> Vec<f64> {
            let shift = dot(&mean, w);
            let row = |row: &Vec<(u32, f64)>| {
                row.iter().map(|(c, v)| v * w[*c as usize]).sum::<f64>() - shift
            };
            x.rows.iter().map(row).collect()
        };
        let transposed = |r: &[f64]| -> Vec<f64> {
            let sum: f64 = r.iter().sum();
            let mut out: Vec<f64> = mean.iter().map(|m| -m * sum).collect();
            for (row, r) in x.rows.iter().zip(r) {
                row.iter().for_each(|(c, v)| out[*c as usize] += v * r);
            }
            out
        };
        let mut weights = vec![0.0; x.columns];
        let mut rest: Vec<f64> = y.iter().map(|y| y - mean_y).collect();
        let mut gradient = transposed(&rest);
        let mut direction = gradient.clone();
        let mut size = dot(&gradient, &gradient);
        let enough = size * TOLERANCE * TOLERANCE;
        for _ in 0..MOST_TURNS {
            if size <= enough || size == 0.0 {
                break;
            }
            let image = times(&direction);
            let step = size / (dot(&image, &image) + alpha * dot(&direction, &direction));
            weights.iter_mut().zip(&direction).for_each(|(w, d)| *w += step * d);
            rest.iter_mut().zip(&image).for_each(|(r, i)| *r -= step * i);
            gradient = transposed(&rest);
            gradient.iter_mut().zip(&weights).for_each(|(g, w)| *g -= alpha * w);
            let next = dot(&gradient, &gradient);
            let keep = next / size;
            direction.iter_mut().zip(&gradient).for_each(|(d, g)| *d = g + keep * *d);
            size = next;
        }
        Linear { intercept: mean_y - dot(&mean, &weights), weights }
    }

    /// `ŷ` of each row.
    pub fn predict(&self, x: &Sparse) -> Vec<f64> {
        let row = |row: &Vec<(u32, f64)>| {
            self.intercept + row.iter().map(|(c, v)| v * self.weights[*c as usize]).sum::<f64>()
        };
        x.rows.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Sparse {
        let rows = vec![
            vec![(0, 1.0)],
            vec![(1, 2.0)],
            vec![(0, 3.0), (1, 1.0)],
            vec![(0, 1.0), (1, 1.0)],
        ];
        Sparse { rows, columns: 2 }
    }

    #[test]
    fn a_plane_is_found_again() {
        let y: Vec<f64> = [(1.0, 0.0), (0.0, 2.0), (3.0, 1.0), (1.0, 1.0)]
            .iter()
            .map(|(a, b)| 5.0 + 2.0 * a - 3.0 * b)
            .collect();
        let found = Linear::fit(&matrix(), &y, 0.0);
        assert!((found.intercept - 5.0).abs() < 1e-6, "{found:?}");
        assert!((found.weights[0] - 2.0).abs() < 1e-6 && (found.weights[1] + 3.0).abs() < 1e-6);
        let ridge = Linear::fit(&matrix(), &y, 10.0);
        assert!(ridge.weights[1].abs() < 2.5);
        let mean = y.iter().sum::<f64>() / 4.0;
        let fitted = ridge.predict(&matrix());
        assert!((fitted.iter().sum::<f64>() / 4.0 - mean).abs() < 1e-9);
    }

    #[test]
    fn equal_columns_share_their_weight() {
        let rows = (0..5).map(|i| vec![(0, f64::from(i)), (1, f64::from(i))]).collect();
        let y: Vec<f64> = (0..5).map(|i| 4.0 * f64::from(i)).collect();
        let found = Linear::fit(&Sparse { rows, columns: 2 }, &y, 0.0);
        assert!(found.weights.iter().all(|w| (w - 2.0).abs() < 1e-6), "{found:?}");
    }
}
