//! Where randomness enters training: initial adapters, and the seeds and masks of dropout.

use crate::random::{pcg_hash, stream};
use crate::{Error, Result};
use rand_chacha::rand_core::Rng;

/// `lora_A` of `rank` × `inputs`, row-major: uniform in ±1/√inputs, which is Kaiming-uniform with
/// a = √5 (bound = √(6 / ((1 + a²) · inputs))), the initialisation of PEFT. `lora_B` starts at 0.
///
/// The values depend on `seed` and `name` (the tensor's key) alone, not on which tensors came
/// before: with u the upper 24 bits of the next ChaCha word, a = (u / 2^23 - 1) / √inputs, computed
/// in f64.
///
/// **Errors** [`Error::Invalid`] if `rank` or `inputs` is 0 or their product overflows.
/// **Source** PEFT `LoraLayer.reset_lora_parameters`; He et al. 2015 (arXiv:1502.01852).
pub(super) fn lora_a(seed: u64, name: &str, rank: usize, inputs: usize) -> Result<Vec<f32>> {
    let elements = match rank.checked_mul(inputs) {
        None | Some(0) => {
            return Err(Error::invalid(name, format!("lora_A of shape ({rank}, {inputs})")));
        }
        Some(elements) => elements,
    };
    let bound = 1.0 / (inputs as f64).sqrt();
    let mut rng = stream(seed, name, 0);
    let mut next = || {
        let u = f64::from(rng.next_u32() >> 8) / f64::from(1u32 << 23);
        ((u - 1.0) * bound) as f32
    };
    Ok((0..elements).map(|_| next()).collect())
}

