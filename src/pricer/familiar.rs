//! How familiar a product's text is to an adapter: the perplexity of its words under a bigram model
//! of the texts that the adapter was trained on, kept beside it. It needs no GPU, and can say which
//! words are new. The browser page has the same in `web/page/texts.js`, and reads the same file.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The file's name beside an adapter.
pub const TEXTS_FILE: &str = "training_texts.json";

/// Words that there could be: what an unseen one is worth.
const VOCABULARY: f64 = 100_000.0;

/// Of its own training texts an adapter calls this share foreign, each judged by the others.
const FOREIGN: f64 = 0.03;

/// … and a text that is hardly stranger than those is none: few texts give an uncertain share.
const MARGIN: f64 = 1.25;

/// Below this many texts nothing can be said of what is foreign.
const FEWEST: usize = 20;

/// What is kept of the texts that an adapter was trained on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Familiar {
    /// How many.
    pub texts: usize,
    /// The lowest price, dollars.
    pub low: f64,
    /// The highest.
    pub high: f64,
    /// A text of a higher perplexity is foreign.
    pub limit: f64,
    /// How often each word occurs; "" is a text's end.
    single: BTreeMap<String, u32>,
    /// How often each word occurs behind each; "" is a text's beginning.
    next: BTreeMap<String, BTreeMap<String, u32>>,
}

/// What a text is to an adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// `exp(−1/n Σ ln P(wᵢ | wᵢ₋₁))` over its words and its end.
    pub perplexity: f64,
    /// Whether that is above the limit.
    pub foreign: bool,
    /// Words that no training text has.
    pub unseen: Vec<String>,
}

impl Verdict {
    /// Where it is foreign, a sentence with some of the new words.
    pub fn warning(&self) -> Option<String> {
        let new = self.unseen.iter().filter(|word| word.chars().count() > 1).take(4);
        let new = Vec::from_iter(new.map(|word| format!("“{word}”"))).join(", ");
        let new = if new.is_empty() { new } else { format!(", which never named {new}") };
        self.foreign.then(|| {
            format!(
                "nothing like this was among the products that the adapter was trained on{new}: do not trust this price"
            )
        })
    }
}

impl Familiar {
    /// Of the prices of all texts, and of some of the texts, or all. The limit is 1.25 times the
    /// perplexity that 3 % of the texts have at least, each under the model of the others.
    pub fn learned(texts: &[&str], prices: &[f64]) -> Familiar {
        let mut counts = Counts::default();
        let numbered = texts.iter().map(|text| counts.numbers(&words(text)));
        let numbered: Vec<Vec<u32>> = numbered.collect();
        numbered.iter().for_each(|text| counts.add(text));
        let mut scores: Vec<f64> = Vec::with_capacity(texts.len());
        for text in &numbered {
            counts.take_out(text);
            scores.push(counts.perplexity(text));
            counts.add(text);
        }
        scores.sort_by(f64::total_cmp);
        let at = (scores.len() as f64 * (1.0 - FOREIGN)).ceil() as usize;
        let limit = scores.get(at.min(scores.len().saturating_sub(1))).copied().unwrap_or(0.0);
        let (single, next) = counts.by_word();
        Familiar {
            texts: prices.len(),
            low: prices.iter().copied().fold(f64::INFINITY, f64::min),
            high: prices.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            limit: four_digits(MARGIN * limit),
            single,
            next,
        }
    }

    /// What judges texts; `None` where it was learned from too few.
    pub fn judge(&self) -> Option<Judge> {
        let known = self.texts >= FEWEST && self.limit > 0.0;
        known.then(|| Judge { counts: Counts::of(&self.single, &self.next), limit: self.limit })
    }

    /// Its file. **Errors** [`Error::Format`] with the place in it; fields that are missing make
    /// one that judges nothing.
    pub fn from_json(name: &str, text: &[u8]) -> Result<Familiar> {
        // The page writes null where it knows nothing.
        let known: Option<Familiar> = serde_json::from_slice(text)
            .map_err(|e| Error::format(name, format!("line {}", e.line()), e))?;
        Ok(known.unwrap_or_default())
    }

