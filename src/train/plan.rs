//! What a run's rows ask for: the adapter, the largest pass, the order of evaluation.

use super::config::TrainConfig;
use crate::data::{Batch, Dataset, packs};
use crate::format::{AdapterConfig, ModelConfig};
use crate::model::Pass;
use crate::{Error, Result};

impl TrainConfig {
    /// The adapter that these settings describe.
    pub fn adapter_config(&self) -> AdapterConfig {
        AdapterConfig {
            rank: self.rank,
            alpha: self.lora_alpha,
            dropout: self.lora_dropout,
            target_modules: self.target_modules.clone(),
            rank_pattern: self.rank_pattern.clone(),
            alpha_pattern: self.alpha_pattern.clone(),
            layers_to_transform: self.layers_to_transform.clone(),
            use_rslora: self.use_rslora,
            use_dora: self.use_dora,
            base_model_name_or_path: Some(self.model.clone()),
            ..AdapterConfig::default()
        }
    }
}

/// The largest micro-batch of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargestBatch {
    /// Its pass.
    pub pass: Pass,
    /// Entries of its soft targets.
    pub soft_entries: usize,
}

/// Without soft targets.
impl From<Pass> for LargestBatch {
    fn from(pass: Pass) -> LargestBatch {
        LargestBatch { pass, soft_entries: 0 }
    }
}

impl LargestBatch {
    /// Of training and evaluation rows.
    pub fn of(rows: &Dataset, held_out: Option<&Dataset>, config: &TrainConfig) -> LargestBatch {
        let entries = rows.soft_entries();
        let sum = |rows: &[u32]| rows.iter().map(|&n| n as usize).sum::<usize>();
        let soft_entries = match config.loader_options().pack_tokens {
            _ if entries.is_empty() => 0,
            0 => {
                let mut most = entries.to_vec();
                most.sort_unstable_by(|a, b| b.cmp(a));
                sum(&most[..config.batch_size.min(most.len())])
            }
            tokens => {
                let of = |&row: &u32| entries[row as usize] as usize;
                let packs = packs(config.seed, &rows.lengths(), tokens);
                packs.iter().map(|pack| pack.iter().map(of).sum()).max().unwrap_or(0)
            }
        };
        LargestBatch { pass: pass_of(rows, held_out, config), soft_entries }
    }
}

/// The largest pass over batches of `batch_size` rows: every row as long as the longest, and the
/// rows with the most targets together.
fn largest_pass(rows: &Dataset, batch_size: usize) -> Pass {
    let batch = batch_size.min(rows.len()).max(1);
    let mut targets: Vec<usize> = rows.targets().collect();
    targets.sort_unstable_by(|a, b| b.cmp(a));
    Pass {
        batch,
        queries: rows.lengths().into_iter().max().unwrap_or(1) as usize,
        targets: targets[..batch.min(targets.len())].iter().sum::<usize>().max(1),
    }
}

/// The largest pass where nothing is known of the rows: all of them full, with loss on every token.
pub fn full_pass(config: &TrainConfig) -> Pass {
    let (batch, queries) = (config.batch_size, config.row_length());
    Pass { batch, queries, targets: batch * (queries - 1) }
}

/// The largest pass over training and evaluation rows.
pub fn pass_of(rows: &Dataset, held_out: Option<&Dataset>, config: &TrainConfig) -> Pass {
    let batch_size = config.batch_size;
    let pass = match config.loader_options().pack_tokens {
        0 => largest_pass(rows, batch_size),
        tokens => largest_pack(rows, config.seed, tokens, batch_size),
    };
    held_out.map_or(pass, |data| union(pass, largest_pass(data, batch_size)))
}

/// The largest pass over packs, as rows of a batch of `batch_size`.
fn largest_pack(rows: &Dataset, seed: u64, tokens: usize, batch_size: usize) -> Pass {
    let (lengths, counts) = (rows.lengths(), Vec::from_iter(rows.targets()));
    let (mut most, mut targets) = (1, 1);
    for pack in packs(seed, &lengths, tokens) {
        let in_pack = || pack.iter().map(|&row| row as usize);
        most = most.max(in_pack().map(|row| lengths[row] as usize).sum());
        targets = targets.max(in_pack().map(|row| counts[row]).sum());
    }
    Pass { batch: batch_size, queries: most.div_ceil(batch_size), targets }
}

