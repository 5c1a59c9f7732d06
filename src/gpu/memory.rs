//! How much memory a device has, where the backend tells.

use super::Gpu;
use crate::{Error, Result};

/// The largest heap on the device; `None` where the backend does not say.
#[cfg(not(any(target_arch = "wasm32", target_vendor = "apple")))]
#[allow(unsafe_code, reason = "wgpu has no portable query for the size of device memory")]
pub(super) fn device_bytes(adapter: &wgpu::Adapter) -> Option<u64> {
    // SAFETY: the handles are used for one query while the adapter lives, and not destroyed.
    let properties = unsafe {
        let hal = adapter.as_hal::<wgpu::hal::api::Vulkan>()?;
        let instance = hal.shared_instance().raw_instance();
        instance.get_physical_device_memory_properties(hal.raw_physical_device())
    };
    let heaps = &properties.memory_heaps[..properties.memory_heap_count as usize];
    heaps.iter().map(|heap| heap.size).max()
}

/// The backend does not say.
#[cfg(any(target_arch = "wasm32", target_vendor = "apple"))]
pub(super) fn device_bytes(_: &wgpu::Adapter) -> Option<u64> {
    None
}

impl Gpu {
    /// Bytes of the device's memory, where the backend tells.
    pub fn memory_bytes(&self) -> Option<u64> {
        self.inner.memory
    }

    /// Refuses what cannot fit, before anything is allocated. **Errors** [`Error::OutOfMemory`].
    pub fn check_memory(&self, what: &str, needed_bytes: u64) -> Result<()> {
        match self.inner.memory {
            Some(limit_bytes) if needed_bytes > limit_bytes => Err(Error::OutOfMemory {
                what: what.into(),
                needed_bytes,
                limit_bytes,
                hint: "Use a smaller model, --quant nf4, or another --device".into(),
            }),
            _ => Ok(()),
        }
    }
}
