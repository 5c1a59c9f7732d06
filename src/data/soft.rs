//! Targets that know that 499 is near 500: beside its label, a token of a number gets a
//! distribution over the tokens that other numbers have there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Encode;
use super::trie::{PREFIX, PriceTrie};
use crate::{Error, Result};

/// What beside cross-entropy judges the tokens of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NumberLoss {
    /// Nothing.
    #[default]
    None,
    /// Cross-entropy against a Gaussian around the number, in the place of a share of the label.
    Soft,
    /// The continuous ranked probability score of the distribution over numbers, in units of the
    /// width; numbers must be one token.
    Crps,
}

impl NumberLoss {
    /// Whether it is the default.
    pub fn is_none(&self) -> bool {
        *self == NumberLoss::None
    }
}

/// Standard deviation of the Gaussian, or the unit of the score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NumberWidth {
    /// As it is: dollars.
    Fixed(f64),
    /// Per cent of the number, 1 at least.
    Percent(f64),
}

impl Default for NumberWidth {
    fn default() -> NumberWidth {
        NumberWidth::Fixed(30.0)
    }
}

impl NumberWidth {
    fn of(self, number: u32) -> f64 {
        match self {
            NumberWidth::Fixed(width) => width,
            NumberWidth::Percent(percent) => (f64::from(number) * percent / 100.0).max(1.0),
        }
    }

    /// The number in it.
    pub fn value(self) -> f64 {
        match self {
            NumberWidth::Fixed(value) | NumberWidth::Percent(value) => value,
        }
    }
}

impl TryFrom<String> for NumberWidth {
    type Error = String;
    fn try_from(text: String) -> std::result::Result<NumberWidth, String> {
        let (number, percent) = match text.strip_suffix('%') {
            Some(number) => (number, true),
            None => (text.as_str(), false),
        };
        match number.trim().parse() {
            Ok(value) if percent => Ok(NumberWidth::Percent(value)),
            Ok(value) => Ok(NumberWidth::Fixed(value)),
            Err(_) => Err(format!("`{text}` is neither dollars, as 30, nor per cent, as 10%")),
        }
    }
}

impl From<NumberWidth> for String {
    fn from(width: NumberWidth) -> String {
        match width {
            NumberWidth::Fixed(value) => value.to_string(),
            NumberWidth::Percent(value) => format!("{value}%"),
        }
    }
}

/// Which numbers are judged so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NumberTokens {
    /// The one that an answer begins with: a price.
    #[default]
    First,
    /// Every whole number from 0 to 999 among the targets, decimals apart.
    All,
}

/// How numbers are judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NumberTerm {
    /// By what.
    pub loss: NumberLoss,
    /// Soft targets: the Gaussian's share of the target, in (0, 1]; score: its factor.
    pub weight: f64,
    /// Width.
    pub width: NumberWidth,
    /// Of which numbers.
    pub tokens: NumberTokens,
}

/// Sparse rows of target probabilities beside a batch's labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SoftTargets {
    /// Whether they are judged by the ranked probability score.
    pub ranked: bool,
    /// Which targets have one, ascending, with its weight and where its entries end.
    pub rows: Vec<SoftRow>,
    /// Token and probability of each entry: a token once in a row, the label among them, sum 1.
    pub entries: Vec<(u32, f32)>,
}

/// A row of [`SoftTargets`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftRow {
    /// Index among the batch's targets.
    pub target: usize,
    /// Factor of its loss.
    pub weight: f32,
    /// Its last entry + 1; it begins where the row before ends.
    pub end: usize,
}

impl SoftTargets {
    /// (L + 1) words: where the entries of each of a batch's `targets` begin, and where the last
    /// end.
    pub fn ranges(&self, targets: usize) -> Vec<u32> {
        let mut ranges = vec![0; targets + 1];
        for row in &self.rows {
            ranges[row.target + 1] = row.end as u32;
        }
        (1..=targets).for_each(|i| ranges[i] = ranges[i].max(ranges[i - 1]));
        ranges
    }

    /// (L) weights, 0 where there is no row.
    pub fn weights(&self, targets: usize) -> Vec<f32> {
        let mut weights = vec![0.0; targets];
        self.rows.iter().for_each(|row| weights[row.target] = row.weight);
        weights
    }
}

