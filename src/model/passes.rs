//! Whole passes over the model: training, evaluation, logits, generation.

use super::block::{Block, DropoutKey, Keys};
use super::frame::Frame;
use super::kv_cache::KvCache;
use super::llama::Model;
use super::slots::{SlotCache, SlotRow};
use super::soft_rows::SoftRows;
use super::stats::STAT_LOSS;
use super::workspace::{AdapterShape, Extent, Keep, Pass, Workspace};
use crate::data::{Batch, Segment, Target};
use crate::gpu::{Recorder, Tensor};
use crate::kernels::{EmbedFwd, Storage};
use crate::{Error, Result};

impl Model {
    /// Positions that it was loaded for.
    pub fn max_positions(&self) -> usize {
        self.max_positions
    }

    fn adapter_shape(&self) -> AdapterShape {
        self.active_adapter().map_or(AdapterShape::default(), |a| AdapterShape {
            rank: a.largest_rank(),
            dora: a.config.use_dora,
            parted: a.config.use_dora && a.config.dropout > 0.0,
        })
    }

    /// Activations for passes of at most `largest`; with `keep` also for training.
    pub fn workspace(&self, largest: Pass, keep: Option<Keep>) -> Result<Workspace> {
        let (config, adapter) = (self.config.clone(), self.adapter_shape());
        Workspace::new(&self.gpu, Extent { config, largest, adapter, keep })
    }