/// The mask's seed of one adapter in one pass. `step` and `micro` (micro-batch within the window)
/// count from 0; `module` is the module's place in the block, a fixed number per kind.
///
/// From h = 0, for each word x of (seed low, seed high, step low, step high, micro, layer, module):
/// `h = pcg(h ^ x) + 0x9e3779b9`. It depends on nothing else, so a recomputed forward (gradient
/// checkpointing) and a resumed run have the same masks, and no generator state needs saving.
pub(super) fn dropout_seed(seed: u64, step: u64, micro: u32, layer: u32, module: u32) -> u32 {
    let low = |x: u64| (x & 0xffff_ffff) as u32;
    let words = [low(seed), low(seed >> 32), low(step), low(step >> 32), micro, layer, module];
    words.iter().fold(0, |h, x| pcg_hash(h ^ x).wrapping_add(0x9e37_79b9))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::mask_hash;
    use crate::reference::dropout_threshold;

    #[test]
    fn lora_a_is_uniform_within_its_bound() {
        let (rank, inputs) = (16, 1024);
        let a = lora_a(42, "layers.0.q_proj.lora_A", rank, inputs).unwrap();
        assert_eq!(a.len(), rank * inputs);
        let bound = 1.0 / (inputs as f32).sqrt();
        assert!(a.iter().all(|x| x.abs() <= bound));
        let n = a.len() as f64;
        let mean = a.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let var = a.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n;
        let b = f64::from(bound);
        assert!(mean.abs() < 5.0 * b / 3f64.sqrt() / n.sqrt(), "{mean}");
        assert!((var / (b * b / 3.0) - 1.0).abs() < 0.04, "{var}"); // five standard errors
        assert!(a.iter().any(|x| *x > 0.99 * bound) && a.iter().any(|x| *x < -0.99 * bound));
    }

    #[test]
    fn lora_a_depends_on_seed_and_name_only() {
        let a = lora_a(1, "q", 2, 8).unwrap();
        assert_eq!(a, lora_a(1, "q", 2, 8).unwrap());
        assert_ne!(a, lora_a(1, "v", 2, 8).unwrap());
        assert_ne!(a, lora_a(2, "q", 2, 8).unwrap());
        assert!(lora_a(1, "q", 0, 8).is_err());
        assert!(lora_a(1, "q", usize::MAX, 8).is_err());
    }

    #[test]
    fn hashes_are_what_shaders_compute() {
        // Computed by an independent program; a shader that disagrees with these is wrong.
        let pcg = [0, 1, 2, u32::MAX].map(pcg_hash);
        let mask = [(0, 0), (1, 0), (0, 1), (0xdead_beef, 12345)].map(|(s, i)| mask_hash(s, i));
        let seeds = [dropout_seed(0, 0, 0, 0, 0), dropout_seed(42, 7, 1, 3, 2)];
        assert_eq!((pcg, mask, seeds), EXPECTED, "{pcg:?} {mask:?} {seeds:?}");
    }
    const EXPECTED: ([u32; 4], [u32; 4], [u32; 2]) = (
        [129_708_002, 2_831_084_092, 2_055_130_248, 3_861_530_882],
        [817_759_070, 1_583_546_800, 3_911_864_714, 400_335_804],
        [3_043_607_637, 2_465_651_752],
    );

    fn keep(seed: u32, threshold: u32, n: u32) -> Vec<bool> {
        (0..n).map(|i| mask_hash(seed, i) >= threshold).collect()
    }

    #[test]
    fn the_keep_rate_is_one_minus_p() {
        let n = 1 << 18;
        for p in [0.05, 0.1, 0.5] {
            let threshold = dropout_threshold(p as f32);
            for seed in [0, 1, 2, 0x8000_0000, u32::MAX, dropout_seed(42, 0, 0, 0, 0)] {
                let kept = keep(seed, threshold, n).iter().filter(|k| **k).count() as f64;
                let sd = (f64::from(n) * p * (1.0 - p)).sqrt();
                let off = (kept - f64::from(n) * (1.0 - p)) / sd;
                assert!(off.abs() < 5.0, "p {p}, seed {seed}: {off} standard deviations");
            }
        }
        assert!(keep(3, dropout_threshold(0.0), 1000).iter().all(|k| *k));
        assert_eq!(dropout_threshold(0.5), 1 << 31);
    }

    /// The correlation of two masks in standard deviations: N(0, 1) if they are independent.
    fn correlation(a: &[bool], b: &[bool], p: f64) -> f64 {
        let x = |k: bool| if k { p } else { p - 1.0 };
        let sum: f64 = a.iter().zip(b).map(|(&a, &b)| x(a) * x(b)).sum();
        sum / (p * (1.0 - p)) / (a.len() as f64).sqrt()
    }

    #[test]
    fn nearby_seeds_and_neighbours_are_independent() {
        let (n, p) = (1 << 18, 0.5);
        let threshold = dropout_threshold(p as f32);
        let base = keep(1000, threshold, n);
        for other in [1001, 1002, 1008, 1256, 1000 ^ (1 << 31), 0] {
            let z = correlation(&base, &keep(other, threshold, n), p);
            assert!(z.abs() < 5.0, "seed {other}: {z}");
        }
        for lag in [1, 2, 3, 4, 16, 64, 128, 1024, 2048, 4096] {
            let z = correlation(&base[lag..], &base[..base.len() - lag], p);
            assert!(z.abs() < 5.0, "lag {lag}: {z}");
        }
        // The measure does find dependence.
        assert!(correlation(&base, &base, p) > 100.0);
    }

    #[test]
    fn two_seeds_are_not_one_shifted_sequence() {
        let (a, b) = (keep(5, 1 << 31, 4096), keep(6, 1 << 31, 4096));
        for lag in 0..1024 {
            for (x, y) in [(&a, &b), (&b, &a)] {
                let z = correlation(&x[lag..], &y[..4096 - lag], 0.5);
                assert!(z.abs() < 6.0, "lag {lag}: {z}");
            }
        }
    }

    #[test]
    fn every_adapter_and_step_has_its_own_seed() {
        let mut seeds = std::collections::HashSet::new();
        for step in 0..20 {
            for micro in 0..4 {
                for layer in 0..16 {
                    for module in 0..7 {
                        seeds.insert(dropout_seed(42, step, micro, layer, module));
                    }
                }
            }
        }
        // 8960 of 2^32: a repetition by chance has probability 1 %; a wrong mix has many.
        assert!(seeds.len() >= 8959, "{}", seeds.len());
    }
}
