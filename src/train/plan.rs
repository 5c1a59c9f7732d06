//! What a run needs before it begins: the largest pass, and whether activations are kept or recomputed.

use super::config::{Checkpointing, TrainConfig};
use crate::data::{Batch, Dataset};
use crate::format::{AdapterConfig, ModelConfig, TargetModules};
use crate::model::{Model, Module, Pass};
use crate::{Error, Result};

/// Activations up to this are kept in any case.
const KEEP_BYTES: u64 = 1 << 30;

impl TrainConfig {
    /// The adapter that these settings describe.
    pub fn adapter_config(&self) -> AdapterConfig {
        AdapterConfig {
            rank: self.rank,
            alpha: self.lora_alpha,
            dropout: self.lora_dropout,
            target_modules: TargetModules::Named(self.target_modules.names().to_vec()),
            use_rslora: self.use_rslora,
            use_dora: self.use_dora,
            base_model_name_or_path: Some(self.model.clone()),
            inference_mode: true,
        }
    }
}

/// The largest pass over batches of `batch_size` rows: every row as long as the longest, and the rows
/// with the most targets together.
pub fn largest_pass(rows: &Dataset, batch_size: usize) -> Pass {
    let batch = batch_size.min(rows.len()).max(1);
    let mut targets: Vec<usize> = rows.rows().map(|row| row.targets()).collect();
    targets.sort_unstable_by(|a, b| b.cmp(a));
    Pass {
        batch,
        queries: rows.rows().map(|row| row.ids.len()).max().unwrap_or(1),
        targets: targets[..batch.min(targets.len())].iter().sum::<usize>().max(1),
    }
}

/// A pass in which both fit.
pub fn union(a: Pass, b: Pass) -> Pass {
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

/// Bytes of all blocks' activations where none are recomputed.
pub fn activation_bytes(model: &ModelConfig, pass: Pass, rank: usize, use_dora: bool) -> u64 {
    let (q, kv) =
        (model.num_attention_heads * model.head_dim, model.num_key_value_heads * model.head_dim);
    let mut width = 3 * model.hidden_size + 2 * q + 2 * kv + 3 * model.intermediate_size;
    width += model.num_attention_heads + 2 + Module::ALL.len() * rank;
    if use_dora {
        width += Module::ALL.iter().map(|module| module.shape(model).0).sum::<usize>();
    }
    4 * (pass.rows() * model.num_hidden_layers) as u64 * width as u64
}

/// Whether activations are recomputed: as the settings say; `auto` does unless they are small, both
/// absolutely and for this device.
pub fn recompute(model: &Model, config: &TrainConfig, pass: Pass) -> bool {
    match config.gradient_checkpointing {
        Checkpointing::On => true,
        Checkpointing::Off => false,
        Checkpointing::Auto => {
            let bytes = activation_bytes(model.config(), pass, config.rank, config.use_dora);
            let device = model.gpu().memory_bytes().unwrap_or(u64::MAX);
            bytes >= KEEP_BYTES || bytes >= device / 4
        }
    }
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
        let rows = Dataset::jsonl_text("x", text, &Letters, DatasetOptions::default()).unwrap();
        assert_eq!(largest_pass(&rows, 2), Pass { batch: 2, queries: 9, targets: 7 });
        assert_eq!(largest_pass(&rows, 9), Pass { batch: 3, queries: 9, targets: 8 });
        let batches = evaluation_batches(&rows, 2, 0).unwrap();
        assert_eq!(batches.iter().map(|b| b.t).collect::<Vec<_>>(), [9, 3]);
    }
}