    pub(super) fn block(&self, index: usize, dropout: Option<DropoutKey>) -> Block<'_> {
        Block { model: self, adapter: self.active_adapter(), index, dropout }
    }

    fn frame<'a>(&self, space: &'a Workspace, pass: Pass, training: bool) -> Result<Frame<'a>> {
        let shape = self.adapter_shape();
        if !space.fits(pass, shape, training) {
            let why = format!("is too small for {pass:?} with {shape:?}");
            return Err(Error::invalid("workspace", why));
        }
        space.frame(pass, shape.rank)
    }

    fn check_ids(&self, ids: &[u32], last_position: usize) -> Result<()> {
        let v = self.config.vocab_size;
        if let Some((i, id)) = ids.iter().enumerate().find(|(_, id)| **id as usize >= v) {
            let why = format!("id {id} at position {i} is outside the vocabulary of {v}");
            return Err(Error::invalid("token ids", why));
        }
        if last_position > self.max_positions {
            let why =
                format!("{last_position} tokens, the model was loaded for {}", self.max_positions);
            return Err(Error::invalid("sequence length", why));
        }
        Ok(())
    }

    /// Embeds the ids and runs all blocks.
    fn record_blocks(
        &self,
        rec: &mut Recorder,
        frame: &Frame,
        ids: &[u32],
        keys: Keys,
        dropout: Option<DropoutKey>,
    ) -> Result<()> {
        let positions: Vec<u32> = match keys {
            Keys::Listed(_, listed) => listed.positions.clone(),
            Keys::Segments(segments) | Keys::KeptSegments(_, segments) => {
                segments.iter().flat_map(Segment::positions).collect()
            }
            Keys::Own | Keys::Kept(_) | Keys::Cache(_) => {
                let start = if let Keys::Cache(cache) = keys { cache.length } else { 0 };
                (0..ids.len()).map(|i| (start + i % frame.pass.queries) as u32).collect()
            }
        };
        self.check_ids(ids, positions.iter().max().map_or(0, |&last| last as usize + 1))?;
        self.gpu.write_words(&frame.ids()?, 0, ids)?;
        self.gpu.write_words(&frame.positions()?, 0, &positions)?;
        let (ids, y) = (frame.ids()?, frame.hidden(0)?);
        for shard in &self.embed {
            let Storage::Dense(dtype) = shard.matrix.storage else { continue };
            rec.record(&EmbedFwd {
                ids: &ids,
                w: &shard.matrix.w,
                dtype,
                first_row: shard.first,
                rows: shard.matrix.rows,
                d: shard.matrix.cols,
                y: &y,
            })?;
        }
        (0..self.layers.len()).try_for_each(|index| {
            let block = self.block(index, dropout);
            block.forward(rec, frame, keys)?;
            block.store_halves(rec, frame)
        })
    }

    /// Which rows are targets, and of what.
    fn write_targets(&self, frame: &Frame, targets: &[Target]) -> Result<()> {
        let (rows, labels): (Vec<u32>, Vec<u32>) =
            targets.iter().map(|target| (target.row, target.label)).unzip();
        let head = frame.head()?;
        self.gpu.write_words(&head.targets, 0, &rows)?;
        self.gpu.write_words(&head.labels, 0, &labels)?;
        let mut inverse = vec![u32::MAX; frame.pass.rows()];
        for (i, &row) in rows.iter().enumerate() {
            inverse[row as usize] = i as u32;
        }
        self.gpu.write_words(&frame.inverse()?, 0, &inverse)
    }

    /// Where statistics of a window gather: `[norm, clip coefficient, ΣNLL, …]`.
    pub(crate) fn stats(&self) -> &Tensor {
        &self.stats
    }

    /// Forward and backward of one micro-batch: adds ΣNLL to the statistics and the gradients of
    /// `scale · ΣNLL` to the adapter's; with `soft`, NLL and what its rows add to it.
    pub(crate) fn micro_batch(
        &self,
        space: &Workspace,
        batch: &Batch,
        scale: f32,
        dropout: Option<DropoutKey>,
        soft: Option<&SoftRows>,
    ) -> Result<()> {
        let Batch { ids, segments, targets, .. } = batch;
        if targets.is_empty() {
            return Ok(());
        }
        let pass = Pass { batch: 1, queries: ids.len(), targets: targets.len() };
        let frame = self.frame(space, pass, true)?;
        let mut rec = self.gpu.recorder("training step");
        self.write_targets(&frame, targets)?;
        let keys = Keys::Segments(segments);
        self.record_blocks(&mut rec, &frame, ids, keys, dropout)?;
        self.record_loss(&mut rec, &frame, (&self.stats, STAT_LOSS), Some((scale, soft)))?;
        let lowest = self.adapter()?.pairs.keys().map(|(layer, _)| *layer).min().unwrap_or(0);
        for index in (lowest..self.layers.len()).rev() {
            let block = self.block(index, dropout);
            if space.recomputes() && index + 1 < self.layers.len() {
                block.forward(&mut rec, &frame, keys)?;
            }
            block.load_halves(&mut rec, &frame)?;
            block.backward(&mut rec, &frame, segments, index > lowest)?;
        }
        rec.submit()
    }

    /// NLL of every target of a batch, in the order of `targets`.
    pub async fn token_nll(&self, space: &Workspace, batch: &Batch) -> Result<Vec<f32>> {
        let Batch { ids, segments, targets, .. } = batch;
        if targets.is_empty() {
            return Ok(Vec::new());
        }
        let pass = Pass { batch: 1, queries: ids.len(), targets: targets.len() };
        let frame = self.frame(space, pass, false)?;
        let mut rec = self.gpu.recorder("evaluation");
        self.write_targets(&frame, targets)?;
        self.record_blocks(&mut rec, &frame, ids, Keys::Segments(segments), None)?;
        let scratch = self.gpu.zeros("evaluation loss", &[8])?;
        self.record_loss(&mut rec, &frame, (&scratch, STAT_LOSS), None)?;
        rec.submit()?;
        self.gpu.read(&frame.head()?.nll).await
    }

    /// Logits `(rows, V)` at the given rows of `ids (B, T)`, without a cache.
    pub async fn logits(
        &self,
        space: &Workspace,
        ids: &[u32],
        batch: usize,
        rows: &[u32],
    ) -> Result<Vec<f32>> {
        self.pass_logits(space, ids, batch, rows, Keys::Own).await
    }

    /// Runs new tokens `ids (B, T)` behind those in the cache and returns the logits `(B, V)` after
    /// the last of each sequence.
    pub async fn extend(
        &self,
        space: &Workspace,
        cache: &mut KvCache,
        ids: &[u32],
    ) -> Result<Vec<f32>> {
        let t = ids.len() / cache.batch.max(1);
        if cache.length + t > cache.capacity {
            let why =
                format!("{} tokens, the cache has room for {}", cache.length + t, cache.capacity);
            return Err(Error::invalid("sequence length", why));
        }
        let last: Vec<u32> = (0..cache.batch).map(|b| ((b + 1) * t - 1) as u32).collect();
        let logits = self.pass_logits(space, ids, cache.batch, &last, Keys::Cache(cache)).await?;
        cache.length += t;
        Ok(logits)
    }

    /// Runs prompts `ids (B, T)`, padded on the right to the longest, and returns the logits
    /// `(B, V)` at `last`, the row of each prompt's last token. Token `t` of prompt `b` lies in
    /// slot `used + b·T + t` afterwards.
    ///
    /// **Errors** [`Error::Invalid`] where the slots, the workspace or the positions do not
    /// suffice.
    pub async fn prefill_slots(
        &self,
        space: &Workspace,
        slots: &mut SlotCache,
        ids: &[u32],
        last: &[u32],
    ) -> Result<Vec<f32>> {
        slots.reserve(ids.len())?;
        let logits = self.pass_logits(space, ids, last.len(), last, Keys::Kept(slots)).await?;
        slots.used += ids.len();
        Ok(logits)
    }

    /// Runs prompts end to end, `ids (N)` in `segments` as in a [`Batch`], and returns the logits
    /// `(B, V)` after the last token of each. Row `i` lies in slot `used + i` afterwards.
    ///
    /// **Errors** as [`Model::prefill_slots`].
    pub async fn prefill_segments(
        &self,
        space: &Workspace,
        slots: &mut SlotCache,
        ids: &[u32],
        segments: &[Segment],
    ) -> Result<Vec<f32>> {
        slots.reserve(ids.len())?;
        let ends = |s: &Segment| {
            let (first, length) = (s.first, s.length);
            (1..=s.sequences).map(move |i| (first + i * length - 1) as u32)
        };
        let last: Vec<u32> = segments.iter().flat_map(ends).collect();
        let keys = Keys::KeptSegments(slots, segments);
        let logits = self.pass_logits(space, ids, 1, &last, keys).await?;
        slots.used += ids.len();
        Ok(logits)
    }

    /// Runs one token per row behind those that it names, and returns the logits `(N, V)` after
    /// each. Row `i` lies in slot `used + i` afterwards.
    ///
    /// **Errors** [`Error::Invalid`] for a slot that is not in use, or where slots, workspace or
    /// positions do not suffice.
    pub async fn extend_slots(
        &self,
        space: &Workspace,
        slots: &mut SlotCache,
        rows: &[SlotRow],
    ) -> Result<Vec<f32>> {
        let all: Vec<u32> = (0..rows.len() as u32).collect();
        self.extend_slots_to(space, slots, rows, &all).await
    }

    /// [`Model::extend_slots`], with the logits `(B, V)` after the rows that `wanted` names:
    /// prompts whose beginning lies in slots.
    ///
    /// **Errors** as [`Model::extend_slots`].
    pub async fn extend_slots_to(
        &self,
        space: &Workspace,
        slots: &mut SlotCache,
        rows: &[SlotRow],
        wanted: &[u32],
    ) -> Result<Vec<f32>> {
        slots.reserve(rows.len())?;
        let listed = slots.list(self.gpu(), rows)?;
        let ids: Vec<u32> = rows.iter().map(|row| row.id).collect();
        let keys = Keys::Listed(slots, &listed);
        let logits = self.pass_logits(space, &ids, rows.len(), wanted, keys).await?;
        slots.used += rows.len();
        Ok(logits)
    }

    async fn pass_logits(
        &self,
        space: &Workspace,
        ids: &[u32],
        batch: usize,
        rows: &[u32],
        keys: Keys<'_>,
    ) -> Result<Vec<f32>> {
        if ids.is_empty() || batch == 0 || !ids.len().is_multiple_of(batch) {
            let why = format!("{} ids in {batch} sequences", ids.len());
            return Err(Error::invalid("token ids", why));
        }
        let pass = Pass { batch, queries: ids.len() / batch, targets: rows.len() };
        let frame = self.frame(space, pass, false)?;
        let targets: Vec<Target> = rows.iter().map(|&row| Target { row, label: 0 }).collect();
        let mut rec = self.gpu.recorder("forward");
        self.write_targets(&frame, &targets)?;
        self.record_blocks(&mut rec, &frame, ids, keys, None)?;
        self.read_logits(rec, &frame).await
    }

    /// The hidden state behind block `layers - 1`, `(B·T, D)`; for comparisons.
    pub async fn hidden_after(
        &self,
        space: &Workspace,
        ids: &[u32],
        batch: usize,
        layers: usize,
    ) -> Result<Vec<f32>> {
        let pass = Pass { batch, queries: ids.len() / batch.max(1), targets: 1 };
        let frame = self.frame(space, pass, true)?.of_all_rows();
        let mut rec = self.gpu.recorder("forward");
        self.record_blocks(&mut rec, &frame, ids, Keys::Own, None)?;
        rec.submit()?;
        self.gpu.read(&frame.hidden(layers)?).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Checkpoint, ModelConfig};
    use crate::gpu::{Gpu, GpuOptions};
    use crate::model::{LoadOptions, Quant};
    use pollster::block_on;

    /// As in passes so large that no binding reaches over all three.
    #[test]
    fn queries_keys_and_values_in_buffers_of_their_own_give_the_same_logits() -> Result<()> {
        let adapter = std::env::var("WGPU_LORA_DEVICE").ok();
        let gpu = block_on(Gpu::with(GpuOptions { adapter, ..Default::default() }))?;
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/model/tiny_a");
        let (checkpoint, config) = (Checkpoint::open(folder)?, ModelConfig::from_dir(folder)?);
        let options = LoadOptions { quant: Quant::Nf4, max_positions: 8 };
        let model = block_on(Model::load(&gpu, &checkpoint, &config, options, &mut |_, _| {}))?;
        let logits = |apart: bool| -> Result<Vec<f32>> {
            let pass = Pass { batch: 2, queries: 5, targets: 2 };
            let mut space = model.workspace(pass, None)?;
            let a = &mut space.parts.layers[0];
            if apart {
                for t in [&mut a.q, &mut a.k, &mut a.v] {
                    *t = gpu.zeros(t.name(), t.dims())?;
                }
            }
            assert_eq!(a.k.words_behind(&a.q).is_none(), apart);
            let mut cache = KvCache::new(&gpu, &config, 2, 8)?;
            let mut all =
                block_on(model.extend(&space, &mut cache, &[3, 1, 4, 1, 5, 9, 2, 6, 5, 3]))?;
            all.extend(block_on(model.extend(&space, &mut cache, &[5, 8]))?);
            all.extend(block_on(model.extend(&space, &mut cache, &[9, 7]))?);
            Ok(all)
        };
        let (together, apart) = (logits(false)?, logits(true)?);
        let largest = together.iter().fold(0f32, |most, v| most.max(v.abs()));
        let gaps = together.iter().zip(&apart).map(|(a, b)| (a - b).abs());
        let gap = gaps.fold(0f32, f32::max);
        assert!(largest > 0.1 && gap <= 5e-5 * largest, "{gap} of {largest}");
        Ok(())
    }
}