    /// The file's content.
    pub fn to_json(&self) -> String {
        // Names, numbers and texts: there is nothing that JSON has not.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Judges texts by what was learned.
#[derive(Debug)]
pub struct Judge {
    counts: Counts,
    limit: f64,
}

impl Judge {
    /// What a text is to the adapter.
    pub fn judged(&self, text: &str) -> Verdict {
        let words = words(text);
        let numbers = words.iter().map(|word| self.counts.numbers.get(word).copied());
        let numbers = Vec::from_iter(numbers.map(|number| number.unwrap_or(UNKNOWN)));
        let perplexity = self.counts.perplexity(&numbers);
        let is_new = |(word, number): &(&String, &u32)| {
            **number == UNKNOWN && word.chars().any(|c| c.is_alphabetic() || c.is_ascii_digit())
        };
        let unseen: BTreeSet<&String> =
            words.iter().zip(&numbers).filter(is_new).map(|(word, _)| word).collect();
        let mut unseen = Vec::from_iter(unseen.into_iter().cloned());
        unseen.sort_by_key(|word| words.iter().position(|other| other == word));
        Verdict { perplexity, foreign: perplexity > self.limit, unseen }
    }
}

/// The text of a product whose summary it is: its fields without their names.
pub fn text_of(summary: &str) -> String {
    let value = |line: &str| match line.split_once(": ") {
        Some(("Title" | "Category" | "Brand" | "Description" | "Details", value)) => {
            value.trim().to_owned()
        }
        _ => line.trim().to_owned(),
    };
    Vec::from_iter(summary.lines().map(value).filter(|value| !value.is_empty())).join(" ")
}

/// White space as JavaScript's `\s` has it, so that the page cuts texts alike.
fn is_space(c: char) -> bool {
    c == '\u{feff}' || (c.is_whitespace() && c != '\u{85}')
}

/// Words (with the digits that follow them), numbers, and every other sign by itself.
fn words(text: &str) -> Vec<String> {
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let digit = |at: usize| text.get(at).is_some_and(char::is_ascii_digit);
    let (mut all, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let from = at;
        if text[at].is_alphabetic() {
            while text.get(at).is_some_and(|c| c.is_alphabetic()) {
                at += 1;
            }
            while digit(at) {
                at += 1;
            }
        } else if digit(at) {
            while digit(at) {
                at += 1;
            }
            if text.get(at) == Some(&'.') && digit(at + 1) {
                at += 1;
                while digit(at) {
                    at += 1;
                }
            }
        } else {
            at += 1;
            if is_space(text[from]) {
                continue;
            }
        }
        all.push(text[from..at].iter().collect());
    }
    all
}

/// The number of "", a text's beginning and end.
const END: u32 = 0;

/// Stands for words without a number.
const UNKNOWN: u32 = u32::MAX;

/// Counts of words behind words, by numbers that words are given.
#[derive(Debug, Default)]
struct Counts {
    numbers: HashMap<String, u32>,
    single: Vec<u32>,
    /// Of `single`, the sum, and how many are not 0.
    sum: u32,
    kinds: u32,
    pairs: HashMap<(u32, u32), u32>,
    /// Of the pairs that begin with a word, the same.
    behind: Vec<(u32, u32)>,
}

impl Counts {
    fn of(
        single: &BTreeMap<String, u32>,
        next: &BTreeMap<String, BTreeMap<String, u32>>,
    ) -> Counts {
        let mut counts = Counts::default();
        counts.number("");
        for (word, &times) in single {
            let number = counts.number(word) as usize;
            counts.single[number] = times;
            counts.sum += times;
            counts.kinds += 1;
        }
        for (before, words) in next {
            let before = counts.number(before);
            for (word, &times) in words {
                let word = counts.number(word);
                counts.pairs.insert((before, word), times);
                let (sum, kinds) = &mut counts.behind[before as usize];
                (*sum, *kinds) = (*sum + times, *kinds + 1);
            }
        }
        counts
    }

    fn number(&mut self, word: &str) -> u32 {
        if let Some(&number) = self.numbers.get(word) {
            return number;
        }
        let number = self.single.len() as u32;
        self.numbers.insert(word.to_owned(), number);
        self.single.push(0);
        self.behind.push((0, 0));
        number
    }

    fn numbers(&mut self, words: &[String]) -> Vec<u32> {
        self.number("");
        words.iter().map(|word| self.number(word)).collect()
    }

    fn add(&mut self, text: &[u32]) {
        for (before, word) in pairs(text) {
            let pair = self.pairs.entry((before, word)).or_default();
            let (sum, kinds) = &mut self.behind[before as usize];
            (*sum, *kinds) = (*sum + 1, *kinds + u32::from(*pair == 0));
            *pair += 1;
            let single = &mut self.single[word as usize];
            self.kinds += u32::from(*single == 0);
            *single += 1;
            self.sum += 1;
        }
    }

    /// A text that was added.
    fn take_out(&mut self, text: &[u32]) {
        for (before, word) in pairs(text) {
            let pair = self.pairs.entry((before, word)).or_insert(1);
            *pair -= 1;
            let (sum, kinds) = &mut self.behind[before as usize];
            (*sum, *kinds) = (*sum - 1, *kinds - u32::from(*pair == 0));
            let single = &mut self.single[word as usize];
            *single -= 1;
            self.kinds -= u32::from(*single == 0);
            self.sum -= 1;
        }
    }

    /// `P(word | before) = (c(before word) + k P(word)) / (c(before ·) + k)` with `k` words that
    /// were seen behind `before`: what follows it only seldom leaves room for what never has.
    /// `P(word)` likewise, against one of 100,000 words.
    ///
    /// **Source** Witten and Bell 1991, "The zero-frequency problem".
    fn probability(&self, before: u32, word: u32) -> f64 {
        let (all, sum) = (f64::from(self.kinds) + 1.0, f64::from(self.sum));
        let seen = self.single.get(word as usize).copied().unwrap_or(0);
        let alone = (f64::from(seen) + all / VOCABULARY) / (sum + all);
        match self.behind.get(before as usize) {
            Some(&(sum, kinds)) if kinds > 0 => {
                let pair = self.pairs.get(&(before, word)).copied().unwrap_or(0);
                let (sum, kinds) = (f64::from(sum), f64::from(kinds));
                (f64::from(pair) + kinds * alone) / (sum + kinds)
            }
            _ => alone,
        }
    }

    fn perplexity(&self, text: &[u32]) -> f64 {
        let nats: f64 = pairs(text).map(|(a, b)| -self.probability(a, b).ln()).sum();
        (nats / (text.len() + 1) as f64).exp()
    }

    /// Its two maps, without what is 0.
    #[allow(clippy::type_complexity, reason = "two maps of the file")]
    fn by_word(&self) -> (BTreeMap<String, u32>, BTreeMap<String, BTreeMap<String, u32>>) {
        let mut names = vec![""; self.single.len()];
        self.numbers.iter().for_each(|(word, &number)| names[number as usize] = word);
        let single = names.iter().zip(&self.single).filter(|(_, times)| **times > 0);
        let single = single.map(|(word, times)| ((*word).to_owned(), *times)).collect();
        let mut next: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
        for (&(before, word), &times) in self.pairs.iter().filter(|(_, times)| **times > 0) {
            let behind = next.entry(names[before as usize].to_owned()).or_default();
            behind.insert(names[word as usize].to_owned(), times);
        }
        (single, next)
    }
}

/// Every word with the one before it, the end too.
fn pairs(text: &[u32]) -> impl Iterator<Item = (u32, u32)> {
    let before = std::iter::once(END).chain(text.iter().copied());
    before.zip(text.iter().copied().chain([END]))
}

/// As JavaScript's `toPrecision(4)` rounds.
fn four_digits(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts and numbers of the page's test.
    fn rings() -> Familiar {
        let text = |i: usize| {
            let stone = ["ruby", "opal", "pearl", "jade"][i % 4];
            format!("Ring, {stone} of {}.5 mm, no. {i}", i % 5)
        };
        let texts = Vec::from_iter((0..40).map(text));
        let texts = Vec::from_iter(texts.iter().map(String::as_str));
        Familiar::learned(&texts, &Vec::from_iter((0..40).map(|i| 10.0 + f64::from(i))))
    }

    #[test]
    fn a_text_of_other_words_is_foreign_and_they_are_named() {
        let rings = rings();
        let Familiar { texts, low, high, limit, .. } = rings;
        assert_eq!((texts, low, high, limit), (40, 10.0, 49.0, 9.217));
        let judge = rings.judge().unwrap();
        let near = |text: &str, expected: f64| {
            let verdict = judge.judged(text);
            assert!((verdict.perplexity / expected - 1.0).abs() < 1e-9, "{text}: {verdict:?}");
            verdict
        };
        let known = near("Ring, jade of 2.5 mm, no. 3", 2.4358218266946983);
        assert!(known.warning().is_none() && known.unseen.is_empty(), "{known:?}");
        let other = near("A paperclip, a new one: 3 mm", 40531.14255800637);
        assert_eq!(other.unseen, ["a", "paperclip", "new", "one"]);
        let warning = other.warning().unwrap();
        assert!(warning.contains("named “paperclip”, “new”, “one”:"), "{warning}");
        assert_eq!(judge.judged("3. किताब").unseen, ["किताब"]);
    }

    #[test]
    fn words_are_what_the_page_takes_for_words() {
        let all = words("Größe X12, 0.30 carat\t\u{feff}(5.)");
        assert_eq!(all, ["größe", "x12", ",", "0.30", "carat", "(", "5", ".", ")"]);
        assert_eq!(text_of("Title: A lamp\nBrand: B: c\nlast"), "A lamp B: c last");
    }

    /// By the page's formulas, counted anew for each text.
    #[test]
    fn the_limit_is_of_texts_that_others_judge() {
        let texts = ["a b", "a c", "a b c"];
        let learned = Familiar::learned(&texts, &[1.0, 2.0, 3.0]);
        let alone = |i: usize| {
            let others = Vec::from_iter((0..3).filter(|j| *j != i).map(|j| texts[j]));
            let mut counts = Counts::default();
            let added = Vec::from_iter(others.iter().map(|text| counts.numbers(&words(text))));
            added.iter().for_each(|text| counts.add(text));
            let own = counts.numbers(&words(texts[i]));
            counts.perplexity(&own)
        };
        let highest = (0..3).map(alone).fold(0.0, f64::max);
        assert_eq!(learned.limit, four_digits(1.25 * highest));
        assert!(learned.judge().is_none(), "three texts say nothing");
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_as_the_page_writes_it() {
        let rings = rings();
        let again = Familiar::from_json("f", rings.to_json().as_bytes()).unwrap();
        assert_eq!(again, rings);
        for nothing in ["null", "{}", r#"{"what": "diamonds"}"#] {
            assert!(Familiar::from_json("f", nothing.as_bytes()).unwrap().judge().is_none());
        }
        assert!(Familiar::from_json("f", b"[").unwrap_err().to_string().contains("f: line 1"));
        // P(b | a) of the texts "a b" and "a c": (1 + 2 (1 + 5/100000) / (6 + 5)) / (2 + 2).
        let mut counts = Counts::default();
        for text in ["a b", "a c"] {
            let text = counts.numbers(&words(text));
            counts.add(&text);
        }
        let [a, b] = ["a", "b"].map(|word| counts.numbers[word]);
        let expected = (1.0 + 2.0 * (1.0 + 5.0 / 1e5) / 11.0) / 4.0;
        assert!((counts.probability(a, b) - expected).abs() < 1e-15);
    }
}
