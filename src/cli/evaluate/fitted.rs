//! What is fitted: word models and neighbours on training rows, the blend and the temperature on
//! validation rows.

use std::collections::BTreeMap;

use super::known::Known;
use super::predictions::Prediction;
use crate::cli::printer::Printer;
use crate::pricer::Distribution;
use crate::pricer::baselines::{Baseline, fit_and_guess};
use crate::pricer::blend::{Pricing, blend_weights, temperature};
use crate::pricer::neighbours::NeighbourIndex;

/// Neighbours of the baseline where an adapter says no other number.
const NEIGHBOURS: usize = 5;

/// What the blend weighs: the fine-tuned model's median, and these.
const BLENDED: [&str; 3] = ["bag_of_words", "tfidf_ridge", "neighbours"];

/// Guesses of the baselines.
pub(super) struct Guesses {
    pub(super) of_test: Vec<Baseline>,
    of_validation: Vec<Baseline>,
}

impl Guesses {
    /// Fits them on training rows, or where there are none on those of the index.
    pub(super) fn fit(
        printer: &Printer,
        train: Option<Vec<Known>>,
        index: Option<&NeighbourIndex>,
        test: &[Known],
        validation: &[Known],
    ) -> Guesses {
        let mut train: Vec<(String, f64)> =
            train.into_iter().flatten().map(|row| (row.prompt, row.truth)).collect();
        if let Some(index) = index.filter(|_| train.is_empty()) {
            train = index.known().iter().map(|known| (known.text.clone(), known.price)).collect();
        }
        if train.is_empty() {
            return Guesses { of_test: Vec::new(), of_validation: Vec::new() };
        }
        printer.note(format!("fitting the baselines on {} rows", train.len()));
        let train: Vec<(&str, f64)> =
            train.iter().map(|(text, price)| (text.as_str(), *price)).collect();
        let texts: Vec<&str> =
            test.iter().chain(validation).map(|row| row.prompt.as_str()).collect();
        let neighbours = index.map_or(NEIGHBOURS, |index| index.settings().neighbours);
        let mut of_test = fit_and_guess(&train, &texts, neighbours);
        let split = |b: &mut Baseline| Baseline { guesses: b.guesses.split_off(test.len()), ..*b };
        let of_validation = of_test.iter_mut().map(split).collect();
        Guesses { of_test, of_validation }
    }
}

/// The guesses that the blend weighs, by name.
fn blended<'a>(baselines: &'a [Baseline], medians: &'a [f64]) -> Vec<(&'static str, &'a [f64])> {
    let known = baselines.iter().filter(|b| BLENDED.contains(&b.name));
    let known = known.map(|b| (b.name, b.guesses.as_slice()));
    std::iter::once(("fine_tuned", medians)).chain(known).collect()
}

/// Fits temperature and blend on validation rows.
pub(super) fn fit(pricing: &mut Pricing, rows: &[Known], all: &[Prediction], guesses: &Guesses) {
    let of = |p: &Prediction| (p.distribution(), rows[p.row].truth);
    let distributions: Vec<(Distribution, f64)> = all.iter().map(of).collect();
    pricing.temperature = Some(temperature(&distributions));
    let truths: Vec<f64> = rows.iter().map(|row| row.truth).collect();
    let medians: Vec<f64> = all.iter().map(|p| p.median).collect();
    let named = blended(&guesses.of_validation, &medians);
    let weights = blend_weights(&Vec::from_iter(named.iter().map(|(_, g)| *g)), &truths);
    pricing.blend =
        named.iter().zip(weights).map(|((name, _), w)| ((*name).to_owned(), w)).collect();
}

/// The blend's guesses; none without weights, or where something that it weighs is missing.
pub(super) fn blend(
    weights: &BTreeMap<String, f64>,
    baselines: &[Baseline],
    medians: &[f64],
) -> Option<Baseline> {
    let named: BTreeMap<&str, &[f64]> = blended(baselines, medians).into_iter().collect();
    let mut sum = vec![0.0; medians.len()];
    for (name, weight) in weights {
        let guesses = named.get(name.as_str())?;
        sum.iter_mut().zip(*guesses).for_each(|(sum, guess)| *sum += weight * guess);
    }
    let title = "blend of model, neighbours and words";
    (!weights.is_empty()).then_some(Baseline { name: "blend", title, guesses: sum })
}

/// Temperature and weights for people.
pub(super) fn told(pricing: &Pricing) -> String {
    let weights: Vec<String> = pricing
        .blend
        .iter()
        .map(|(name, w)| format!("{} {:.0} %", name.replace('_', " "), 100.0 * w))
        .collect();
    format!(
        "temperature {:.2}; blend of {}",
        pricing.temperature.unwrap_or(1.0),
        weights.join(", ")
    )
}
