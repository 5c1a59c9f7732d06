//! Soft targets of a batch on the device.

use super::plan::{Allocate, Device, Purpose};
use crate::Result;
use crate::data::Batch;
use crate::gpu::{Elem, Gpu, Recorder, Tensor};
use crate::kernels::{AddEntries, CrossEntropyFused, Crps, Entries, SoftTarget};

/// Sparse rows of target probabilities, and room for what the losses find at them: 12 bytes an
/// entry.
#[derive(Clone, Debug)]
pub struct SoftRows<T = Tensor> {
    ranked: bool,
    ranges: T,
    entries: T,
    weights: T,
    gradient: T,
    loss: T,
}

impl<T> SoftRows<T> {
    /// Room for so many targets and entries.
    pub(crate) fn new(
        a: &mut impl Allocate<Tensor = T>,
        targets: usize,
        entries: usize,
    ) -> Result<SoftRows<T>> {
        let purpose = Purpose::Workspace;
        Ok(SoftRows {
            ranked: false,
            ranges: a.words(purpose, "soft ranges", targets + 1)?,
            entries: a.tensor(purpose, "soft entries", &[entries, 2], Elem::U32)?,
            weights: a.floats(purpose, "soft weights", &[targets])?,
            gradient: a.floats(purpose, "soft gradient", &[entries])?,
            loss: a.floats(purpose, "soft loss", &[targets])?,
        })
    }
}

impl SoftRows {
    /// A batch's, in the tensors of `kept` where they are large enough. **Errors**
    /// [`OutOfMemory`](crate::Error::OutOfMemory).
    pub fn holding<'a>(
        kept: &'a mut Option<SoftRows>,
        gpu: &Gpu,
        batch: &Batch,
    ) -> Result<&'a SoftRows> {
        let (soft, targets, entries) = (&batch.soft, batch.targets.len(), batch.soft.entries.len());
        let fits = |rows: &SoftRows| rows.ranges.len() > targets && rows.gradient.len() >= entries;
        let rows = match kept.take().filter(fits) {
            Some(rows) => rows,
            None => SoftRows::new(&mut Device::new(gpu), targets, entries)?,
        };
        let words: Vec<u32> =
            soft.entries.iter().flat_map(|(token, q)| [*token, q.to_bits()]).collect();
        gpu.write_words(&rows.ranges, 0, &soft.ranges(targets))?;
        gpu.write_words(&rows.entries, 0, &words)?;
        gpu.write(&rows.weights.view(&[targets])?, &soft.weights(targets))?;
        Ok(kept.insert(SoftRows { ranked: soft.ranked, ..rows }))
    }

    /// Records cross-entropy of a chunk of targets from `first` on, and what the rows add to it.
    pub(super) fn record(
        &self,
        rec: &mut Recorder,
        cross_entropy: CrossEntropyFused,
        first: usize,
    ) -> Result<()> {
        let CrossEntropyFused { logits, labels, scale, nll, .. } = cross_entropy;
        let count = logits.dim(0);
        let ranges = self.ranges.slice(first, &[count + 1], "soft ranges")?;
        let weights = self.weights.slice(first, &[count], "soft weights")?;
        let rows = Entries { ranges: &ranges, entries: &self.entries, weights: &weights };
        let (gradient, loss) = (&self.gradient, &self.loss.slice(first, &[count], "soft loss")?);
        match self.ranked {
            true => rec.record(&Crps { logits, rows, scale, gradient, loss })?,
            false => rec.record(&SoftTarget { logits, labels, rows, scale, gradient, loss })?,
        }
        rec.record(&cross_entropy)?;
        rec.record(&AddEntries { rows, gradient, loss, logits, nll })
    }
}
