//! How much memory a device has, where the backend tells.

/// What the device can hold; `None` where neither backend nor system says. Software adapters name a
/// heap of any size and live in the host's memory.
pub(super) fn device_bytes(adapter: &wgpu::Adapter, software: bool) -> Option<u64> {
    if software { host_bytes() } else { heap_bytes(adapter) }
}

/// The host's memory, on systems with `/proc`.
fn host_bytes() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

/// The largest heap of a Vulkan device.
#[cfg(not(any(target_arch = "wasm32", target_vendor = "apple")))]
#[allow(unsafe_code, reason = "wgpu has no portable query for the size of device memory")]
fn heap_bytes(adapter: &wgpu::Adapter) -> Option<u64> {
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
fn heap_bytes(_: &wgpu::Adapter) -> Option<u64> {
    None
}
