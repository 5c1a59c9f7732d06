/// Rows of few entries; see [`Entries`](crate::kernels::Entries).
#[derive(Clone, Copy, Debug)]
pub struct SparseRows<'a> {
    /// Where the entries of each row begin, and where the last ends, `(L + 1)`.
    pub ranges: &'a [u32],
    /// Token and bits of q of each, `(E, 2)`.
    pub entries: &'a [u32],
    /// Weight of each row, `(L)`.
    pub weights: &'a [f32],
}

impl SparseRows<'_> {
    fn len(&self) -> usize {
        self.ranges.len() - 1
    }

    /// Number, token and q of each entry of a row.
    fn row(&self, l: usize) -> Vec<(usize, usize, f64)> {
        let entry = |e: usize| {
            let q = f64::from(f32::from_bits(self.entries[2 * e + 1]));
            (e, self.entries[2 * e] as usize, q)
        };
        (self.ranges[l] as usize..self.ranges[l + 1] as usize).map(entry).collect()
    }
}

/// `loss = w·Σ q·(logits[label] − logits[token])`, `gradient = w·scale·(onehot − q)`.
pub fn soft_target(
    logits: &[f32],
    labels: &[u32],
    rows: SparseRows,
    scale: f32,
    (gradient, loss): (&mut [f32], &mut [f32]),
) {
    let v = logits.len() / rows.len();
    for l in 0..rows.len() {
        let (x, label) = (&logits[l * v..][..v], labels[l] as usize);
        let weight = f64::from(rows.weights[l]);
        let mut sum = 0.0;
        for (e, token, q) in rows.row(l) {
            sum += q * (f64::from(x[label]) - f64::from(x[token]));
            let onehot = f64::from(u8::from(token == label));
            gradient[e] = (weight * f64::from(scale) * (onehot - q)) as f32;
        }
        loss[l] = (weight * sum) as f32;
    }
}

/// `loss = w·Σ (F − H)²` over the entries of each row, and its gradient by their logits.
pub fn crps(
    logits: &[f32],
    rows: SparseRows,
    scale: f32,
    (gradient, loss): (&mut [f32], &mut [f32]),
) {
    let v = logits.len() / rows.len();
    for l in 0..rows.len() {
        let row = rows.row(l);
        let x: Vec<f64> =
            row.iter().map(|&(_, token, _)| f64::from(logits[l * v + token])).collect();
        let most = x.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = x.iter().map(|x| (x - most).exp()).sum();
        let share: Vec<f64> = x.iter().map(|x| (x - most).exp() / sum).collect();
        let mut gap = 0.0;
        let gaps: Vec<f64> = row
            .iter()
            .zip(&share)
            .map(|((_, _, q), share)| {
                gap += share - q;
                gap
            })
            .collect();
        let slope = |i: usize| 2.0 * gaps[i..].iter().sum::<f64>();
        let mean: f64 = share.iter().enumerate().map(|(i, share)| share * slope(i)).sum();
        let weight = f64::from(rows.weights[l]);
        for (i, (e, _, _)) in row.iter().enumerate() {
            gradient[*e] = (weight * f64::from(scale) * share[i] * (slope(i) - mean)) as f32;
        }
        loss[l] = (weight * gaps.iter().map(|gap| gap * gap).sum::<f64>()) as f32;
    }
}

/// `logits[l, token] += gradient[e]`, `nll += loss`.
pub fn add_entries(
    rows: SparseRows,
    (gradient, loss): (&[f32], &[f32]),
    logits: &mut [f32],
    nll: &mut [f32],
) {
    let v = logits.len() / rows.len();
    for l in 0..rows.len() {
        rows.row(l).into_iter().for_each(|(e, token, _)| logits[l * v + token] += gradient[e]);
        nll[l] += loss[l];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{gradient, noise};
    use crate::reference::cross_entropy_fused;

    const L: usize = 3;
    const V: usize = 9;
    const LABELS: [u32; L] = [4, 1, 2];
    const WEIGHTS: [f32; L] = [0.5, 1.0, 0.25];

    /// Row 1 has no entries.
    fn entries() -> (Vec<u32>, Vec<u32>) {
        let rows: [&[(u32, f32)]; L] =
            [&[(3, 0.25), (4, 0.5), (7, 0.25)], &[], &[(0, 0.1), (2, 0.7), (8, 0.2)]];
        let ends = rows.iter().scan(0, |at, row| {
            *at += row.len() as u32;
            Some(*at)
        });
        let words = rows.concat().iter().flat_map(|(token, q)| [*token, q.to_bits()]).collect();
        (std::iter::once(0).chain(ends).collect(), words)
    }

    /// Cross-entropy and one of the losses: the sum's loss, and its gradient where wanted.
    fn both(x: &[f32], ranked: bool, scale: f32, with_gradient: bool) -> (Vec<f32>, Vec<f32>) {
        let (ranges, entries) = entries();
        let rows = SparseRows { ranges: &ranges, entries: &entries, weights: &WEIGHTS };
        let (mut dx, mut nll) = (x.to_vec(), vec![0.0; L]);
        let (mut found, mut loss) = (vec![0.0; entries.len() / 2], vec![0.0; L]);
        match ranked {
            true => crps(x, rows, scale, (&mut found, &mut loss)),
            false => soft_target(x, &LABELS, rows, scale, (&mut found, &mut loss)),
        }
        cross_entropy_fused(&mut dx, &LABELS, scale, with_gradient, &mut nll);
        add_entries(rows, (&found, &loss), &mut dx, &mut nll);
        (dx, nll)
    }

    #[test]
    fn gradients_are_the_derivatives_of_the_losses() {
        let x: Vec<f32> = noise(L * V, 1).iter().map(|x| 2.0 * x).collect();
        for ranked in [false, true] {
            let (dx, _) = both(&x, ranked, 0.5, true);
            gradient(&x, &[0.5; L], |x| both(x, ranked, 0.5, false).1, &dx);
        }
    }

    #[test]
    fn soft_targets_are_cross_entropy_against_the_mixture_and_crps_is_that_of_a_step() {
        let x: Vec<f32> = noise(L * V, 2);
        let (_, loss) = both(&x, false, 1.0, false);
        let row = &x[..V];
        let lse = row.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
        let q = [(3, 0.125), (4, 0.75), (7, 0.125)];
        let want: f64 =
            q.iter().map(|(token, q)| q * (lse - f64::from(row[*token as usize]))).sum();
        assert!((f64::from(loss[0]) - want).abs() < 1e-6, "{loss:?} {want}");
        // All of P on the truth: nothing is lost; on the entry before: one dollar.
        let rows = |truth: [f32; 3]| {
            let words = [0, 1, 2].iter().zip(truth).flat_map(|(t, q)| [*t, q.to_bits()]);
            let (words, mut found, mut loss) = (Vec::from_iter(words), [0.0; 3], [0.0]);
            let rows = SparseRows { ranges: &[0, 3], entries: &words, weights: &[1.0] };
            crps(&[0.0, 99.0, 0.0], rows, 1.0, (&mut found, &mut loss));
            loss[0]
        };
        assert!(rows([0.0, 1.0, 0.0]) < 1e-6 && (rows([0.0, 0.0, 1.0]) - 1.0).abs() < 1e-6);
    }
}
