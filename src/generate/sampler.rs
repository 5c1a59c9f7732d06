//! Chooses the next token: greedy, or at random after temperature, top-k and top-p.

use crate::random::{stream, unit_f64};
use crate::{Error, Result};
use rand_chacha::ChaCha8Rng;
use std::cmp::Ordering;

/// How to choose. The filters apply in transformers' order: temperature, then top-k, then top-p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplerOptions {
    /// Logits are divided by it; 0 takes the most probable token always.
    pub temperature: f64,
    /// Only the k largest logits (exactly k: ties go to the lower ids). `None` or 0: all.
    pub top_k: Option<usize>,
    /// Only the most probable tokens up to the one with which they reach this probability (always
    /// at least one). `None` or 1: all.
    pub top_p: Option<f64>,
    /// Above 1 makes tokens of prompt and answer less likely to come again; 1: off. **Source**
    /// Keskar et al. 2019 (arXiv:1909.05858), sec. 4.1, as transformers applies it ([`penalize`]).
    pub repetition_penalty: f64,
    /// Seed of the random numbers.
    pub seed: u64,
}

impl Default for SamplerOptions {
    fn default() -> SamplerOptions {
        SamplerOptions {
            temperature: 0.0,
            top_k: None,
            top_p: None,
            repetition_penalty: 1.0,
            seed: 0,
        }
    }
}

/// A token that might come next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub id: u32,
    /// Its logit.
    pub logit: f32,
    /// Its share of the softmax over the whole vocabulary, at temperature 1.
    pub probability: f64,
}

/// Chooses one token after another; equal options and logits give equal tokens.
#[derive(Clone, Debug)]
pub struct Sampler {
    options: SamplerOptions,
    rng: ChaCha8Rng,
}

impl Sampler {
    /// **Errors** [`Error::Invalid`] for a temperature that is negative or not finite, a top-p
    /// outside (0, 1], or a repetition penalty that is not above 0.
    pub fn new(options: SamplerOptions) -> Result<Sampler> {
        Sampler::nth(options, 0)
    }

    /// The sampler of answer `n` of several to one prompt: other random numbers from the same seed.
    /// **Errors** as [`Sampler::new`].
    pub fn nth(options: SamplerOptions, n: u64) -> Result<Sampler> {
        let t = options.temperature;
        if !t.is_finite() || t < 0.0 {
            let why = format!("{t} is not a finite number from 0; 0 is greedy, 0.7 is usual");
            return Err(Error::invalid("temperature", why));
        }
        if let Some(p) = options.top_p
            && !(p > 0.0 && p <= 1.0)
        {
            return Err(Error::invalid("top_p", format!("{p} is not in (0, 1]; 0.9 is usual")));
        }
        let penalty = options.repetition_penalty;
        if !penalty.is_finite() || penalty <= 0.0 {
            let why = format!("{penalty} is not a finite number above 0; 1 is off, 1.1 is usual");
            return Err(Error::invalid("repetition_penalty", why));
        }
        Ok(Sampler { options, rng: stream(options.seed, "generate", n) })
    }

    /// [`Sampler::sample`] after the repetition penalty for the tokens so far.
    pub fn sample_after(&mut self, logits: &[f32], so_far: &[&[u32]]) -> Result<u32> {
        if self.options.repetition_penalty == 1.0 {
            return self.sample(logits);
        }
        argmax(logits)?; // damaged logits are found before they are changed
        let mut logits = logits.to_vec();
        penalize(&mut logits, so_far, self.options.repetition_penalty);
        self.sample(&logits)
    }

