//! What pipelines are bound to: the bind groups that a device keeps, and its uniform ring.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock};

use super::lock::lock;

/// A pipeline, and for each tensor its buffer and its first word, or its image.
type GroupKey = (usize, Vec<(u64, usize)>);

/// Bind groups, until one of their buffers or images is gone.
#[derive(Default)]
pub(super) struct Groups {
    kept: Mutex<HashMap<GroupKey, wgpu::BindGroup>>,
    dead: Mutex<Vec<u64>>,
}

impl Groups {
    /// The bind group of a pipeline and places.
    pub(super) fn get(
        &self,
        key: GroupKey,
        make: impl FnOnce() -> wgpu::BindGroup,
    ) -> wgpu::BindGroup {
        let mut kept = lock(&self.kept);
        if let Some(hit) = kept.get(&key) {
            return hit.clone();
        }
        let dead = std::mem::take(&mut *lock(&self.dead));
        if !dead.is_empty() {
            kept.retain(|(_, ids), _| !ids.iter().any(|(id, _)| dead.contains(id)));
        }
        kept.entry(key).or_insert_with(make).clone()
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        lock(&self.kept).len()
    }

    /// A buffer or an image is gone: its bind groups go with the next one that is made.
    pub(super) fn forget(&self, id: u64) {
        lock(&self.dead).push(id);
    }
}

/// The parameters of a submission's dispatches.
#[derive(Default)]
pub(super) struct Ring {
    pub(super) buffer: OnceLock<wgpu::Buffer>,
    turn: Mutex<()>,
}

impl Ring {
    /// Held from the write of the buffer until the submission that reads it, so that recorders on
    /// several threads do not overwrite each other's parameters.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        lock(&self.turn)
    }
}
