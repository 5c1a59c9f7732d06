//! An adapter merged into the weight that it was trained beside.

use crate::{Error, Result};

/// `scale · B · A`, and DoRA's magnitudes.
#[derive(Clone, Copy, Debug)]
pub struct Delta<'a> {
    /// `(R, in)`.
    pub a: &'a [f32],
    /// `(out, R)`.
    pub b: &'a [f32],
    /// `alpha/R`, or `alpha/√R` with rsLoRA.
    pub scale: f64,
    /// `(out)`, with DoRA.
    pub magnitude: Option<&'a [f32]>,
}

/// `V = W + scale·B·A`; with DoRA each row `V·m/‖V‖`. Computed in `f64` and rounded once.
///
/// **Shapes** `weight` and result `(out, in)`, row-major. **Errors** [`Error::Shape`] if `delta` is
/// of another layer. **Source** Hu et al. 2021 (arXiv:2106.09685), §4.1; Liu et al. 2024
/// (arXiv:2402.09353), eq. 5.
pub fn merged_weight(weight: &[f32], [out, inp]: [usize; 2], delta: Delta<'_>) -> Result<Vec<f32>> {
    let Delta { a, b, scale, magnitude } = delta;
    let rank = a.len() / inp.max(1);
    let fits = weight.len() == out * inp
        && a.len() == rank * inp
        && b.len() == out * rank
        && magnitude.is_none_or(|m| m.len() == out);
    if !fits {
        return Err(Error::Shape {
            op: "merge".into(),
            tensor: "lora_A, lora_B".into(),
            expected: format!("[R, {inp}], [{out}, R] for a weight of [{out}, {inp}]"),
            got: format!("{} and {} values for {}", a.len(), b.len(), weight.len()),
        });
    }
    let mut merged = Vec::with_capacity(weight.len());
    let mut row = vec![0f64; inp];
    for n in 0..out {
        for (v, w) in row.iter_mut().zip(&weight[n * inp..]) {
            *v = f64::from(*w);
        }
        for r in 0..rank {
            let factor = scale * f64::from(b[n * rank + r]);
            for (v, a) in row.iter_mut().zip(&a[r * inp..]) {
                *v += factor * f64::from(*a);
            }
        }
        let factor = match magnitude {
            None => 1.0,
            Some(m) => f64::from(m[n]) / row.iter().map(|v| v * v).sum::<f64>().sqrt(),
        };
        merged.extend(row.iter().map(|v| (v * factor) as f32));
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];

    #[test]
    fn the_product_is_added() {
        let delta = Delta { a: &[1.0, 0.0, -1.0], b: &[2.0, 3.0], scale: 0.5, magnitude: None };
        let merged = merged_weight(&W, [2, 3], delta).unwrap();
        assert_eq!(merged, [2.0, 2.0, 2.0, 5.5, 5.0, 4.5]);
    }

    #[test]
    fn magnitudes_are_the_lengths_of_rows() {
        let m = [10.0, 0.5];
        let delta = Delta { a: &[0.0; 3], b: &[0.0; 2], scale: 1.0, magnitude: Some(&m) };
        let merged = merged_weight(&W, [2, 3], delta).unwrap();
        for (row, m) in merged.chunks(3).zip(m) {
            let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
            assert!((length / m - 1.0).abs() < 1e-6, "{length} is not {m}");
        }
        assert!((merged[1] / merged[0] - 2.0).abs() < 1e-6);
    }

    #[test]
    fn another_layers_adapter_is_refused() {
        let delta = Delta { a: &[0.0; 4], b: &[0.0; 2], scale: 1.0, magnitude: None };
        assert!(merged_weight(&W, [2, 3], delta).is_err());
        let delta = Delta { a: &[0.0; 3], b: &[0.0; 2], scale: 1.0, magnitude: Some(&[1.0]) };
        assert!(merged_weight(&W, [2, 3], delta).is_err());
    }
}
