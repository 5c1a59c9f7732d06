//! An open device: the handle, and what it holds.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::bind::{Groups, Ring};
use super::fault::Faults;
use super::images::Images;
#[cfg(not(target_arch = "wasm32"))]
use super::pipeline_cache::PipelineCache;
use super::variant::Variants;
use super::{Caps, Profile};
use crate::{Error, Result};

/// An open graphics device. Cheap to clone; all clones share one device.
#[derive(Clone)]
pub struct Gpu {
    pub(super) inner: Arc<Inner>,
    /// Set where what is recorded is written down by the names of its variants, and not run.
    pub(super) listed: Option<Arc<Mutex<BTreeSet<String>>>>,
}

pub(super) struct Inner {
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) pipeline_cache: Option<PipelineCache>,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) caps: Caps,
    pub(super) memory: Option<u64>,
    /// Of all tensors alive.
    pub(super) tensor_bytes: AtomicU64,
    /// Bytes that wait in staging memory.
    pub(super) staged: AtomicU64,
    /// Nanoseconds of the longest submission until now, on a slow GPU.
    pub(super) longest: AtomicU64,
    pub(super) verify: bool,
    pub(super) variants: Variants,
    pub(super) groups: Groups,
    pub(super) ring: Ring,
    pub(super) images: Images,
    pub(super) faults: Faults,
    pub(super) profile: Mutex<Option<Profile>>,
}

impl Inner {
    pub(super) fn buffer(&self, label: &str, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let (label, mapped_at_creation) = (Some(label), false);
        let desc = wgpu::BufferDescriptor { label, size, usage, mapped_at_creation };
        self.device.create_buffer(&desc)
    }
}

impl Gpu {
    /// What the device can do, and which variants follow from it.
    pub fn caps(&self) -> &Caps {
        &self.inner.caps
    }

    /// A handle on the same device whose recorders only write down which variants they would run.
    pub(crate) fn listing(&self) -> Gpu {
        Gpu { inner: self.inner.clone(), listed: Some(Arc::default()) }
    }

    /// The names of the variants that a [`listing`](Gpu::listing) handle was asked for.
    pub(crate) fn listed(&self) -> BTreeSet<String> {
        let names = self.listed.as_ref().and_then(|names| names.lock().ok());
        names.map(|names| names.clone()).unwrap_or_default()
    }

    /// Gives the device up: whatever is asked of it from now on fails with [`Error::Device`], as
    /// after a driver has lost it. Its memory is free once nothing runs.
    pub fn destroy(&self) {
        self.inner.device.destroy();
        self.inner.faults.note(false, "the device was given up".into());
    }

    /// The first error the driver reported since the device was opened, as [`Error::Device`] or
    /// [`Error::DeviceLost`].
    pub fn check(&self, during: &str) -> Result<()> {
        self.inner.faults.check(during)
    }

    /// Whether the driver has given the device up: everything on it is gone, and only a new one
    /// helps.
    pub fn is_lost(&self) -> bool {
        self.inner.faults.is_lost()
    }

    /// Bytes that wgpu's allocator has given out, and that it holds on the device, where the
    /// backend can tell.
    pub fn allocator_bytes(&self) -> Option<(u64, u64)> {
        let report = self.inner.device.generate_allocator_report()?;
        let given = report.allocations.iter().map(|a| a.size).sum();
        Some((given, report.total_reserved_bytes))
    }

    /// Blocks until the device has finished everything submitted.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn wait(&self, during: &str) -> Result<()> {
        self.inner
            .device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|e| Error::Device { during: during.into(), why: e.to_string() })?;
        self.check(during)
    }

    /// Bytes of the device's memory, where the backend tells.
    pub fn memory_bytes(&self) -> Option<u64> {
        self.inner.memory
    }

    /// Bytes of all tensors alive: buffers as they were asked for, without what the allocator adds.
    pub fn tensor_bytes(&self) -> u64 {
        self.inner.tensor_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of the images that operands are copied to.
    pub fn image_bytes(&self) -> u64 {
        self.inner.images.bytes()
    }

    /// The largest tensor that can be allocated and bound, bytes.
    pub fn tensor_limit(&self) -> u64 {
        let limits = self.inner.device.limits();
        limits.max_buffer_size.min(limits.max_storage_buffer_binding_size)
    }

    /// Refuses what cannot fit, before anything is allocated. **Errors** [`Error::OutOfMemory`].
    pub fn check_memory(&self, what: &str, needed_bytes: u64) -> Result<()> {
        match self.inner.memory {
            Some(limit_bytes) if needed_bytes > limit_bytes => Err(Error::OutOfMemory {
                what: what.into(),
                needed_bytes,
                limit_bytes,
                hint: "Use a smaller model, ‹quant = nf4›, or another ‹device›".into(),
            }),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gpu({}, {})", self.inner.caps.adapter.name, self.inner.caps)
    }
}
