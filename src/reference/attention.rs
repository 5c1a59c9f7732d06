/// Sizes of causal grouped-query attention. Query `t` of a batch row attends the keys
/// `0..=start + t` of that row; query head `h` reads kv head `h / (heads / kv_heads)`; scores are
/// scaled by `1/√E`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// `B`: batch rows.
    pub batch: usize,
    /// `T`: queries of each batch row.
    pub queries: usize,
    /// `S`: key rows stored for each batch row.
    pub keys: usize,
    /// Position of query 0 among the keys: 0 in training, the cache's length in generation.
    pub start: usize,
    /// `H`: query heads.
    pub heads: usize,
    /// `G`: key and value heads, a divisor of `H`.
    pub kv_heads: usize,
    /// `E`: columns of a head.
    pub head_dim: usize,
    /// Rows before the first query, and before the first key: other sequences, left alone.
    pub first: usize,
}

impl AttentionShape {
    /// Keys that query `t` attends.
    fn visible(&self, t: usize) -> usize {
        (self.start + t + 1).min(self.keys)
    }
    /// First element of query `t`, head `h` in `(B·T, H·E)`.
    fn query(&self, b: usize, t: usize, h: usize) -> usize {
        self.stat(b, t, h) * self.head_dim
    }
    /// Element of query `t`, head `h` in `(B·T, H)`.
    fn stat(&self, b: usize, t: usize, h: usize) -> usize {
        (self.first + b * self.queries + t) * self.heads + h
    }
    /// First element of key `s` for query head `h` in `(B·S, G·E)`.
    fn key(&self, b: usize, s: usize, h: usize) -> usize {
        let g = h / (self.heads / self.kv_heads);
        ((self.first + b * self.keys + s) * self.kv_heads + g) * self.head_dim
    }
    /// Scaled score of the query at `q` and the key at `k`.
    fn score(&self, q: &[f32], k: &[f32]) -> f64 {
        self.dot(q, k) / (self.head_dim as f64).sqrt()
    }
    fn dot(&self, a: &[f32], b: &[f32]) -> f64 {
        let pairs = a.iter().zip(b).take(self.head_dim);
        pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    }
    /// Calls `f(b, t, h)` for every row and head.
    fn rows(&self, mut f: impl FnMut(usize, usize, usize)) {
        for b in 0..self.batch {
            for t in 0..self.queries {
                (0..self.heads).for_each(|h| f(b, t, h));
            }
        }
    }
}

/// `y = softmax(q·kᵀ/√E)·v`, `lse = ln Σ exp(q·kᵀ/√E)`; `q, y (B·T, H·E)`, `k, v (B·S, G·E)`,
/// `lse (B·T, H)`.
pub fn attention_fwd(
    [q, k, v]: [&[f32]; 3],
    shape: AttentionShape,
    y: &mut [f32],
    lse: Option<&mut [f32]>,
) {
    let mut lse = lse;
    shape.rows(|b, t, h| {
        let at = shape.query(b, t, h);
        let keys = 0..shape.visible(t);
        let scores: Vec<f64> =
            keys.map(|s| shape.score(&q[at..], &k[shape.key(b, s, h)..])).collect();
        let most = scores.iter().fold(f64::NEG_INFINITY, |m, &s| m.max(s));
        let sum: f64 = scores.iter().map(|s| (s - most).exp()).sum();
        for e in 0..shape.head_dim {
            let weighted = scores.iter().enumerate().map(|(s, score)| {
                (score - most).exp() / sum * f64::from(v[shape.key(b, s, h) + e])
            });
            y[at + e] = weighted.sum::<f64>() as f32;
        }
        if let Some(lse) = &mut lse {
            lse[shape.stat(b, t, h)] = (most + sum.ln()) as f32;
        }
    });
}

/// `delta = Σₑ y·dy`; `y, dy (B·T, H·E)`, `delta (B·T, H)`.
pub fn attention_delta(y: &[f32], dy: &[f32], shape: AttentionShape, delta: &mut [f32]) {
    shape.rows(|b, t, h| {
        let at = shape.query(b, t, h);
        delta[shape.stat(b, t, h)] = shape.dot(&y[at..], &dy[at..]) as f32;
    });
}

/// `p` and `ds = p·(dp − delta)` of one query and one key.
fn pair(
    [q, k, v, dy, lse, delta]: [&[f32]; 6],
    shape: AttentionShape,
    (at, stat, key): (usize, usize, usize),
) -> (f64, f64) {
    let p = (shape.score(&q[at..], &k[key..]) - f64::from(lse[stat])).exp();
    (p, p * (shape.dot(&dy[at..], &v[key..]) - f64::from(delta[stat])))
}

