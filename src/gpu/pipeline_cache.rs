//! The driver's compiled pipelines, kept between runs in a file per adapter and driver.

use std::path::{Path, PathBuf};

use super::kept;

/// The driver's cache and where it is kept.
#[derive(Debug)]
pub(super) struct PipelineCache {
    pub(super) raw: wgpu::PipelineCache,
    path: PathBuf,
    stored: Vec<u8>,
}

impl PipelineCache {
    /// The cache of this adapter and driver in `folder`, empty if there is none yet or it is
    /// damaged; `None` where the backend has no such thing.
    pub(super) fn open(
        device: &wgpu::Device,
        adapter: &wgpu::Adapter,
        folder: &Path,
    ) -> Option<PipelineCache> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let info = adapter.get_info();
        let key = wgpu::util::pipeline_cache_key(&info)?;
        let driver = kept::key(&[&info.name, &info.driver, &info.driver_info]);
        let path = folder.join(format!("{key}_{driver}"));
        // A driver may crash on bytes that it did not write.
        let stored = kept::read(&path).unwrap_or_default();
        let data = (!stored.is_empty()).then_some(stored.as_slice());
        let desc = wgpu::PipelineCacheDescriptor { label: Some("pipelines"), data, fallback: true };
        #[allow(unsafe_code, reason = "wgpu offers the driver's cache under this contract only")]
        // SAFETY: the bytes came from `get_data` of this adapter and driver and are as they were
        // written.
        let raw = unsafe { device.create_pipeline_cache(&desc) };
        Some(PipelineCache { raw, path, stored })
    }

    /// Writes what is new. A cache that cannot be written is only missed.
    fn store(&self) -> std::io::Result<()> {
        match self.raw.get_data().filter(|data| *data != self.stored) {
            Some(data) => kept::write(&self.path, &data),
            None => Ok(()),
        }
    }
}

impl Drop for PipelineCache {
    fn drop(&mut self) {
        if let Err(error) = self.store() {
            tracing::warn!(path = %self.path.display(), %error, "pipelines are not kept");
        }
    }
}
