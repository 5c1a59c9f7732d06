//! Final norm, head and loss, at the target positions only and a chunk of them at a time: a full
//! tensor of logits never exists.

use super::frame::Frame;
use super::llama::Model;
use super::soft_rows::SoftRows;
use super::weights::Shard;
use crate::Result;
use crate::gpu::{Recorder, Tensor};
use crate::kernels::{
    CrossEntropyFused, GatherRows, LinearBwd, LinearFwd, ReduceSum, RmsNormBwd, RmsNormFwd,
};

impl Model {
    /// Hidden states of the targets, normed: `head.h (L, D)`.
    fn head_input(&self, rec: &mut Recorder, frame: &Frame) -> Result<()> {
        let head = frame.head()?;
        if frame.selected().is_none() {
            let last = frame.hidden(self.layers.len())?;
            rec.record(&GatherRows { x: &last, index: &head.targets, y: &head.x })?;
        }
        let eps = self.config.rms_norm_eps;
        rec.record(&RmsNormFwd { x: &head.x, w: &self.norm, eps, y: &head.h, rstd: &head.rstd })
    }

    /// Adds the NLL of all targets to `stats[slot]`; with `gradient` also writes `dx`, the gradient
    /// of `scale · ΣNLL` by the last hidden state: at the targets, where the last block needs no
    /// other rows.
    pub(super) fn record_loss(
        &self,
        rec: &mut Recorder,
        frame: &Frame,
        stats: (&Tensor, usize),
        gradient: Option<(f32, Option<&SoftRows>)>,
    ) -> Result<()> {
        self.head_input(rec, frame)?;
        let head = frame.head()?;
        let loss = HeadLoss {
            h: &head.h,
            labels: &head.labels,
            logits: &head.logits,
            nll: &head.nll,
            gradient: gradient.map(|(scale, _)| (scale, &head.dh)),
            soft: gradient.and_then(|(_, soft)| soft),
            half: self.half(),
        };
        loss.record(rec, self.head_shards())?;
        rec.record(&ReduceSum { x: &head.nll, y: stats.0, slot: stats.1 })?;
        if gradient.is_none() {
            return Ok(());
        }
        rec.record(&RmsNormBwd {
            x: &head.x,
            w: &self.norm,
            rstd: &head.rstd,
            dy: &head.dh,
            dx: &head.dx,
            accumulate: false,
        })?;
        if frame.selected().is_some() {
            return Ok(());
        }
        let dx = frame.backward(self.layers.len() - 1)?.dx;
        rec.record(&GatherRows { x: &head.dx, index: &frame.inverse()?, y: &dx })
    }

    /// Logits of all targets, read back chunk by chunk: `L · V` values.
    pub(super) async fn read_logits(
        &self,
        mut rec: Recorder,
        frame: &Frame<'_>,
    ) -> Result<Vec<f32>> {
        self.head_input(&mut rec, frame)?;
        let (head, d, v) = (frame.head()?, self.config.hidden_size, self.config.vocab_size);
        let mut out = Vec::with_capacity(head.h.dim(0) * v);
        for (first, count) in chunks(&head.h, &head.logits) {
            let logits = head.logits.view(&[count, v])?;
            let h = head.h.slice(first * d, &[count, d], "h")?;
            head_logits(&mut rec, self.head_shards(), &h, &logits, self.half())?;
            rec.submit()?;
            out.extend(self.gpu.read(&logits).await?);
        }
        Ok(out)
    }
}

/// Chunks of the rows of `h` that one tensor of logits serves: `(first, count)`. Each starts at a
/// multiple of 64, so that slices are aligned whatever their width.
fn chunks(h: &Tensor, logits: &Tensor) -> impl Iterator<Item = (usize, usize)> + use<> {
    let (rows, most) = (h.dim(0), (logits.dim(0) / 64 * 64).max(64));
    (0..rows).step_by(most).map(move |first| (first, most.min(rows - first)))
}

/// The head's rows, for several tiles of `h` on software adapters a band at a time, which all of
/// them find in the processor's cache: whole heads do not fit, and every tile would read them from
/// memory again.
fn bands(rec: &Recorder, head: &[Shard], h: &Tensor) -> Vec<Shard> {
    const BAND: usize = 4096;
    let several = h.dim(0) > 32 && rec.gpu().caps().software;
    let most = if several { BAND } else { usize::MAX };
    head.iter().flat_map(|shard| shard.bands(most)).collect()
}

/// `logits = h · Wᵀ`.
fn head_logits(
    rec: &mut Recorder,
    head: &[Shard],
    h: &Tensor,
    logits: &Tensor,
    half: bool,
) -> Result<()> {
    for shard in bands(rec, head, h) {
        let product = LinearFwd::new(h, &shard.matrix, logits);
        rec.record(&LinearFwd { first: shard.first, half, ..product })?;
    }
    Ok(())
}

/// The loss of hidden states under a head `W (V, D)`: `nll[l] = lse(W·h[l]) − (W·h[l])[labels[l]]`;
/// with `gradient: (scale, dh)` also `dh`, the gradient of `scale · Σ nll` by `h`.
///
/// A label from `V` on makes a row count for nothing. Logits exist for a chunk of rows at a time.
/// With `soft` and a gradient, `nll` and `dh` are also those of its targets. `half` as in
/// [`LinearFwd`]. **Shapes** `h, dh (L, D)`, `labels (L)` words, `nll (L)`, scratch
/// `logits (C, V)` with `C ≥ L` or `C` at least 64. **Errors** [`Shape`](crate::Error::Shape).
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct HeadLoss<'a> {
    pub h: &'a Tensor,
    pub labels: &'a Tensor,
    pub logits: &'a Tensor,
    pub nll: &'a Tensor,
    pub gradient: Option<(f32, &'a Tensor)>,
    pub soft: Option<&'a SoftRows>,
    pub half: bool,
}

impl HeadLoss<'_> {
    /// Records the operations; `head` is `W` in shards of rows.
    pub fn record(&self, rec: &mut Recorder, head: &[Shard]) -> Result<()> {
        let (d, v) = (self.h.dim(1), self.logits.dim(1));
        for (first, count) in chunks(self.h, self.logits) {
            let rows = |t: &Tensor| t.slice(first * d, &[count, d], t.name());
            let logits = self.logits.view(&[count, v])?;
            head_logits(rec, head, &rows(self.h)?, &logits, self.half)?;
            let cross_entropy = CrossEntropyFused {
                logits: &logits,
                labels: &self.labels.slice(first, &[count], "labels")?,
                scale: self.gradient.map_or(0.0, |(scale, _)| scale),
                gradient: self.gradient.is_some(),
                nll: &self.nll.slice(first, &[count], "nll")?,
            };
            match self.soft.filter(|_| self.gradient.is_some()) {
                Some(soft) => soft.record(rec, cross_entropy, first)?,
                None => rec.record(&cross_entropy)?,
            }
            let Some((_, dh)) = self.gradient else { continue };
            let dh = rows(dh)?;
            for (i, shard) in bands(rec, head, &logits).iter().enumerate() {
                rec.record(&LinearBwd {
                    dy: &logits,
                    first: shard.first,
                    w: &shard.matrix,
                    dx: &dh,
                    accumulate: i > 0,
                    scale: 1.0,
                    half: self.half,
                })?;
            }
        }
        Ok(())
    }
}
