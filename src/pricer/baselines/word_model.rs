//! Prices from words alone.

use super::linear::Linear;
use super::words::{Weighting, Words};

/// Least squares on the words of texts.
#[derive(Clone, Debug)]
pub struct WordModel {
    words: Words,
    linear: Linear,
    /// Of a fitted value the price.
    price: fn(f64) -> f64,
}

impl WordModel {
    /// The course's: the 2,000 most frequent words and linear regression, never below 0.
    pub fn bag_of_words(texts: &[&str], prices: &[f64]) -> WordModel {
        let weighting = Weighting::Counts { max_features: 2000 };
        WordModel::fit(texts, weighting, prices, 0.0, |value| value.max(0.0))
    }

    /// Words and pairs, ridge with alpha 1 on the logarithm of the price; prices below a cent count
    /// as one.
    pub fn tfidf_ridge(texts: &[&str], prices: &[f64]) -> WordModel {
        let logs: Vec<f64> = prices.iter().map(|price| price.max(0.01).ln()).collect();
        WordModel::fit(texts, Weighting::Tfidf, &logs, 1.0, f64::exp)
    }

    fn fit(
        texts: &[&str],
        weighting: Weighting,
        targets: &[f64],
        alpha: f64,
        price: fn(f64) -> f64,
    ) -> WordModel {
        let (words, x) = Words::fit(texts, weighting);
        WordModel { words, linear: Linear::fit(&x, targets, alpha), price }
    }

    /// A price per text, dollars.
    pub fn guess(&self, texts: &[&str]) -> Vec<f64> {
        let values = self.linear.predict(&self.words.transform(texts));
        values.into_iter().map(self.price).collect()
    }
}