/// Probabilities below this share of a row are left out, the label's apart.
const SMALLEST: f64 = 1e-6;

/// Finds numbers among a batch's targets.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    trie: PriceTrie,
    term: NumberTerm,
    /// What a tokenizer writes between a number and its decimals or thousands.
    points: Vec<u32>,
}

/// A number among the targets: where its tokens stand, and the nodes that they lead to.
struct Found {
    first: usize,
    nodes: Vec<usize>,
    value: u32,
}

impl Numbers {
    /// **Errors** [`Error::Unsupported`] if the tokenizer splits numbers and the loss needs them
    /// whole, or joins `$` and digits.
    pub(super) fn new(tokenizer: &(impl Encode + ?Sized), term: NumberTerm) -> Result<Numbers> {
        let trie = PriceTrie::new(tokenizer)?;
        if term.loss == NumberLoss::Crps && trie.depth() > 1 {
            return Err(Error::Unsupported {
                what: "‹number_loss = crps› with a tokenizer that splits numbers into digits"
                    .into(),
                hint: "use ‹number_loss = soft›".into(),
            });
        }
        let one = tokenizer.encode_inside(&format!("{PREFIX}1"))?;
        let mut points = Vec::new();
        for point in [".", ","] {
            let ids = tokenizer.encode_inside(&format!("{PREFIX}1{point}5"))?;
            points.extend(ids.get(one.len()));
        }
        Ok(Numbers { trie, term, points })
    }

    /// The number that begins at a place, if the tokens up to `end` are one from 0 to 999.
    fn at(&self, ids: &[u32], first: usize, end: usize) -> Option<Found> {
        let mut nodes = vec![0];
        for id in &ids[first..end] {
            match self.trie.node(*nodes.last()?).children.get(id) {
                Some(&child) => nodes.push(child),
                None => break,
            }
        }
        let value = self.trie.node(*nodes.last()?).price?;
        let goes_on = |i: usize| ids.get(i).is_some_and(|id| self.is_digits(*id));
        (!goes_on(first + nodes.len() - 1)).then_some(Found { first, nodes, value })
    }

    fn is_digits(&self, id: u32) -> bool {
        self.trie.node(0).children.contains_key(&id)
    }

    /// Adds the rows of a sequence: `ids`, of which those at `places` are targets, number `from`
    /// and following of their batch.
    pub(super) fn mark(&self, soft: &mut SoftTargets, ids: &[u32], places: &[usize], from: usize) {
        soft.ranked = self.term.loss == NumberLoss::Crps;
        let mut i = 0;
        while i < places.len() {
            let (first, before) = (places[i], places[i] - 1);
            let begins = i == 0 || places[i - 1] != before;
            let run = places[i..].windows(2).take_while(|w| w[1] == w[0] + 1).count() + 1;
            let alone = !self.is_digits(ids[before]) && !self.points.contains(&ids[before]);
            let wanted = begins || self.term.tokens == NumberTokens::All && alone;
            match self.at(ids, first, first + run).filter(|_| wanted) {
                Some(found) => {
                    self.add(soft, &found, ids, (from + i, from + places.len()));
                    i += found.nodes.len() - 1;
                }
                None => i += 1,
            }
        }
    }

    /// Adds the rows of a number whose first token is target `target` of `targets`.
    fn add(
        &self,
        soft: &mut SoftTargets,
        found: &Found,
        ids: &[u32],
        (target, targets): (usize, usize),
    ) {
        let Found { first, nodes, value } = found;
        let width = self.term.width.of(*value);
        let end = ids.get(first + nodes.len() - 1).copied();
        for (i, &node) in nodes.iter().enumerate() {
            let label = ids.get(first + i).copied();
            let Some(label) = label.filter(|_| target + i < targets) else { break };
            let (shares, weight) = match self.term.loss {
                NumberLoss::Crps => (self.step(node, *value), self.term.weight / width),
                _ => (self.masses(node, *value, width, end), self.term.weight),
            };
            let sum: f64 = shares.values().sum();
            if shares.len() < 2 || !shares.contains_key(&label) || sum <= 0.0 {
                continue;
            }
            let ordered = self.in_order(node, shares);
            let keep = |(token, share): &(u32, f64)| {
                soft.ranked || *token == label || share / sum >= SMALLEST
            };
            let kept: Vec<(u32, f64)> = ordered.into_iter().filter(keep).collect();
            let sum: f64 = kept.iter().map(|(_, share)| share).sum();
            soft.entries.extend(kept.iter().map(|(token, share)| (*token, (share / sum) as f32)));
            let end = soft.entries.len();
            soft.rows.push(SoftRow { target: target + i, weight: weight as f32, end });
        }
    }

