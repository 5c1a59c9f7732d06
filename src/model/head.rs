//! Final norm, head and loss, at the target positions only and a chunk of them at a time: a full
//! tensor of logits never exists.

use super::llama::Model;
use super::workspace::Frame;
use crate::Result;
use crate::gpu::{Recorder, Tensor};
use crate::kernels::{
    CrossEntropyFused, GatherRows, LinearBwd, LinearFwd, ReduceSum, RmsNormBwd, RmsNormFwd,
};

impl Model {
    /// Hidden states of the targets, normed: `head.h (L, D)`.
    fn head_input(&self, rec: &mut Recorder, frame: &Frame) -> Result<()> {
        let head = frame.head()?;
        let last = frame.hidden(self.config.num_hidden_layers)?;
        rec.record(&GatherRows { x: &last, index: &head.targets, y: &head.x })?;
        let eps = self.config.rms_norm_eps;
        rec.record(&RmsNormFwd { x: &head.x, w: &self.norm, eps, y: &head.h, rstd: &head.rstd })
    }

    /// Logits of rows `first..first + count` of `h`.
    fn head_logits(&self, rec: &mut Recorder, h: &Tensor, logits: &Tensor) -> Result<()> {
        for shard in self.head_shards() {
            rec.record(&LinearFwd {
                x: h,
                w: &shard.matrix,
                y: logits,
                first: shard.first,
                accumulate: false,
                scale: 1.0,
            })?;
        }
        Ok(())
    }

    /// Adds the NLL of all targets to `stats[slot]`; with `gradient` also writes `dx`, the gradient of
    /// `scale · ΣNLL` by the last hidden state.
    pub(super) fn record_loss(
        &self,
        rec: &mut Recorder,
        frame: &Frame,
        stats: (&Tensor, usize),
        gradient: Option<f32>,
    ) -> Result<()> {
        self.head_input(rec, frame)?;
        let (head, d, v) = (frame.head()?, self.config.hidden_size, self.config.vocab_size);
        for (first, count) in head.chunks() {
            let rows = |t: &Tensor| t.slice(first * d, &[count, d], t.name());
            let logits = head.logits.view(&[count, v])?;
            self.head_logits(rec, &rows(&head.h)?, &logits)?;
            rec.record(&CrossEntropyFused {
                logits: &logits,
                labels: &head.labels.slice(first, &[count], "labels")?,
                scale: gradient.unwrap_or(0.0),
                gradient: gradient.is_some(),
                nll: &head.nll.slice(first, &[count], "nll")?,
            })?;
            if gradient.is_some() {
                let dh = rows(&head.dh)?;
                for (i, shard) in self.head_shards().iter().enumerate() {
                    rec.record(&LinearBwd {
                        dy: &logits,
                        first: shard.first,
                        w: &shard.matrix,
                        dx: &dh,
                        accumulate: i > 0,
                        scale: 1.0,
                    })?;
                }
            }
        }
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
        rec.record(&GatherRows { x: &head.dx, index: &frame.inverse()?, y: &frame.backward()?.dx })
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
        for (first, count) in head.chunks() {
            let logits = head.logits.view(&[count, v])?;
            self.head_logits(&mut rec, &head.h.slice(first * d, &[count, d], "h")?, &logits)?;
            rec.submit()?;
            out.extend(self.gpu.read(&logits).await?);
        }
        Ok(out)
    }
}
