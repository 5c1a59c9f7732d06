//! What a model must beat: guesses without a language model, fitted on the training rows.
//!
//! Least squares and vocabularies are our own few lines: linfa's least squares wants the design as
//! a dense matrix (216 MB for 13,500 rows of 2,000 words), and its vectorizers have neither the
//! stop words nor the weights that the course's scikit-learn has.

pub mod linear;
mod word_model;
pub mod words;

use std::collections::HashMap;

use super::metrics::median;
use super::neighbours::{Known, NeighbourIndex, NeighbourSettings};
use super::prompt::{category_of, summary_of};
pub use word_model::WordModel;

/// A baseline's name in reports, and its guesses.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// As in report.json.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// A guess per test row.
    pub guesses: Vec<f64>,
}

/// Fits every baseline on prompts and prices and guesses the prices of `test` prompts.
///
/// `constant_mean`, `constant_median`; `category_median` (the line `Category: `; the overall median
/// where it is unknown); `bag_of_words` and `tfidf_ridge` as [`WordModel`] has them; `neighbours`,
/// the median of the most similar products, as many as said.
pub fn fit_and_guess(train: &[(&str, f64)], test: &[&str], neighbours: usize) -> Vec<Baseline> {
    let prices: Vec<f64> = train.iter().map(|(_, price)| *price).collect();
    let mean = prices.iter().sum::<f64>() / prices.len().max(1) as f64;
    let middle = median(prices.iter().copied());
    let mut by_category: HashMap<&str, Vec<f64>> = HashMap::new();
    for (prompt, price) in train {
        by_category.entry(category_of(prompt).unwrap_or("")).or_default().push(*price);
    }
    let by_category: HashMap<&str, f64> =
        by_category.into_iter().map(|(category, prices)| (category, median(prices))).collect();
    let of_category =
        |prompt: &&str| *by_category.get(category_of(prompt).unwrap_or("")).unwrap_or(&middle);

    let text = |prompt: &&'_ str| -> String { summary_of(prompt).unwrap_or(prompt).to_owned() };
    let train_texts: Vec<String> = train.iter().map(|(prompt, _)| text(prompt)).collect();
    let test_texts: Vec<String> = test.iter().map(text).collect();
    let train_texts: Vec<&str> = train_texts.iter().map(String::as_str).collect();
    let test_texts: Vec<&str> = test_texts.iter().map(String::as_str).collect();
    let known = train_texts.iter().zip(&prices);
    let known = known.map(|(text, price)| Known { text: (*text).into(), price: *price });
    let settings = NeighbourSettings { neighbours, ..NeighbourSettings::default() };
    let index = NeighbourIndex::new(settings, known.collect());
    let bag = WordModel::bag_of_words(&train_texts, &prices).guess(&test_texts);
    let ridge = WordModel::tfidf_ridge(&train_texts, &prices).guess(&test_texts);
    let nearest = test_texts.iter().map(|text| index.median(text)).collect();
    [
        ("constant_mean", "constant: mean", vec![mean; test.len()]),
        ("constant_median", "constant: median", vec![middle; test.len()]),
        ("category_median", "median of the category", test.iter().map(of_category).collect()),
        ("bag_of_words", "2,000 words + linear regression", bag),
        ("tfidf_ridge", "TF-IDF + ridge (log price)", ridge),
        ("neighbours", "median of the nearest products", nearest),
    ]
    .map(|(name, title, guesses)| Baseline { name, title, guesses })
    .into()
}

/// The course's published results, mean absolute error in dollars on ITS data: another data set, so
/// only ratios within this list can be compared with anything. **Source** week7/results.ipynb of
/// the course.
pub const PUBLISHED: [(&str, f64); 17] = [
    ("constant", 106.18),
    ("linear regression", 101.56),
    ("2,000 words + linear regression", 76.81),
    ("random forest", 72.28),
    ("XGBoost", 68.23),
    ("human", 87.62),
    ("neural network", 63.97),
    ("GPT 4.1 nano", 62.51),
    ("GPT 4.1 nano, fine-tuned", 75.91),
    ("Grok 4.1 Fast", 57.62),
    ("Gemini 3 Pro", 50.54),
    ("Claude 4.5 Sonnet", 47.10),
    ("GPT 5.1", 44.74),
    ("deep neural network", 46.49),
    ("base Llama 3.2 3B, 4 bit", 110.72),
    ("fine-tuned Llama 3.2 3B, lite", 65.40),
    ("fine-tuned Llama 3.2 3B, full", 39.85),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baselines_guess_what_their_names_say() {
        let row = |title: &str, category: &str| {
            super::super::prompt::prompt(&format!("Title: {title}\nCategory: {category}"))
        };
        let train: Vec<(String, f64)> = (0..40)
            .map(|i| match i % 2 {
                0 => (row(&format!("lamp {i}"), "Home"), 10.0),
                _ => (row(&format!("drill {i}"), "Tools"), 100.0),
            })
            .collect();
        let train: Vec<(&str, f64)> = train.iter().map(|(p, price)| (p.as_str(), *price)).collect();
        let test = [row("a lamp", "Home"), row("drill", "Tools"), row("unknown", "Garden")];
        let test: Vec<&str> = test.iter().map(String::as_str).collect();
        let all = fit_and_guess(&train, &test, 5);
        let of = |name: &str| &all.iter().find(|b| b.name == name).unwrap().guesses;
        assert_eq!(of("constant_mean"), &[55.0; 3]);
        assert_eq!(of("constant_median"), &[55.0; 3]);
        assert_eq!(of("category_median"), &[10.0, 100.0, 55.0]);
        for name in ["bag_of_words", "tfidf_ridge", "neighbours"] {
            let guesses = of(name);
            assert!(
                (guesses[0] - 10.0).abs() < 8.0 && (guesses[1] - 100.0).abs() < 30.0,
                "{name} {guesses:?}"
            );
        }
    }
}