    /// By next token, the Gaussian's mass of all numbers that begin like a node; of the number that
    /// ends here, at the token that ends this one.
    fn masses(&self, node: usize, value: u32, width: f64, end: Option<u32>) -> BTreeMap<u32, f64> {
        let gauss = |number: u32| {
            let z = (f64::from(number) - f64::from(value)) / width;
            (-0.5 * z * z).exp()
        };
        let here = self.trie.node(node);
        let below = here.children.iter().map(|(&token, &child)| (token, self.below(child, &gauss)));
        let ends = here.price.zip(end).map(|(number, end)| (end, gauss(number)));
        below.chain(ends).collect()
    }

    fn below(&self, node: usize, gauss: &impl Fn(u32) -> f64) -> f64 {
        let node = self.trie.node(node);
        let deeper: f64 = node.children.values().map(|&child| self.below(child, gauss)).sum();
        node.price.map_or(0.0, gauss) + deeper
    }

    /// 1 at the token of the number itself.
    fn step(&self, node: usize, value: u32) -> BTreeMap<u32, f64> {
        let share =
            |&child: &usize| f64::from(u8::from(self.trie.node(child).price == Some(value)));
        self.trie.node(node).children.iter().map(|(&id, child)| (id, share(child))).collect()
    }

    /// Entries by the numbers that they stand for.
    fn in_order(&self, node: usize, shares: BTreeMap<u32, f64>) -> Vec<(u32, f64)> {
        let number = |token: &u32| {
            let child = self.trie.node(node).children.get(token);
            child.and_then(|&child| self.trie.node(child).price)
        };
        let mut ordered: Vec<(u32, f64)> = shares.into_iter().collect();
        ordered.sort_by_key(|(token, _)| number(token));
        ordered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Batch, Dataset, DatasetOptions};

    /// Every byte a token, or every number one.
    struct Letters {
        whole: bool,
    }
    impl Encode for Letters {
        fn encode(&self, text: &str) -> Result<Vec<u32>> {
            self.encode_inside(text)
        }
        fn encode_inside(&self, text: &str) -> Result<Vec<u32>> {
            let mut ids: Vec<u32> = Vec::new();
            let mut open = false;
            for byte in text.bytes() {
                let digit = byte.is_ascii_digit();
                let value = u32::from(byte.wrapping_sub(b'0'));
                match ids.last_mut() {
                    Some(last) if self.whole && open && digit && *last < 1100 => {
                        *last = 1000 + (*last - 1000) * 10 + value;
                    }
                    _ if self.whole && digit => ids.push(1000 + value),
                    _ => ids.push(byte.into()),
                }
                open = digit;
            }
            Ok(ids)
        }
        fn eos(&self) -> Option<u32> {
            Some(2)
        }
    }

    fn batch(whole: bool, completion: &str, term: NumberTerm) -> Result<Batch> {
        let row = format!("{{\"prompt\":\"Price is $\",\"completion\":\"{completion}\"}}");
        let options = DatasetOptions { numbers: Some(term), ..DatasetOptions::default() };
        let rows = Dataset::from_text("d", row.as_bytes(), &Letters { whole }, &options)?;
        Batch::new(&rows, &[0, 0])
    }

    fn term(loss: NumberLoss) -> NumberTerm {
        let (width, tokens) = (NumberWidth::Fixed(20.0), NumberTokens::First);
        NumberTerm { loss, weight: 0.5, width, tokens }
    }

    /// Target, entries.
    fn rows(batch: &Batch) -> Vec<(usize, Vec<(u32, f32)>)> {
        let mut from = 0;
        let row = |row: &SoftRow| {
            let entries = batch.soft.entries[from..row.end].to_vec();
            from = row.end;
            (row.target, entries)
        };
        batch.soft.rows.iter().map(row).collect()
    }