    /// The next token's id. Greedy uses no random number, everything else exactly one.
    ///
    /// **Errors** [`Error::Invalid`] if there are no logits, or one is NaN or +∞ (-∞ is never
    /// chosen).
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32> {
        let best = argmax(logits)?;
        if self.options.temperature == 0.0 {
            return Ok(best);
        }
        let u = unit_f64(&mut self.rng);
        let max = f64::from(logits[best as usize]);
        let t = self.options.temperature;
        let weight = |id: u32| ((f64::from(logits[id as usize]) - max) / t).exp();
        let k = self.options.top_k.filter(|&k| k > 0).unwrap_or(logits.len());
        let p = self.options.top_p.unwrap_or(1.0);
        // Sorting is only needed where order decides what stays.
        let mut ids = if k < logits.len() { largest(logits, k) } else { ids(logits) };
        if p < 1.0 {
            ids.sort_unstable_by(|&a, &b| descending(logits, a, b));
            let needed = p * ids.iter().map(|&id| weight(id)).sum::<f64>();
            let mut before = 0.0;
            let stays = ids.iter().take_while(|&&id| {
                let stays = before < needed;
                before += weight(id);
                stays
            });
            let n = stays.count().max(1);
            ids.truncate(n);
        }
        let mut left = u * ids.iter().map(|&id| weight(id)).sum::<f64>();
        for &id in &ids {
            let w = weight(id);
            // `left < w` is never true for w = 0, so an impossible token is never chosen.
            if left < w {
                return Ok(id);
            }
            left -= w;
        }
        Ok(best) // only if rounding left a remainder behind the last token
    }
}

/// Divides the logits of the given tokens by `penalty` where they are positive and multiplies them
/// where they are negative, each once however often it occurred.
pub fn penalize(logits: &mut [f32], so_far: &[&[u32]], penalty: f64) {
    let mut ids: Vec<u32> = so_far.concat();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        if let Some(x) = logits.get_mut(id as usize) {
            let y = f64::from(*x);
            *x = if y < 0.0 { y * penalty } else { y / penalty } as f32;
        }
    }
}

/// The id of the largest logit; of equal ones the lowest.
///
/// **Errors** [`Error::Invalid`] if there are no logits, all are -∞, or one is NaN or +∞.
pub fn argmax(logits: &[f32]) -> Result<u32> {
    let mut best = 0;
    for (i, &x) in logits.iter().enumerate() {
        if x.is_nan() || x == f32::INFINITY {
            return Err(Error::invalid(
                "logits",
                format!("logit {i} is {x}; the model's output is damaged"),
            ));
        }
        if x > logits[best] {
            best = i;
        }
    }
    match logits.get(best) {
        None => Err(Error::invalid("logits", "there are none")),
        Some(&f32::NEG_INFINITY) => Err(Error::invalid("logits", "all are -inf")),
        Some(_) => to_id(best),
    }
}

/// Softmax over the whole vocabulary, in f64: `p_i = exp(x_i - max) / Σ exp(x_j - max)`.
///
/// **Errors** as [`argmax`].
pub fn probabilities(logits: &[f32]) -> Result<Vec<f64>> {
    let max = f64::from(logits[argmax(logits)? as usize]);
    let exps: Vec<f64> = logits.iter().map(|&x| (f64::from(x) - max).exp()).collect();
    let sum: f64 = exps.iter().sum();
    Ok(exps.into_iter().map(|e| e / sum).collect())
}

/// The `n` most probable tokens, most probable first, lower id first where equal.
///
/// **Errors** as [`argmax`].
pub fn top(logits: &[f32], n: usize) -> Result<Vec<Candidate>> {
    let p = probabilities(logits)?;
    let mut ids = largest(logits, n);
    ids.sort_unstable_by(|&a, &b| descending(logits, a, b));
    let candidate = |id: u32| {
        let i = id as usize;
        Candidate { id, logit: logits[i], probability: p[i] }
    };
    Ok(ids.into_iter().map(candidate).collect())
}

fn to_id(i: usize) -> Result<u32> {
    u32::try_from(i).map_err(|_| Error::invalid("logits", "more than 2^32 of them"))
}

