//! Host to device and back.

use std::sync::atomic::Ordering;

use super::{Elem, Gpu, Tensor};
use crate::{Error, Result};

/// At most so many bytes of uploads wait in staging memory. What the allocator takes for more of
/// them stays resident between tensors when they are done.
const STAGING: usize = 4 << 20;

/// A copy of a tensor on its way to the host.
pub struct Reading {
    gpu: Gpu,
    staging: wgpu::Buffer,
    told: futures_channel::oneshot::Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
    during: String,
    words: usize,
}

impl Reading {
    /// Waits for the copy. **Errors** [`Error::Device`].
    pub async fn finish(self) -> Result<Vec<u32>> {
        #[cfg(not(target_arch = "wasm32"))]
        self.gpu.wait(&self.during)?;
        let failed = |why: String| Error::Device { during: self.during.clone(), why };
        self.told.await.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?;
        // The device has taken what was written before the copy.
        self.gpu.inner.staged.store(0, Ordering::Relaxed);
        self.gpu.check(&self.during)?;
        let mapped = self.staging.get_mapped_range(..).map_err(|e| failed(e.to_string()))?;
        Ok(mapped[..self.words * 4]
            .chunks_exact(4)
            .map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
            .collect())
    }
}

impl Gpu {
    /// A small read-only table of floats for bindings of kind
    /// [`Access::Table`](super::Access::Table).
    pub fn table(&self, name: &str, values: &[f32]) -> Result<Tensor> {
        let table = self.allocate(name, &[values.len()], Elem::F32, wgpu::BufferUsages::UNIFORM)?;
        self.write(&table, values)?;
        Ok(table)
    }

    /// A float tensor with the given values. **Errors** [`Error::Shape`] if their number is wrong.
    pub fn upload(&self, name: &str, dims: &[usize], values: &[f32]) -> Result<Tensor> {
        let tensor = self.zeros(name, dims)?;
        self.write(&tensor, values)?;
        Ok(tensor)
    }

    /// A word tensor with the given values.
    pub fn upload_words(&self, name: &str, dims: &[usize], values: &[u32]) -> Result<Tensor> {
        let tensor = self.tensor(name, dims, Elem::U32)?;
        self.write_words(&tensor, 0, values)?;
        Ok(tensor)
    }

    /// A tensor of 8-bit codes, four a word.
    pub fn upload_codes(&self, name: &str, words: &[u32]) -> Result<Tensor> {
        let tensor = self.tensor(name, &[words.len()], Elem::Codes)?;
        self.write_words(&tensor, 0, words)?;
        Ok(tensor)
    }

    /// Overwrites a whole float tensor. **Errors** [`Error::Shape`] if the number of values is
    /// wrong.
    pub fn write(&self, tensor: &Tensor, values: &[f32]) -> Result<()> {
        if values.len() != tensor.len() {
            let expected = format!("{:?}", tensor.dims());
            return Err(tensor.unfit("upload", expected, format!("{} values", values.len())));
        }
        self.write_words(tensor, 0, bytemuck::cast_slice(values))
    }

    /// Overwrites part of a tensor, from word `at` on; what is large goes in pieces, each taken by
    /// the device before the next waits in staging memory.
    pub fn write_words(&self, tensor: &Tensor, at: usize, words: &[u32]) -> Result<()> {
        if at + words.len() > tensor.len() {
            let expected = format!("at most {} words", tensor.len());
            return Err(tensor.unfit("upload", expected, format!("{} words at {at}", words.len())));
        }
        let mut first = (tensor.offset + at) as u64 * 4;
        for piece in words.chunks(STAGING / 4) {
            let bytes: &[u8] = bytemuck::cast_slice(piece);
            let n = bytes.len() as u64;
            if self.inner.staged.fetch_add(n, Ordering::Relaxed) + n > STAGING as u64 {
                self.flush("an upload")?;
                self.inner.staged.store(n, Ordering::Relaxed);
            }
            self.inner.queue.write_buffer(&tensor.buffer.raw, first, bytes);
            first += n;
        }
        Ok(())
    }