    #[test]
    fn a_number_of_one_token_has_a_gaussian_around_it() {
        let b = batch(true, "500.00", term(NumberLoss::Soft)).unwrap();
        let rows = rows(&b);
        // 500 . 00 EOS, twice.
        assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), [0, 4]);
        let of =
            |number: u32| rows[0].1.iter().find(|(token, _)| *token == 1000 + number).unwrap().1;
        assert!((rows[0].1.iter().map(|(_, q)| q).sum::<f32>() - 1.0).abs() < 1e-5);
        assert!((of(520) / of(500) - (-0.5f32).exp()).abs() < 1e-5 && of(490) == of(510));
        let entries = rows[0].1.len() as u32;
        assert!(entries < 240);
        assert_eq!(b.soft.ranges(8)[3..6], [entries, entries, 2 * entries]);
        assert_eq!(b.soft.weights(8)[..2], [0.5, 0.0]);
    }

    #[test]
    fn digits_have_the_mass_of_all_numbers_that_go_on_so() {
        let b = batch(false, "42.00", term(NumberLoss::Soft)).unwrap();
        let rows = rows(&b);
        let gauss = |n: u32| (-0.5 * ((f64::from(n) - 42.0) / 20.0).powi(2)).exp();
        let mass = |begins: &str| -> f64 {
            (0..1000).filter(|n: &u32| n.to_string().starts_with(begins)).map(gauss).sum()
        };
        // At `4`, at `2`, and at `.`, where 42 ends or goes on to 420 to 429.
        assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), [0, 1, 2, 6, 7, 8]);
        let share = |row: usize, token: u8| {
            rows[row]
                .1
                .iter()
                .find(|(id, _)| *id == u32::from(token))
                .map_or(0.0, |(_, q)| f64::from(*q))
        };
        assert!((share(0, b'4') - mass("4") / mass("")).abs() < 1e-5);
        assert!((share(0, b'3') - mass("3") / mass("")).abs() < 1e-5);
        assert!((share(1, b'1') - mass("41") / mass("4")).abs() < 1e-5);
        assert!((share(1, b'.') - gauss(4) / mass("4")).abs() < 1e-5);
        assert!((share(2, b'.') - 1.0).abs() < 1e-5);
    }

    #[test]
    fn scores_need_whole_numbers_and_have_a_step_over_all_of_them() {
        assert!(batch(false, "42.00", term(NumberLoss::Crps)).is_err());
        let b = batch(true, "42.00", term(NumberLoss::Crps)).unwrap();
        let rows = rows(&b);
        assert!(b.soft.ranked && rows.len() == 2 && rows[0].1.len() == 1000);
        assert!(rows[0].1.iter().enumerate().all(|(i, (token, _))| *token == 1000 + i as u32));
        assert_eq!(rows[0].1.iter().position(|(_, q)| *q == 1.0), Some(42));
        assert_eq!(b.soft.rows[0].weight, 0.5 / 20.0);
    }

    #[test]
    fn the_first_number_or_all_but_decimals_and_longer_ones() {
        let targets = |completion: &str, tokens| {
            let term = NumberTerm { tokens, ..term(NumberLoss::Soft) };
            let b = batch(true, completion, term).unwrap();
            let half = b.targets.len() / 2;
            rows(&b).into_iter().map(|row| row.0).filter(|t| *t < half).collect::<Vec<_>>()
        };
        assert_eq!(targets("7 or 8.50, 1299", NumberTokens::First), [0]);
        assert_eq!(targets("7 or 8.50, 1299", NumberTokens::All), [0, 5]);
        assert_eq!(targets("about 7", NumberTokens::First), [0usize; 0]);
        assert_eq!(targets("1299", NumberTokens::First), [0usize; 0]);
    }

    #[test]
    fn widths_are_dollars_or_per_cent() {
        let width = |text: &str| NumberWidth::try_from(text.to_owned());
        assert_eq!(width("30"), Ok(NumberWidth::Fixed(30.0)));
        assert_eq!(width("10%").map(|width| width.of(200)), Ok(20.0));
        assert_eq!(width("10%").map(String::from), Ok("10%".into()));
        assert!(width("wide").is_err());
    }
}
