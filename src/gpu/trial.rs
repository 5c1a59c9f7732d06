//! One operation by itself: how long it takes, and whether its twin agrees.

use super::verify::{disagreement, on_host};
use super::{Gpu, Op, Profile, Selection};
use crate::Result;

impl Gpu {
    /// Runs an operation in a variant and waits for it: the seconds by timestamps where there are
    /// any, else by the clock around the submission. Ends a profile that was taken.
    pub fn seconds(&self, op: &dyn Op, selection: &Selection) -> Result<f64> {
        self.start_profile();
        let clock = std::time::Instant::now();
        let mut rec = self.recorder("a measurement");
        rec.record_as(op, &self.inner.variants.variant(selection.clone()))?;
        rec.submit()?;
        self.wait("a measurement")?;
        let took = clock.elapsed().as_secs_f64();
        let profile = self.take_profile();
        let on_device = |p: Profile| p.rows.values().map(|row| row.ns).sum::<f64>() / 1e9;
        Ok(profile.map_or(took, on_device))
    }

    /// Runs an operation in a variant, and its twin: the first output in which they do not agree,
    /// or nothing.
    pub(crate) fn disagreement(
        &self,
        op: &dyn Op,
        selection: &Selection,
    ) -> Result<Option<String>> {
        let inputs = on_host(self, &[op])?;
        let mut rec = self.recorder("a check against the twin");
        rec.record_as(op, &self.inner.variants.variant(selection.clone()))?;
        rec.submit()?;
        disagreement(self, &[op], inputs)
    }
}
