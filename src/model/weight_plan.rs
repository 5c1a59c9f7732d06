//! What a model's frozen weights will take on a device, from its configuration, and from the types of
//! the checkpoint's tensors where there is one.

use std::ops::Range;

use super::load::{LoadOptions, Quant};
use super::module::Module;
use super::plan::{MemoryPlan, Part};
use crate::format::{Checkpoint, DType, ModelConfig};
use crate::gpu::{SHARD_BYTES, SHARD_ROWS};
use crate::kernels::{Dense, Kept};
use crate::{Error, Result};

/// Where a checkpoint's embedding is.
pub(super) const EMBED: &str = "model.embed_tokens.weight";
/// Where its head is, unless that is the embedding.
pub(super) const HEAD: &str = "lm_head.weight";

/// The storage of a plain tensor. **Errors** [`Error::Unsupported`].
pub(super) fn dense(name: &str, dtype: DType) -> Result<Dense> {
    match dtype {
        DType::F32 => Ok(Dense::F32),
        DType::F16 => Ok(Dense::F16),
        DType::BF16 => Ok(Dense::BF16),
        other => Err(Error::Unsupported {
            what: format!("tensor `{name}` of type {other:?}"),
            hint: "weights are F32, F16, BF16, or bitsandbytes NF4".into(),
        }),
    }
}

/// The rows of a dense matrix in ranges that fit a binding and a dispatch. **Errors**
/// [`Error::OutOfMemory`] if two rows do not.
pub(super) fn row_shards(
    name: &str,
    rows: usize,
    cols: usize,
    dense: Dense,
) -> Result<Vec<Range<usize>>> {
    let row = cols * dense.bytes();
    // An even number of rows keeps every shard's first element at a word.
    let most = (SHARD_BYTES as usize / row.max(1)).min(SHARD_ROWS) / 2 * 2;
    if most == 0 {
        return Err(Error::OutOfMemory {
            what: format!("two rows of `{name}`"),
            needed_bytes: 2 * row as u64,
            limit_bytes: SHARD_BYTES,
            hint: "This model's rows are too long".into(),
        });
    }
    Ok((0..rows).step_by(most).map(|first| first..rows.min(first + most)).collect())
}

impl MemoryPlan {
    /// The weights of a model and what is allocated with them. Without a checkpoint, types are those
    /// that `config` names, BF16 if it names none.
    ///
    /// **Errors** [`Error::MissingTensor`] and [`Error::Unsupported`] for the checkpoint.
    pub fn weights(
        config: &ModelConfig,
        checkpoint: Option<&Checkpoint>,
        options: LoadOptions,
    ) -> Result<MemoryPlan> {
        let mut weights = Weights { plan: MemoryPlan::default(), config, checkpoint };
        let (d, v) = (config.hidden_size, config.vocab_size);
        weights.words("scale values", 256);
        weights.dense(EMBED, v, d)?;
        for layer in 0..config.num_hidden_layers {
            weights.words("norms", d);
            weights.words("norms", d);
            for module in Module::ALL {
                weights.linear(layer, module, options.quant)?;
                if module.has_bias(config) {
                    weights.words("biases", module.shape(config).0);
                }
            }
        }
        weights.words("norms", d);
        if !config.tie_word_embeddings {
            weights.dense(HEAD, v, d)?;
        }
        for table in ["cos", "sin"] {
            weights.words(table, options.max_positions * (config.head_dim / 2));
        }
        weights.words("stats", super::llama::STATS);
        Ok(weights.plan)
    }
}

struct Weights<'a> {
    plan: MemoryPlan,
    config: &'a ModelConfig,
    checkpoint: Option<&'a Checkpoint>,
}

impl Weights<'_> {
    fn words(&mut self, name: &str, n: usize) {
        self.plan.count(Part::Weights, name, n);
    }

    fn dense_of(&self, name: &str) -> Result<Dense> {
        match self.checkpoint {
            Some(checkpoint) => dense(name, checkpoint.info(name)?.dtype),
            None => dense(name, self.config.dtype.unwrap_or(DType::BF16)),
        }
    }

    fn dense(&mut self, name: &str, rows: usize, cols: usize) -> Result<()> {
        let kept = self.dense_of(name)?;
        for range in row_shards(name, rows, cols, kept)? {
            self.words(name, Kept::Dense(kept).words(range.len(), cols)[0]);
        }
        Ok(())
    }

    /// How the checkpoint has a layer quantized, if it has.
    fn prequantized(&self, name: &str) -> Option<Kept> {
        let double = match self.checkpoint {
            Some(checkpoint) => {
                let has = |suffix: &str| checkpoint.contains(&format!("{name}.{suffix}"));
                has("quant_state.bitsandbytes__nf4").then(|| has("nested_absmax"))?
            }
            None => {
                let quantization = self.config.quantization.as_ref()?;
                let left = |module: &String| name.contains(module.as_str());
                (!quantization.skip_modules.iter().any(left))
                    .then_some(quantization.double_quant)?
            }
        };
        Some(if double { Kept::Nf4 } else { Kept::Nf4Single })
    }

    fn linear(&mut self, layer: usize, module: Module, quant: Quant) -> Result<()> {
        let name = format!("{}.weight", module.path(layer));
        let (rows, cols) = module.shape(self.config);
        let kept = match (self.prequantized(&name), quant) {
            (Some(kept), _) => kept,
            (None, Quant::None) => return self.dense(&name, rows, cols),
            (None, Quant::Nf4) => Kept::Nf4,
            (None, Quant::Nf4Single) => Kept::Nf4Single,
        };
        for words in kept.words(rows, cols).into_iter().filter(|&words| words > 0) {
            self.words(&name, words);
        }
        Ok(())
    }
}
