use crate::random::mask_hash;

/// The smallest hash that is kept: p · 2³², rounded, so that a share `p` is dropped.
pub fn dropout_threshold(p: f32) -> u32 {
    (f64::from(p) * 4_294_967_296.0).round() as u32
}

/// What kept elements are multiplied with: `1 / (1 − p)`.
pub fn dropout_scale(p: f32) -> f32 {
    (1.0 / (1.0 - f64::from(p))) as f32
}

fn masked(x: &[f32], seed: u32, p: f32) -> impl Iterator<Item = f32> {
    let (threshold, scale) = (dropout_threshold(p), f64::from(dropout_scale(p)));
    x.iter().zip(0..).map(move |(&x, i)| {
        let kept = mask_hash(seed, i) >= threshold;
        if kept { (f64::from(x) * scale) as f32 } else { 0.0 }
    })
}

/// `y = x · mask / (1 − p)`, element `i` kept where `mask_hash(seed, i) ≥ p · 2³²`.
pub fn dropout(x: &[f32], seed: u32, p: f32, y: &mut [f32]) {
    y.iter_mut().zip(masked(x, seed, p)).for_each(|(y, value)| *y = value);
}

/// `dx += dy · mask / (1 − p)`, with the mask of [`dropout`].
pub fn dropout_bwd(dy: &[f32], seed: u32, p: f32, dx: &mut [f32]) {
    dx.iter_mut().zip(masked(dy, seed, p)).for_each(|(dx, value)| *dx += value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{gradient, noise};

    #[test]
    fn the_hash_is_what_training_seeds_expect() {
        let mask = [(0, 0), (1, 0), (0, 1), (0xdead_beef, 12345)].map(|(s, i)| mask_hash(s, i));
        assert_eq!(mask, [817_759_070, 1_583_546_800, 3_911_864_714, 400_335_804]);
    }

    #[test]
    fn backward_is_the_derivative_of_forward() {
        let (x, dy) = (noise(40, 1), noise(40, 2));
        let forward = |x: &[f32]| {
            let mut y = vec![0.0; x.len()];
            dropout(x, 7, 0.25, &mut y);
            y
        };
        let mut dx = vec![0.0; 40];
        dropout_bwd(&dy, 7, 0.25, &mut dx);
        gradient(&x, &dy, forward, &dx);
        let dropped = forward(&x).iter().filter(|&&y| y == 0.0).count();
        assert!((1..30).contains(&dropped), "{dropped}");
    }
}
