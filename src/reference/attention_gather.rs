//! Attention over listed keys.

/// Sizes of [`attention_gather`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatherShape {
    /// `N`: rows, one query each.
    pub rows: usize,
    /// `S`: room for keys in each row's list.
    pub listed: usize,
    /// `C`: slots that hold a key and a value.
    pub slots: usize,
    /// `H`: query heads.
    pub heads: usize,
    /// `G`: key and value heads, a divisor of `H`.
    pub kv_heads: usize,
    /// `E`: columns of a head.
    pub head_dim: usize,
}

/// `y = softmax(q·kᵀ/√E)·v` over the slots that a row lists, up to the first number that is no
/// slot; `q, y (N, H·E)`, `k, v (C, G·E)`, `index (N, S)`. A row without keys gives zeros.
pub fn attention_gather([q, k, v]: [&[f32]; 3], index: &[u32], shape: GatherShape, y: &mut [f32]) {
    let GatherShape { rows, listed, slots, heads, kv_heads, head_dim: e } = shape;
    for (n, h) in (0..rows).flat_map(|n| (0..heads).map(move |h| (n, h))) {
        let list = index[n * listed..][..listed].iter().map(|&slot| slot as usize);
        let list: Vec<usize> = list.take_while(|&slot| slot < slots).collect();
        let key = |slot: usize| (slot * kv_heads + h / (heads / kv_heads)) * e;
        let at = (n * heads + h) * e;
        let score = |&slot: &usize| {
            let pairs = q[at..][..e].iter().zip(&k[key(slot)..]);
            pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() / (e as f64).sqrt()
        };
        let scores: Vec<f64> = list.iter().map(score).collect();
        let most = scores.iter().fold(f64::NEG_INFINITY, |m, &s| m.max(s));
        let sum: f64 = scores.iter().map(|s| (s - most).exp()).sum();
        for j in 0..e {
            let weighted = list
                .iter()
                .zip(&scores)
                .map(|(&slot, score)| (score - most).exp() / sum * f64::from(v[key(slot) + j]));
            y[at + j] = weighted.sum::<f64>() as f32;
        }
    }
}
