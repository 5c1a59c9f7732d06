//! What a run's rows ask for: the adapter, the largest pass, the order of evaluation.

use super::config::TrainConfig;
use crate::data::{Batch, Dataset, TokenizedRow, packs};
use crate::format::{AdapterConfig, ModelConfig, TargetModules};
use crate::model::Pass;
use crate::{Error, Result};

impl TrainConfig {
    /// The adapter that these settings describe.
    pub fn adapter_config(&self) -> AdapterConfig {
        AdapterConfig {
            rank: self.rank,
            alpha: self.lora_alpha,
            dropout: self.lora_dropout,
            target_modules: TargetModules::Named(self.target_modules.names().to_vec()),
            rank_pattern: self.rank_pattern.clone(),
            alpha_pattern: self.alpha_pattern.clone(),
            layers_to_transform: self.layers_to_transform.clone(),
            use_rslora: self.use_rslora,
            use_dora: self.use_dora,
            base_model_name_or_path: Some(self.model.clone()),
            inference_mode: true,
        }
    }
}

/// The largest pass over batches of `batch_size` rows: every row as long as the longest, and the rows
/// with the most targets together.
fn largest_pass(rows: &Dataset, batch_size: usize) -> Pass {
    let batch = batch_size.min(rows.len()).max(1);
    let mut targets: Vec<usize> = rows.rows().map(|row| row.targets()).collect();
    targets.sort_unstable_by(|a, b| b.cmp(a));
    Pass {
        batch,
        queries: rows.rows().map(|row| row.ids.len()).max().unwrap_or(1),
        targets: targets[..batch.min(targets.len())].iter().sum::<usize>().max(1),
    }
}

/// The largest pass where nothing is known of the rows: all of them full, with loss on every token.
pub fn full_pass(config: &TrainConfig) -> Pass {
    let (batch, queries) = (config.batch_size, config.max_length);
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
    let of = |pack: &Vec<u32>, count: fn(TokenizedRow) -> usize| -> usize {
        pack.iter().filter_map(|&row| rows.get(row as usize)).map(count).sum()
    };
    let (mut most, mut targets) = (1, 1);
    for pack in packs(seed, &rows.lengths(), tokens) {
        most = most.max(of(&pack, |row| row.ids.len()));
        targets = targets.max(of(&pack, |row| row.targets()));
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

/// The rows in micro-batches of like length, to evaluate on: the order does not depend on a seed.
pub fn evaluation_batches(rows: &Dataset, batch_size: usize, pad: u32) -> Result<Vec<Batch>> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let lengths = rows.lengths();
    order.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));
    order.chunks(batch_size.max(1)).map(|rows_of| Batch::new(rows, rows_of, pad)).collect()
}

/// Refuses ids that the model does not have, by file and line.
pub fn check_vocabulary(rows: &Dataset, model: &ModelConfig) -> Result<()> {
    let outside = |id: &&u32| **id as usize >= model.vocab_size;
    for row in rows.rows() {
        if let Some(id) = row.ids.iter().find(outside) {
            let why = format!(
                "token id {id} is outside the model's vocabulary of {}; the tokenizer belongs to \
                 another model",
                model.vocab_size
            );
            return Err(Error::invalid(rows.origin(row.row), why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DatasetOptions, Encode};

    struct Letters;
    impl Encode for Letters {
        fn encode(&self, text: &str) -> Result<Vec<u32>> {
            Ok(text.bytes().map(u32::from).collect())
        }
        fn eos(&self) -> Option<u32> {
            None
        }
    }

    #[test]
    fn the_largest_pass_holds_every_batch() {
        let text = b"{\"text\": \"abcdef\"}\n{\"prompt\": \"abcdefgh\", \"completion\": \"i\"}\n{\"text\": \"abc\"}\n";
        let rows = Dataset::from_text("x", text, &Letters, &DatasetOptions::default()).unwrap();
        assert_eq!(largest_pass(&rows, 2), Pass { batch: 2, queries: 9, targets: 7 });
        assert_eq!(largest_pass(&rows, 9), Pass { batch: 3, queries: 9, targets: 8 });
        let batches = evaluation_batches(&rows, 2, 0).unwrap();
        assert_eq!(batches.iter().map(|b| b.t).collect::<Vec<_>>(), [9, 3]);
    }
}