fn ids(logits: &[f32]) -> Vec<u32> {
    (0..=u32::MAX).take(logits.len()).collect()
}

/// Larger logit first, then lower id: a total order, since NaN was refused.
fn descending(logits: &[f32], a: u32, b: u32) -> Ordering {
    logits[b as usize].partial_cmp(&logits[a as usize]).unwrap_or(Ordering::Equal).then(a.cmp(&b))
}

/// The ids of the `n` largest logits, in ascending order of id.
fn largest(logits: &[f32], n: usize) -> Vec<u32> {
    let mut ids = ids(logits);
    if n == 0 {
        return Vec::new();
    }
    if n < ids.len() {
        ids.select_nth_unstable_by(n - 1, |&a, &b| descending(logits, a, b));
        ids.truncate(n);
        ids.sort_unstable();
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(options: SamplerOptions, logits: &[f32], n: usize) -> Vec<usize> {
        let mut sampler = Sampler::new(options).unwrap();
        let mut counts = vec![0; logits.len()];
        for _ in 0..n {
            counts[sampler.sample(logits).unwrap() as usize] += 1;
        }
        counts
    }

    /// Logits whose softmax is this.
    fn ln(p: &[f64]) -> Vec<f32> {
        p.iter().map(|p| p.ln() as f32).collect()
    }

    fn random() -> SamplerOptions {
        SamplerOptions { temperature: 1.0, seed: 7, ..SamplerOptions::default() }
    }

    #[test]
    fn greedy_takes_the_largest_and_the_lowest_id_of_equals() {
        let mut s = Sampler::new(SamplerOptions::default()).unwrap();
        assert_eq!(s.sample(&[0.0, 3.0, -1.0, 3.0]).unwrap(), 1);
        assert_eq!(s.sample(&[f32::NEG_INFINITY, -2.0]).unwrap(), 1);
        assert_eq!(s.sample(&[-0.0, 0.0]).unwrap(), 0);
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let p = [0.1, 0.2, 0.3, 0.4];
        let got = counts(random(), &ln(&p), 40_000);
        for (c, p) in got.iter().zip(p) {
            let sd = (40_000.0 * p * (1.0 - p)).sqrt();
            assert!((*c as f64 - 40_000.0 * p).abs() < 5.0 * sd, "{got:?}");
        }
    }

    #[test]
    fn temperature_sharpens() {
        // p ∝ p^(1/t): at t = 0.5, (0.2, 0.8) becomes (1, 16) / 17.
        let got = counts(SamplerOptions { temperature: 0.5, ..random() }, &ln(&[0.2, 0.8]), 34_000);
        assert!(got[0].abs_diff(2000) < 5 * 44, "{got:?}");
    }

    #[test]
    fn top_k_keeps_exactly_k() {
        let logits = ln(&[0.2, 0.3, 0.2, 0.2, 0.1]);
        let got = counts(SamplerOptions { top_k: Some(2), ..random() }, &logits, 5000);
        assert_eq!([got[2], got[3], got[4]], [0; 3]);
        assert!(got[0].abs_diff(2000) < 5 * 35, "{got:?}");
        let all = counts(SamplerOptions { top_k: Some(0), ..random() }, &logits, 5000);
        assert!(all.iter().all(|&c| c > 0));
        assert_eq!(all, counts(SamplerOptions { top_k: Some(99), ..random() }, &logits, 5000));
    }

    #[test]
    fn top_p_keeps_the_token_that_crosses_it() {
        let logits = ln(&[0.15, 0.5, 0.05, 0.3]);
        let kept = |p| {
            let got = counts(SamplerOptions { top_p: Some(p), ..random() }, &logits, 3000);
            got.iter().map(|&c| c > 0).collect::<Vec<_>>()
        };
        assert_eq!(kept(0.01), [false, true, false, false]);
        assert_eq!(kept(0.49), [false, true, false, false]);
        assert_eq!(kept(0.51), [false, true, false, true]);
        assert_eq!(kept(0.79), [false, true, false, true]);
        assert_eq!(kept(0.81), [true, true, false, true]);
        assert_eq!(kept(1.0), [true; 4]);
    }

    #[test]
    fn repeated_tokens_are_penalized_once() {
        let mut logits = [2.0, -2.0, 4.0, 1.0];
        penalize(&mut logits, &[&[0, 1, 0], &[1, 9]], 2.0);
        assert_eq!(logits, [1.0, -4.0, 4.0, 1.0]);
        let penalty = |p| SamplerOptions { repetition_penalty: p, ..SamplerOptions::default() };
        let mut s = Sampler::new(penalty(3.0)).unwrap();
        assert_eq!(s.sample_after(&[3.0, 2.0], &[&[0]]).unwrap(), 1);
        assert_eq!(s.sample_after(&[3.0, 2.0], &[&[0, 1]]).unwrap(), 0);
        assert_eq!(
            Sampler::new(penalty(1.0)).unwrap().sample_after(&[3.0, 2.0], &[&[0]]).unwrap(),
            0
        );
        assert!(Sampler::new(penalty(0.0)).is_err() && Sampler::new(penalty(f64::NAN)).is_err());
        let mut first = Sampler::nth(random(), 0).unwrap();
        let mut second = Sampler::nth(random(), 1).unwrap();
        let flat = [0.0; 1000];
        assert_ne!(first.sample(&flat).unwrap(), second.sample(&flat).unwrap());
    }

    #[test]
    fn equal_seeds_give_equal_tokens_and_others_do_not() {
        let logits: Vec<f32> = (0..100).map(|i| (i as f32 * 0.7).sin()).collect();
        let run = |seed| {
            let mut s = Sampler::new(SamplerOptions { seed, ..random() }).unwrap();
            (0..20).map(|_| s.sample(&logits).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn impossible_tokens_are_never_chosen() {
        let mut logits = vec![f32::NEG_INFINITY; 50];
        logits[20] = 1.0;
        assert_eq!(counts(random(), &logits, 500)[20], 500);
        assert_eq!(
            counts(SamplerOptions { top_p: Some(0.9), top_k: Some(5), ..random() }, &logits, 500)
                [20],
            500
        );
    }

    #[test]
    fn probabilities_and_top_are_a_stable_softmax() {
        let p = probabilities(&[1000.0, 1000.0, 999.0]).unwrap();
        let e = (-1f64).exp();
        assert!((p[2] - e / (2.0 + e)).abs() < 1e-15);
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        let t = top(&[0.0, 2.0, 1.0, 2.0], 3).unwrap();
        assert_eq!(t.iter().map(|c| c.id).collect::<Vec<_>>(), [1, 3, 2]);
        assert_eq!(t[0].logit, 2.0);
        assert!(
            (t[2].probability - 1f64.exp() / (1.0 + 1f64.exp() + 2.0 * 2f64.exp())).abs() < 1e-15
        );
        assert_eq!(top(&[1.0], 20).unwrap().len(), 1);
        assert!(top(&[1.0], 0).unwrap().is_empty());
    }

    #[test]
    fn bad_logits_and_options_are_errors() {
        let mut s = Sampler::new(random()).unwrap();
        for bad in
            [&[][..], &[f32::NAN], &[0.0, f32::NAN], &[f32::INFINITY], &[f32::NEG_INFINITY; 2]]
        {
            assert!(s.sample(bad).is_err() && top(bad, 1).is_err() && probabilities(bad).is_err());
        }
        for t in [-0.1, f64::NAN, f64::INFINITY] {
            assert!(Sampler::new(SamplerOptions { temperature: t, ..random() }).is_err());
        }
        for p in [0.0, -1.0, 1.1, f64::NAN] {
            assert!(Sampler::new(SamplerOptions { top_p: Some(p), ..random() }).is_err());
        }
    }
}
