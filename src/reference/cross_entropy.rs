/// `nll = lse(logits) − logits[label]` per row; with `gradient` the logits become
/// `(softmax − onehot) · scale`. `labels, nll (L)`, `logits (L, V)`; a label from `V` on: both
/// are 0.
pub fn cross_entropy_fused(
    logits: &mut [f32],
    labels: &[u32],
    scale: f32,
    gradient: bool,
    nll: &mut [f32],
) {
    let v = logits.len() / labels.len();
    for (l, row) in logits.chunks_exact_mut(v).enumerate() {
        let label = labels[l] as usize;
        let most = f64::from(row.iter().copied().fold(f32::MIN, f32::max));
        let sum: f64 = row.iter().map(|&x| (f64::from(x) - most).exp()).sum();
        let lse = most + sum.ln();
        nll[l] = if label < v { (lse - f64::from(row[label])) as f32 } else { 0.0 };
        if gradient {
            for (i, x) in row.iter_mut().enumerate() {
                let onehot = f64::from(u8::from(i == label));
                let slope = ((f64::from(*x) - lse).exp() - onehot) * f64::from(scale);
                *x = if label < v { slope as f32 } else { 0.0 };
            }
        }
    }
}

/// `y[slot] += Σ x`.
pub fn reduce_sum(x: &[f32], slot: usize, y: &mut [f32]) {
    let sum: f64 = x.iter().map(|&v| f64::from(v)).sum();
    y[slot] = (f64::from(y[slot]) + sum) as f32;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{gradient, noise};

    #[test]
    fn the_gradient_is_the_derivative_of_the_loss() {
        let (l, v, labels) = (3, 7, [2, 7, 6]);
        let x: Vec<f32> = noise(l * v, 1).iter().map(|x| 3.0 * x).collect();
        let loss = |x: &[f32]| {
            let (mut x, mut nll) = (x.to_vec(), vec![0.0; l]);
            cross_entropy_fused(&mut x, &labels, 0.5, false, &mut nll);
            nll
        };
        let (mut dx, mut nll) = (x.clone(), vec![0.0; l]);
        cross_entropy_fused(&mut dx, &labels, 0.5, true, &mut nll);
        assert_eq!(nll, loss(&x));
        assert_eq!(nll[1], 0.0, "the row without a label");
        gradient(&x, &[0.5; 3], loss, &dx);
    }
}
