//! What is fitted on validation rows: the weights of a blend, the temperature of a distribution.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::distribution::Distribution;
use crate::{Error, Result};

/// The file beside an adapter that says how it prices.
pub const PRICER_FILE: &str = "pricer.json";

/// Version of the file.
const VERSION: u32 = 1;

/// Settings of an adapter that prices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pricing {
    /// Of the file.
    pub version: u32,
    /// Neighbours in the prompts that it was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbours: Option<usize>,
    /// At which its 80 % interval covers 80 %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Weight of each guess in the blend, by its name in reports; they sum to 1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub blend: BTreeMap<String, f64>,
}

impl Default for Pricing {
    fn default() -> Pricing {
        Pricing { version: VERSION, neighbours: None, temperature: None, blend: BTreeMap::new() }
    }
}

impl Pricing {
    /// From the file's text; `name` stands for it in messages. **Errors** [`Error::Format`] for
    /// what is no such file, or one of a later version.
    pub fn from_json(name: &str, text: &str) -> Result<Pricing> {
        let bad = |why: String| Error::format(name, "JSON", why);
        let pricing: Pricing = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
        match pricing.version == VERSION {
            true => Ok(pricing),
            false => Err(bad(format!("version {}; this program reads {VERSION}", pricing.version))),
        }
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        format!("{:#}\n", serde_json::json!(self))
    }
}

/// Turns of the search for weights.
const TURNS: usize = 4000;

/// Weights `w ≥ 0`, `Σ w = 1`, of the least `Σ_i |Σ_j w_j·guesses[j][i] − truths[i]|`; equal ones
/// without rows.
///
/// Exponentiated subgradients with steps that fall as `1/√turn`, and the best weights met on the
/// way: the sum is convex, so this comes within a thousandth of the least. **Source** Kivinen &
/// Warmuth 1997.
pub fn blend_weights(guesses: &[&[f64]], truths: &[f64]) -> Vec<f64> {
    let k = guesses.len().max(1);
    let blended = |w: &[f64], i: usize| w.iter().zip(guesses).map(|(w, g)| w * g[i]).sum::<f64>();
    let error = |w: &[f64]| -> f64 {
        truths.iter().enumerate().map(|(i, truth)| (blended(w, i) - truth).abs()).sum()
    };
    let mut weights = vec![1.0 / k as f64; guesses.len()];
    // Each corner, too: one guess alone may be the best.
    let corner = |j: usize| (0..guesses.len()).map(|i| f64::from(u8::from(i == j))).collect();
    let starts = std::iter::once(weights.clone()).chain((0..guesses.len()).map(corner));
    let mut best: (f64, Vec<f64>) = (f64::INFINITY, weights.clone());
    let keep = |best: &mut (f64, Vec<f64>), w: &Vec<f64>| {
        let error = error(w);
        if error < best.0 {
            *best = (error, w.clone());
        }
    };
    starts.for_each(|w: Vec<f64>| keep(&mut best, &w));
    for turn in 1..=TURNS {
        let mut slope = vec![0.0; guesses.len()];
        for (i, truth) in truths.iter().enumerate() {
            let sign = (blended(&weights, i) - truth).signum();
            slope.iter_mut().zip(guesses).for_each(|(s, g)| *s += sign * g[i]);
        }
        let mean = slope.iter().zip(&weights).map(|(s, w)| s * w).sum::<f64>();
        let largest = slope.iter().fold(1e-12, |m: f64, s| m.max((s - mean).abs()));
        let step = 0.5 / (turn as f64).sqrt() / largest;
        for (w, s) in weights.iter_mut().zip(&slope) {
            *w = (*w * (-step * (s - mean)).exp()).max(1e-9);
        }
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|w| *w /= sum);
        keep(&mut best, &weights);
    }
    best.1
}

/// The quantiles between which 80 % of the probability lies.
pub const INTERVAL: (f64, f64) = (0.1, 0.9);

/// The temperature at which [`INTERVAL`] of [`Distribution::tempered`] holds 80 % of the truths,
/// rounded to dollars: of 97 from ¼ to 4 the one that comes nearest, the one nearest to 1 of
/// equals.
///
/// **Source** Guo et al. 2017 (arXiv:1706.04599), where the likelihood decides.
pub fn temperature(rows: &[(Distribution, f64)]) -> f64 {
    let gap = |temperature: f64| {
        let inside = |(d, truth): &&(Distribution, f64)| {
            let d = d.tempered(temperature);
            (d.quantile(INTERVAL.0)..=d.quantile(INTERVAL.1)).contains(&truth.round())
        };
        let share = rows.iter().filter(inside).count() as f64 / rows.len().max(1) as f64;
        (share - 0.8).abs()
    };
    let candidates = (-48..=48).map(|i: i32| (i, 4f64.powf(f64::from(i) / 48.0)));
    let judged = candidates.map(|(i, temperature)| (gap(temperature), i.abs(), temperature));
    let best = judged.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    best.filter(|_| !rows.is_empty()).map_or(1.0, |(_, _, temperature)| temperature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_find_the_mixture_and_the_one_that_is_right() {
        let truths: Vec<f64> = (0..60).map(|i| f64::from(i * 37 % 101)).collect();
        let noise = |i: usize| (i * 29 % 17) as f64 - 8.0;
        let a: Vec<f64> = truths.iter().enumerate().map(|(i, t)| t + 3.0 * noise(i)).collect();
        let b: Vec<f64> = truths.iter().enumerate().map(|(i, t)| t - noise(i)).collect();
        let c = vec![1000.0; 60];
        let w = blend_weights(&[&a, &b, &c], &truths);
        assert!((w.iter().sum::<f64>() - 1.0).abs() < 1e-9 && w.iter().all(|w| *w >= 0.0));
        assert!((w[0] - 0.25).abs() < 0.01 && (w[1] - 0.75).abs() < 0.01, "{w:?}");
        assert_eq!(blend_weights(&[&truths, &c], &truths), [1.0, 0.0]);
        assert_eq!(blend_weights(&[&[], &[]], &[]), [0.5, 0.5]);
    }

    #[test]
    fn the_temperature_makes_the_interval_cover_80_per_cent() {
        // Truths as wide as a distribution that is twice as wide as it says.
        let d = Distribution::new(
            (0..200)
                .map(|p| {
                    let z = (f64::from(p) - 100.0) / 10.0;
                    (p, (-0.5 * z * z).exp())
                })
                .collect(),
        );
        let wide = d.tempered(4.0);
        let rows: Vec<(Distribution, f64)> =
            (1..200).map(|i| (d.clone(), wide.quantile(f64::from(i) / 200.0))).collect();
        let found = temperature(&rows);
        assert!((found.ln() - 4f64.ln()).abs() < 0.2, "{found}");
        assert_eq!(temperature(&[]), 1.0);
        assert_eq!(d.tempered(1.0).median(), d.median());
    }

    #[test]
    fn the_file_is_read_back() {
        let pricing = Pricing {
            neighbours: Some(3),
            temperature: Some(0.9),
            blend: [("neighbours".into(), 1.0)].into(),
            ..Pricing::default()
        };
        assert_eq!(Pricing::from_json("p", &pricing.to_json()).unwrap(), pricing);
        assert!(Pricing::from_json("p", "{\"version\": 9}").is_err());
    }
}