    /// [`Gpu::flush`], and waits until the device has taken it: staging memory is free again, and
    /// in a browser the page's other work gets its turn.
    pub async fn settle(&self, during: &str) -> Result<()> {
        self.flush(during)?;
        #[cfg(target_arch = "wasm32")]
        {
            let (tell, told) = futures_channel::oneshot::channel();
            self.inner.queue.on_submitted_work_done(move || {
                let _ = tell.send(());
            });
            let _ = told.await;
        }
        self.check(during)
    }

    /// Sends what was written so far, so that staging memory does not pile up while loading.
    pub fn flush(&self, during: &str) -> Result<()> {
        self.inner.staged.store(0, Ordering::Relaxed);
        self.inner.queue.submit([]);
        #[cfg(not(target_arch = "wasm32"))]
        self.wait(during)?;
        self.check(during)
    }

    /// Reads a float tensor back; waits for everything submitted before.
    pub async fn read(&self, tensor: &Tensor) -> Result<Vec<f32>> {
        Ok(bytemuck::cast_vec(self.read_words(tensor).await?))
    }

    /// Reads a tensor back as words.
    pub async fn read_words(&self, tensor: &Tensor) -> Result<Vec<u32>> {
        self.begin_read(tensor).finish().await
    }

    /// Copies a tensor as it is now, behind everything submitted before: what is submitted later
    /// does not change what [`Reading::finish`] gives.
    pub fn begin_read(&self, tensor: &Tensor) -> Reading {
        let bytes = tensor.bytes().max(4);
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.inner.buffer("read-back", bytes, usage);
        let mut encoder = self.inner.device.create_command_encoder(&Default::default());
        let first = tensor.offset as u64 * 4;
        encoder.copy_buffer_to_buffer(&tensor.buffer.raw, first, &staging, 0, bytes);
        self.inner.queue.submit([encoder.finish()]);
        let (tell, told) = futures_channel::oneshot::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            let _ = tell.send(result);
        });
        let during = format!("the read-back of `{}`", tensor.name());
        Reading { gpu: self.clone(), staging, told, during, words: tensor.len() }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Gpu {
    /// [`Gpu::read_words`] for code that cannot be async: verify mode and tests.
    pub(crate) fn read_blocking(&self, tensor: &Tensor) -> Result<Vec<u32>> {
        use std::task::{Context, Poll, Waker};
        let mut reading = std::pin::pin!(self.read_words(tensor));
        // The read waits for the device itself, so the first poll finds the answer.
        match reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(words) => words,
            Poll::Pending => Err(Error::Device {
                during: format!("the read-back of `{}`", tensor.name()),
                why: "the driver did not answer".into(),
            }),
        }
    }
}

#[cfg(target_arch = "wasm32")]
impl Gpu {
    /// Nothing may block in a browser.
    pub(crate) fn read_blocking(&self, _: &Tensor) -> Result<Vec<u32>> {
        Err(Error::Unsupported {
            what: "‹verify›".into(), hint: "use the native program".into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::GpuOptions;
    use pollster::block_on;

    #[test]
    fn only_what_the_device_has_not_taken_waits() -> Result<()> {
        let options = GpuOptions { validate_only: true, ..Default::default() };
        let gpu = block_on(Gpu::with(options))?;
        let waits = || gpu.inner.staged.load(Ordering::Relaxed) as usize;
        let tensor = gpu.zeros("x", &[STAGING / 4])?;
        gpu.write_words(&tensor, 0, &[1; 8])?;
        gpu.write_words(&tensor, 8, &[1; 8])?;
        assert_eq!(waits(), 64);
        block_on(gpu.read(&tensor))?;
        assert_eq!(waits(), 0);
        gpu.write_words(&tensor, 0, &[1; 8])?;
        gpu.write(&tensor, &[1.0; STAGING / 4])?;
        assert_eq!(waits(), STAGING);
        gpu.flush("test")?;
        assert_eq!(waits(), 0);
        Ok(())
    }
}