/// A pass in which both fit.
fn union(a: Pass, b: Pass) -> Pass {
    Pass {
        batch: a.batch.max(b.batch),
        queries: a.queries.max(b.queries),
        targets: a.targets.max(b.targets),
    }
}

/// The order of evaluation: rows of like length side by side. It does not depend on a seed.
pub fn evaluation_order(rows: &Dataset) -> Vec<u32> {
    let lengths = rows.lengths();
    let mut order: Vec<u32> =
        (0..lengths.len()).map(|i| u32::try_from(i).unwrap_or(u32::MAX)).collect();
    order.sort_by_key(|&row| std::cmp::Reverse(lengths[row as usize]));
    order
}

/// Some rows of [`evaluation_order`] as a micro-batch.
pub fn evaluation_batch(rows: &Dataset, some: &[u32]) -> Result<Batch> {
    Batch::new(rows, &Vec::from_iter(some.iter().map(|&row| row as usize)))
}

/// Refuses ids that the model does not have, by file and line.
pub fn check_vocabulary(rows: &Dataset, model: &ModelConfig) -> Result<()> {
    match rows.largest_id() {
        Some((id, row)) if id as usize >= model.vocab_size => {
            let why = format!(
                "token id {id} is outside the model's vocabulary of {}; the tokenizer belongs to \
                 another model",
                model.vocab_size
            );
            Err(Error::invalid(rows.origin(row), why))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DatasetOptions, Encode, NumberLoss, NumberTerm, NumberTokens, NumberWidth};

    struct Letters;
    impl Encode for Letters {
        fn encode(&self, text: &str) -> Result<Vec<u32>> {
            Ok(text.bytes().map(u32::from).collect())
        }
        fn encode_inside(&self, text: &str) -> Result<Vec<u32>> {
            self.encode(text)
        }
        fn eos(&self) -> Option<u32> {
            None
        }
    }

    #[test]
    fn soft_targets_are_those_of_the_batch_that_has_most() {
        let row = |price| format!("{{\"prompt\": \"Price is $\", \"completion\": \"{price}\"}}\n");
        let text: String = ["7", "250", "no number", "999"].map(row).concat();
        let term = NumberTerm {
            loss: NumberLoss::Soft,
            weight: 0.5,
            width: NumberWidth::Fixed(30.0),
            tokens: NumberTokens::First,
        };
        let options = DatasetOptions { numbers: Some(term), ..DatasetOptions::default() };
        let open = || Dataset::from_text("x", text.as_bytes(), &Letters, &options).unwrap();
        let entries =
            |rows: &Dataset, some: &[usize]| Batch::new(rows, some).unwrap().soft.entries.len();
        let rows = open();
        for batch_size in 1..=4 {
            let config = TrainConfig { batch_size, ..TrainConfig::default() };
            let largest = LargestBatch::of(&rows, None, &config).soft_entries;
            let singles = (0..4).map(|row| entries(&rows, &[row]));
            let mut singles = Vec::from_iter(singles);
            singles.sort_unstable();
            assert_eq!(largest, singles.iter().rev().take(batch_size).sum::<usize>());
            assert!(largest > 0);
        }
        // Rows that are held out leave numbers judged in the others.
        let (training, held_out) = open().split(0.25, 1).unwrap();
        let of = |part: &Dataset| (0..part.len()).map(|row| entries(part, &[row])).sum::<usize>();
        assert_eq!(of(&training) + of(&held_out), entries(&rows, &[0, 1, 2, 3]));
    }

    #[test]
    fn the_largest_pass_holds_every_batch() {
        let text = b"{\"text\": \"abcdef\"}\n{\"prompt\": \"abcdefgh\", \"completion\": \"i\"}\n{\"text\": \"abc\"}\n";
        let rows = Dataset::from_text("x", text, &Letters, &DatasetOptions::default()).unwrap();
        assert_eq!(largest_pass(&rows, 2), Pass { batch: 2, queries: 9, targets: 7 });
        assert_eq!(largest_pass(&rows, 9), Pass { batch: 3, queries: 9, targets: 8 });
        let order = evaluation_order(&rows);
        let batches = order.chunks(2).map(|some| evaluation_batch(&rows, some).unwrap());
        assert_eq!(batches.map(|b| b.segments[0].length).collect::<Vec<_>>(), [9, 3]);
    }
}
