//! What a model's frozen weights will take on a device, from its configuration, and from the types
//! of the checkpoint's tensors where there is one.

use std::ops::Range;

use super::plan::{Allocate, MemoryPlan, Purpose};
use super::slab::Layout;
use super::stats::STATS;
use super::weights::{LoadOptions, Quant};
use crate::format::Module;
use crate::format::{Checkpoint, DType, EMBED, HEAD, ModelConfig};
use crate::gpu::{SHARD_BYTES, SHARD_ROWS, Tensor};
use crate::kernels::{Dense, Kept};
use crate::{Error, Result};

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
    /// The weights of a model and what is allocated with them. Without a checkpoint, types are
    /// those that `config` names, BF16 if it names none.
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
        let (embed, head) = names(config, checkpoint)?;
        weights.dense(embed, v, d)?;
        for layer in 0..config.num_hidden_layers {
            weights.words("norms", d);
            weights.words("norms", d);
            let kept = of_each(|m| kept(config, checkpoint, &m.weight(layer), options.quant))?;
            Bank::of(kept, config).allocate(&mut weights.plan)?;
            for module in Module::ALL {
                if kept[module as usize].is_none() {
                    let (rows, cols) = module.shape(config);
                    weights.dense(&module.weight(layer), rows, cols)?;
                }
                if module.has_bias(config) {
                    weights.words("biases", module.shape(config).0);
                }
            }
        }
        weights.words("norms", d);
        if let Some(head) = head {
            weights.dense(head, v, d)?;
        }
        for table in ["cos", "sin"] {
            weights.words(table, options.max_positions * (config.head_dim / 2));
        }
        weights.words("stats", STATS);
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
        self.plan.count(Purpose::Weights, name, n);
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
}

/// The embedding and the head, if that is not the embedding.
fn names(
    config: &ModelConfig,
    checkpoint: Option<&Checkpoint>,
) -> Result<(&'static str, Option<&'static str>)> {
    match checkpoint {
        Some(checkpoint) => checkpoint.embedding_and_head(config),
        None => Ok((EMBED, (!config.tie_word_embeddings).then_some(HEAD))),
    }
}

/// How a linear layer is kept, unless as the checkpoint has it. Of a model that was stored
/// quantized the layers that were left as they were stay so.
pub(super) fn kept(
    config: &ModelConfig,
    checkpoint: Option<&Checkpoint>,
    name: &str,
    quant: Quant,
) -> Result<Option<Kept>> {
    let of = |double| if double { Kept::Nf4 } else { Kept::Nf4Single };
    if let Some(checkpoint) = checkpoint {
        let has = |suffix: &str| checkpoint.contains(&format!("{name}.{suffix}"));
        if has("quant_state.bitsandbytes__nf4") {
            return Ok(Some(of(has("nested_absmax"))));
        }
    }
    if let Some(quantization) = &config.quantization {
        if quantization.keeps(name.strip_suffix(".weight").unwrap_or(name)) {
            return Ok(None);
        }
        // Parts that are missing, and other formats, are told where the weight is read.
        let Some(checkpoint) = checkpoint else { return Ok(Some(of(quantization.double_quant))) };
        if dense(name, checkpoint.info(name)?.dtype).is_ok() {
            return Err(Error::Unsupported {
                what: format!(
                    "{}: `{name}` as plain numbers, which quantization_config says are in 4 bits,",
                    checkpoint.name()
                ),
                hint: "name the layer under llm_int8_skip_modules, or remove quantization_config from config.json if \
                       nothing is quantized"
                    .into(),
            });
        }
    }
    Ok(match quant {
        Quant::None => None,
        Quant::Nf4 => Some(Kept::Nf4),
        Quant::Nf4Single => Some(Kept::Nf4Single),
    })
}

/// One of each module, or the first error.
pub(super) fn of_each<T>(make: impl FnMut(Module) -> Result<T>) -> Result<[T; 7]> {
    let made = Module::ALL.into_iter().map(make).collect::<Result<Vec<T>>>()?;
    Ok(made.try_into().unwrap_or_else(|_| unreachable!("one for each module")))
}

/// Where a block's quantized matrices lie: the words of all of them one after the other, so that
/// products with several can be one dispatch. Codes, scales and nested scales apart; by number of
/// [`Module`].
pub(super) struct Bank {
    words: [[usize; 3]; 7],
    layouts: [Layout; 3],
}

impl Bank {
    /// Room for those that are kept so.
    pub(super) fn of(kept: [Option<Kept>; 7], config: &ModelConfig) -> Bank {
        let words = Module::ALL.map(|module| {
            let (rows, cols) = module.shape(config);
            kept[module as usize].map_or([0; 3], |kept| kept.words(rows, cols))
        });
        let layouts = [0, 1, 2].map(|i| Layout::of(words.map(|w| w[i]), SHARD_BYTES, 0));
        Bank { words, layouts }
    }

    /// The buffers of codes, scales and nested scales.
    pub(super) fn allocate<A: Allocate>(&self, a: &mut A) -> Result<[Vec<A::Tensor>; 3]> {
        let [codes, scales, nested] = &self.layouts;
        let mut of = |layout: &Layout| -> Result<Vec<A::Tensor>> {
            let slabs = layout.slabs().iter();
            slabs.map(|slab| a.words(Purpose::Weights, "4-bit weights", slab.len)).collect()
        };
        Ok([of(codes)?, of(scales)?, of(nested)?])
    }

    /// The room of one matrix; nothing for nested scales where it has none.
    pub(super) fn room(
        &self,
        buffers: &[Vec<Tensor>; 3],
        module: Module,
        name: &str,
    ) -> Result<Room> {
        let i = module as usize;
        let place = |kind: usize| match self.words[i][kind] {
            0 => Ok(None),
            n => self.layouts[kind].tensor(&buffers[kind], i, &[n], name).map(Some),
        };
        let missing = || Error::invalid(name, "has no room among the block's 4-bit weights");
        let (codes, scales, nested) = (place(0)?, place(1)?, place(2)?);
        let (codes, scales) = codes.zip(scales).ok_or_else(missing)?;
        Ok(Room { codes, scales, nested })
    }
}

/// Where a quantized matrix goes.
pub(super) struct Room {
    pub(super) codes: Tensor,
    pub(super) scales: Tensor,
    pub(super) nested: Option<Tensor>,
}
