//! The driver's compiled pipelines, kept between runs in a file per adapter and driver.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a file starts with: this, and a checksum of the rest.
const MAGIC: &[u8; 8] = b"wgpulora";

/// The driver's cache and where it is kept.
#[derive(Debug)]
pub(super) struct PipelineCache {
    pub(super) raw: wgpu::PipelineCache,
    path: PathBuf,
    stored: Vec<u8>,
}

impl PipelineCache {
    /// The cache of this adapter and driver in `folder`, empty if there is none yet or it is damaged; `None`
    /// where the backend has no such thing.
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
        let driver = checksum([&info.name, &info.driver, &info.driver_info].map(String::as_bytes));
        let path = folder.join(format!("{key}_{driver:016x}"));
        let stored = fs::read(&path).ok().and_then(|file| unpack(&file)).unwrap_or_default();
        let data = (!stored.is_empty()).then_some(stored.as_slice());
        let desc = wgpu::PipelineCacheDescriptor { label: Some("pipelines"), data, fallback: true };
        #[allow(unsafe_code, reason = "wgpu offers the driver's cache under this contract only")]
        // SAFETY: the bytes came from `get_data` of this adapter and driver and are as they were written.
        let raw = unsafe { device.create_pipeline_cache(&desc) };
        Some(PipelineCache { raw, path, stored })
    }

    /// Writes what is new: whole, under a temporary name, then renamed. A cache that cannot be written is
    /// only missed.
    fn store(&self) -> std::io::Result<()> {
        let Some(data) = self.raw.get_data().filter(|data| *data != self.stored) else {
            return Ok(());
        };
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut temporary = self.path.clone().into_os_string();
        temporary.push(format!(".{}.partial", std::process::id()));
        let written = fs::File::create(&temporary)
            .and_then(|mut file| file.write_all(&pack(&data)))
            .and_then(|()| fs::rename(&temporary, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

impl Drop for PipelineCache {
    fn drop(&mut self) {
        if let Err(error) = self.store() {
            tracing::warn!(path = %self.path.display(), %error, "pipelines are not kept");
        }
    }
}

/// FNV-1a, 64 bits.
fn checksum<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let bytes = parts.into_iter().flatten();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn pack(data: &[u8]) -> Vec<u8> {
    [MAGIC.as_slice(), &checksum([data]).to_le_bytes(), data].concat()
}

/// The data of a file, if it is whole: a driver may crash on bytes that it did not write.
fn unpack(file: &[u8]) -> Option<Vec<u8>> {
    let (sum, data) = file.strip_prefix(MAGIC)?.split_at_checked(8)?;
    (sum == checksum([data]).to_le_bytes()).then(|| data.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_files_are_empty() {
        let file = pack(&[1, 2, 3]);
        assert_eq!(unpack(&file), Some(vec![1, 2, 3]));
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 4;
            assert_eq!(unpack(&damaged), None, "byte {at}");
            assert_eq!(unpack(&file[..at]), None, "cut at {at}");
        }
    }
}