/// `dq = Σₛ ds·k/√E` with `p = exp(q·k/√E − lse)`, `ds = p·(dy·v − delta)`; inputs
/// `q, k, v, dy, lse, delta` shaped as in [`attention_fwd`] and [`attention_delta`].
pub fn attention_bwd_dq(inputs: [&[f32]; 6], shape: AttentionShape, dq: &mut [f32]) {
    let scale = 1.0 / (shape.head_dim as f64).sqrt();
    shape.rows(|b, t, h| {
        let (at, stat) = (shape.query(b, t, h), shape.stat(b, t, h));
        let mut sum = vec![0.0; shape.head_dim];
        for s in 0..shape.visible(t) {
            let key = shape.key(b, s, h);
            let (_, ds) = pair(inputs, shape, (at, stat, key));
            (0..shape.head_dim).for_each(|e| sum[e] += ds * scale * f64::from(inputs[1][key + e]));
        }
        (0..shape.head_dim).for_each(|e| dq[at + e] = sum[e] as f32);
    });
}

/// `dk = Σ ds·q/√E`, `dv = Σ p·dy` over the queries that attend a key, in all heads of its group;
/// inputs as in [`attention_bwd_dq`].
pub fn attention_bwd_dkv(
    inputs: [&[f32]; 6],
    shape: AttentionShape,
    dk: &mut [f32],
    dv: &mut [f32],
) {
    let scale = 1.0 / (shape.head_dim as f64).sqrt();
    let (mut k_sum, mut v_sum) = (vec![0.0; dk.len()], vec![0.0; dv.len()]);
    shape.rows(|b, t, h| {
        let (at, stat) = (shape.query(b, t, h), shape.stat(b, t, h));
        for s in 0..shape.visible(t) {
            let key = shape.key(b, s, h);
            let (p, ds) = pair(inputs, shape, (at, stat, key));
            for e in 0..shape.head_dim {
                k_sum[key + e] += ds * scale * f64::from(inputs[0][at + e]);
                v_sum[key + e] += p * f64::from(inputs[3][at + e]);
            }
        }
    });
    let width = shape.kv_heads * shape.head_dim;
    let own = shape.first * width..(shape.first + shape.batch * shape.keys) * width;
    for i in own {
        (dk[i], dv[i]) = (k_sum[i] as f32, v_sum[i] as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{gradient, noise};

    fn gradients_by_differences(shape: AttentionShape) {
        let AttentionShape { batch, queries, keys, heads, kv_heads, head_dim, .. } = shape;
        let (rows, width) = (batch * queries, heads * head_dim);
        let (q, dy) = (noise(rows * width, 1), noise(rows * width, 2));
        let n = batch * keys * kv_heads * head_dim;
        let (k, v) = (noise(n, 3), noise(n, 4));
        let forward = |q: &[f32], k: &[f32], v: &[f32]| {
            let (mut y, mut lse) = (vec![0.0; rows * width], vec![0.0; rows * heads]);
            attention_fwd([q, k, v], shape, &mut y, Some(&mut lse));
            (y, lse)
        };
        let (y, lse) = forward(&q, &k, &v);
        let mut delta = vec![0.0; rows * heads];
        attention_delta(&y, &dy, shape, &mut delta);
        let inputs = [&q[..], &k, &v, &dy, &lse, &delta];
        let mut dq = vec![f32::NAN; q.len()];
        attention_bwd_dq(inputs, shape, &mut dq);
        let (mut dk, mut dv) = (vec![f32::NAN; n], vec![f32::NAN; n]);
        attention_bwd_dkv(inputs, shape, &mut dk, &mut dv);
        gradient(&q, &dy, |q| forward(q, &k, &v).0, &dq);
        gradient(&k, &dy, |k| forward(&q, k, &v).0, &dk);
        gradient(&v, &dy, |v| forward(&q, &k, v).0, &dv);
    }

    #[test]
    fn backward_is_the_derivative_of_forward() {
        let shape = AttentionShape {
            batch: 2,
            queries: 4,
            keys: 4,
            start: 0,
            heads: 4,
            kv_heads: 2,
            head_dim: 3,
            first: 0,
        };
        gradients_by_differences(shape);
        gradients_by_differences(AttentionShape { queries: 2, keys: 7, start: 3, ..shape });
    }

    #[test]
    fn the_first_query_returns_the_first_value() {
        let shape = AttentionShape {
            batch: 1,
            queries: 1,
            keys: 2,
            start: 0,
            heads: 2,
            kv_heads: 1,
            head_dim: 2,
            first: 0,
        };
        let (mut y, mut lse) = ([0.0; 4], [0.0; 2]);
        let q = [2.0, 0.0, 0.0, 1.0];
        attention_fwd(
            [&q, &[3.0, 5.0, 9.0, 9.0], &[7.0, 8.0, 0.0, 0.0]],
            shape,
            &mut y,
            Some(&mut lse),
        );
        assert_eq!(y, [7.0, 8.0, 7.0, 8.0]);
        let root = 2f32.sqrt();
        assert!((lse[0] - 6.0 / root).abs() < 1e-6 && (lse[1] - 5.0 / root).abs() < 1e-6);
    }
}
