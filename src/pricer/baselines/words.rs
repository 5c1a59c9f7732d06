//! Texts as counts of words: what scikit-learn's `CountVectorizer` and `TfidfVectorizer` make of
//! them.

use std::collections::{BTreeMap, HashMap, HashSet};

/// The English function words that scikit-learn leaves out with `stop_words="english"`: the list of
/// the Glasgow Information Retrieval Group.
const STOP_WORDS: &str = include_str!("stop_words.txt");

/// A sparse matrix by rows.
#[derive(Clone, Debug, Default)]
pub struct Sparse {
    /// `(column, value)`, ascending by column.
    pub rows: Vec<Vec<(u32, f64)>>,
    /// Columns.
    pub columns: usize,
}

/// How texts become columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// Counts of the most frequent words, stop words apart: `CountVectorizer(max_features=…,
    /// stop_words="english")`. Words of equal frequency go in alphabetical order.
    Counts {
        /// Columns at most.
        max_features: usize,
    },
    /// Words and pairs of words that stand in at least two texts, weighted
    /// `(1 + ln tf)·(1 + ln((1+n)/(1+df)))`, rows of length 1:
    /// `TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)`.
    Tfidf,
}

/// A vocabulary read off the training texts.
#[derive(Clone, Debug)]
pub struct Words {
    weighting: Weighting,
    index: HashMap<String, u32>,
    /// Of each column; 1 for counts.
    idf: Vec<f64>,
}

/// Runs of two or more letters, digits and underscores, lower case (scikit-learn's
/// `token_pattern`).
fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let parts = lower.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    parts.filter(|word| word.chars().nth(1).is_some()).map(str::to_owned).collect()
}

impl Weighting {
    fn terms(self, text: &str) -> Vec<String> {
        let mut all = words(text);
        match self {
            Weighting::Counts { .. } => {
                let stop: HashSet<&str> = STOP_WORDS.split_whitespace().collect();
                all.retain(|word| !stop.contains(word.as_str()));
            }
            Weighting::Tfidf => {
                let pairs: Vec<String> = all.windows(2).map(|pair| pair.join(" ")).collect();
                all.extend(pairs);
            }
        }
        all
    }
}

impl Words {
    /// The vocabulary of these texts, and the texts in it.
    pub fn fit(texts: &[&str], weighting: Weighting) -> (Words, Sparse) {
        // By name, so that columns are in alphabetical order.
        let mut frequency: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for text in texts {
            let mut seen = HashSet::new();
            for term in weighting.terms(text) {
                let first = seen.insert(term.clone());
                let (count, documents) = frequency.entry(term).or_default();
                *count += 1;
                *documents += usize::from(first);
            }
        }
        let mut kept: Vec<(&String, (usize, usize))> =
            frequency.iter().map(|(t, n)| (t, *n)).collect();
        match weighting {
            Weighting::Counts { max_features } => {
                kept.sort_by(|a, b| b.1.0.cmp(&a.1.0).then(a.0.cmp(b.0)));
                kept.truncate(max_features);
                kept.sort_by(|a, b| a.0.cmp(b.0));
            }
            Weighting::Tfidf => kept.retain(|(_, (_, documents))| *documents >= 2),
        }
        let idf = |documents: usize| match weighting {
            Weighting::Counts { .. } => 1.0,
            Weighting::Tfidf => 1.0 + ((1 + texts.len()) as f64 / (1 + documents) as f64).ln(),
        };
        let words = Words {
            weighting,
            idf: kept.iter().map(|(_, (_, documents))| idf(*documents)).collect(),
            index: kept
                .iter()
                .enumerate()
                .map(|(i, (term, _))| ((*term).clone(), i as u32))
                .collect(),
        };
        let matrix = words.transform(texts);
        (words, matrix)
    }

    /// Texts in this vocabulary; other words are left out.
    pub fn transform(&self, texts: &[&str]) -> Sparse {
        Sparse { rows: texts.iter().map(|text| self.row(text)).collect(), columns: self.idf.len() }
    }

    fn row(&self, text: &str) -> Vec<(u32, f64)> {
        let mut counts: BTreeMap<u32, f64> = BTreeMap::new();
        for term in self.weighting.terms(text) {
            if let Some(&column) = self.index.get(&term) {
                *counts.entry(column).or_default() += 1.0;
            }
        }
        let mut row: Vec<(u32, f64)> = counts.into_iter().collect();
        if self.weighting == Weighting::Tfidf {
            for (column, value) in &mut row {
                *value = (1.0 + value.ln()) * self.idf[*column as usize];
            }
            let norm = row.iter().map(|(_, value)| value * value).sum::<f64>().sqrt();
            row.iter_mut().for_each(|(_, value)| *value /= norm);
        }
        row
    }

    /// Columns.
    pub fn len(&self) -> usize {
        self.idf.len()
    }

    /// Whether no word was kept.
    pub fn is_empty(&self) -> bool {
        self.idf.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_scikit_learns() {
        assert_eq!(words("A USB-C cable, 2 m (10Gbps) Ünï_x"), ["usb", "cable", "10gbps", "ünï_x"]);
        let counts = Weighting::Counts { max_features: 2 };
        let (words, matrix) = Words::fit(&["red lamp the red", "blue lamp", "green"], counts);
        assert_eq!((words.len(), &words.index["lamp"], &words.index["red"]), (2, &0, &1));
        assert_eq!(matrix.rows, [vec![(0, 1.0), (1, 2.0)], vec![(0, 1.0)], vec![]]);
        let (words, matrix) = Words::fit(&["aa bb", "aa bb", "cc"], Weighting::Tfidf);
        assert_eq!(words.len(), 3);
        assert!((matrix.rows[0].iter().map(|(_, v)| v * v).sum::<f64>() - 1.0).abs() < 1e-12);
    }
}
