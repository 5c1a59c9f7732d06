//! Keys and values in slots, one token each: sequences of different lengths, and branches of one
//! sequence, go through the model in one pass without being padded or copied.

use crate::format::ModelConfig;
use crate::gpu::{Elem, Gpu, Recorder, Tensor};
use crate::kernels::{CopyRows, GatherShape};
use crate::{Error, Result};

/// A pool of slots; a token's key and value per layer lie in one, `(C, G·E)` each.
pub struct SlotCache {
    pub(super) layers: Vec<(Tensor, Tensor)>,
    capacity: usize,
    pub(super) used: usize,
    /// Lists of the last pass, `(N·S)` words.
    index: Option<Tensor>,
}

/// A token to run behind others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotRow {
    /// The token.
    pub id: u32,
    /// Its position in its sequence, from 0.
    pub position: u32,
    /// Slots of the tokens before it, in any order, those of rows before it in its pass too; its
    /// own is added by the pass.
    pub before: Vec<u32>,
}

/// The rows of a pass: their positions, and the slots that each attends to.
pub(super) struct Listed {
    pub(super) positions: Vec<u32>,
    /// `(N, S)` words.
    pub(super) index: Tensor,
}

impl SlotCache {
    /// An empty pool. **Errors** [`Error::OutOfMemory`].
    pub fn new(gpu: &Gpu, config: &ModelConfig, capacity: usize) -> Result<SlotCache> {
        let dims = [capacity, config.num_key_value_heads * config.head_dim];
        let pair =
            |_| Ok((gpu.zeros("keys of slots", &dims)?, gpu.zeros("values of slots", &dims)?));
        let layers = (0..config.num_hidden_layers).map(pair).collect::<Result<_>>()?;
        Ok(SlotCache { layers, capacity, used: 0, index: None })
    }

    /// Slots in use: the next pass's tokens get the numbers from here on.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Slots in all.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Frees the slots from `used` on.
    pub fn truncate(&mut self, used: usize) {
        self.used = self.used.min(used);
    }

    pub(super) fn reserve(&self, tokens: usize) -> Result<()> {
        if self.used + tokens <= self.capacity {
            return Ok(());
        }
        let why = format!("{} tokens, there are {} slots", self.used + tokens, self.capacity);
        Err(Error::invalid("slots", why))
    }

    /// Copies a pass's keys and values behind the slots in use.
    pub(super) fn record_copy(
        &self,
        rec: &mut Recorder,
        layer: usize,
        k: &Tensor,
        v: &Tensor,
    ) -> Result<()> {
        let (keys, values) = &self.layers[layer];
        for (x, y) in [(k, keys), (v, values)] {
            rec.record(&CopyRows {
                x,
                y,
                rows: x.dim(0),
                stride: self.capacity,
                first: self.used,
            })?;
        }
        Ok(())
    }

    pub(super) fn shape(&self, config: &ModelConfig, listed: &Listed) -> GatherShape {
        GatherShape {
            rows: listed.index.dim(0),
            listed: listed.index.dim(1),
            slots: self.capacity,
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
        }
    }

    pub(super) fn list(&mut self, gpu: &Gpu, rows: &[SlotRow]) -> Result<Listed> {
        let longest = rows.iter().map(|row| row.before.len()).max().unwrap_or(0) + 1;
        let mut words = vec![u32::MAX; rows.len() * longest];
        for (i, (row, list)) in rows.iter().zip(words.chunks_exact_mut(longest)).enumerate() {
            let there = self.used + i;
            if let Some(slot) = row.before.iter().find(|&&slot| slot as usize >= there) {
                let why = format!("row {i} names slot {slot}, {there} are in use");
                return Err(Error::invalid("slots", why));
            }
            list[..row.before.len()].copy_from_slice(&row.before);
            list[row.before.len()] = (self.used + i) as u32;
        }
        let index = match self.index.take().filter(|index| index.len() >= words.len()) {
            Some(index) => index,
            None => gpu.tensor("slots of rows", &[words.len().next_power_of_two()], Elem::U32)?,
        };
        let view = index.view(&[rows.len(), longest])?;
        self.index = Some(index);
        gpu.write_words(&view, 0, &words)?;
        Ok(Listed { positions: rows.iter().map(|row| row.position).collect(), index: view })
    }
}
