//! A buffer with a shape.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Gpu, number};
use crate::{Error, Result};

/// Element type of a tensor on the device. Packed kinds (4-bit codes, 16-bit floats) are words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elem {
    /// 32-bit float.
    F32,
    /// 32-bit word: ids, or something packed.
    U32,
    /// Four 8-bit codes in a word, each an index into an ascending table.
    Codes,
    /// Two 16-bit floats in a word, the first in the low half.
    F16Pairs,
}

/// A row-major tensor on the device; the last axis is contiguous. Cloning shares the memory.
#[derive(Clone)]
pub struct Tensor {
    pub(super) buffer: Arc<DeviceBuffer>,
    /// First element, in words; a multiple of [`ALIGN_WORDS`].
    pub(super) offset: usize,
    /// Words from there on that are this tensor's.
    room: usize,
    dims: Vec<usize>,
    elem: Elem,
    name: Arc<str>,
}

/// Slices of a buffer start at multiples of this many words: the alignment that WebGPU guarantees.
pub const ALIGN_WORDS: usize = 64;

pub(super) struct DeviceBuffer {
    pub(super) raw: wgpu::Buffer,
    pub(super) id: u64,
    gpu: Gpu,
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        self.gpu.inner.tensor_bytes.fetch_sub(self.raw.size(), Ordering::Relaxed);
        self.gpu.inner.groups.forget(self.id);
    }
}

/// Bytes of the buffer behind a tensor of `words` words.
pub fn buffer_bytes(words: usize) -> u64 {
    (words as u64 * 4).max(16)
}

impl Gpu {
    /// Allocates a tensor of zeros. **Errors** [`Error::OutOfMemory`] over the device's limits.
    pub fn tensor(&self, name: &str, dims: &[usize], elem: Elem) -> Result<Tensor> {
        self.allocate(name, dims, elem, wgpu::BufferUsages::STORAGE)
    }

    pub(super) fn allocate(
        &self,
        name: &str,
        dims: &[usize],
        elem: Elem,
        usage: wgpu::BufferUsages,
    ) -> Result<Tensor> {
        let bytes = buffer_bytes(dims.iter().product());
        let limit = self.tensor_limit();
        if bytes > limit {
            return Err(Error::OutOfMemory {
                what: format!("tensor `{name}` {dims:?}"),
                needed_bytes: bytes,
                limit_bytes: limit,
                hint: "Use a smaller ‹batch_size› or ‹max_length›".into(),
            });
        }
        let copied = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let raw = self.inner.buffer(name, bytes, usage | copied);
        self.check(&format!("the allocation of `{name}`, {bytes} bytes"))?;
        self.inner.tensor_bytes.fetch_add(bytes, Ordering::Relaxed);
        let id = number::fresh();
        let buffer = Arc::new(DeviceBuffer { raw, id, gpu: self.clone() });
        let room = (bytes / 4) as usize;
        Ok(Tensor { buffer, offset: 0, room, dims: dims.to_vec(), elem, name: name.into() })
    }

    /// A float tensor of zeros.
    pub fn zeros(&self, name: &str, dims: &[usize]) -> Result<Tensor> {
        self.tensor(name, dims, Elem::F32)
    }
}

impl Tensor {
    /// The name it was allocated under.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The shape.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }
    /// Length of one axis; 1 beyond the last.
    pub fn dim(&self, axis: usize) -> usize {
        self.dims.get(axis).copied().unwrap_or(1)
    }
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }
    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Element type.
    pub fn elem(&self) -> Elem {
        self.elem
    }
    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.len() as u64 * 4
    }

    /// Whether both are the same memory, from the same first element.
    pub fn is(&self, other: &Tensor) -> bool {
        (self.buffer.id, self.offset) == (other.buffer.id, other.offset)
    }

    /// Words from this tensor's first element on that views of it may take: those of its buffer,
    /// unless it shares the buffer with others.
    pub fn capacity(&self) -> usize {
        self.room
    }

    /// The same memory as words.
    pub(crate) fn as_words(&self) -> Tensor {
        Tensor { elem: Elem::U32, ..self.clone() }
    }

    /// With no more room than its elements take: others lie behind it.
    pub(crate) fn bounded(mut self) -> Tensor {
        self.room = self.len();
        self
    }

    /// From this tensor's first element on `dims`, over others that lie behind it in the buffer.
    /// **Errors** [`Error::Shape`] if the buffer ends before.
    pub(crate) fn reaching(&self, dims: &[usize], name: &str) -> Result<Tensor> {
        let room = (self.buffer.raw.size() / 4) as usize - self.offset;
        Tensor { room, ..self.clone() }.slice(0, dims, name)
    }

    /// Words from the first element of `other` to this one's; none if they lie in different
    /// buffers, or the other way round.
    pub fn words_behind(&self, other: &Tensor) -> Option<usize> {
        let same = self.buffer.id == other.buffer.id;
        same.then(|| self.offset.checked_sub(other.offset)).flatten()
    }

    /// The same memory under another shape, from the same first element: how one workspace serves
    /// every batch. **Errors** [`Error::Shape`] if the buffer is too small.
    pub fn view(&self, dims: &[usize]) -> Result<Tensor> {
        self.slice(0, dims, self.name.clone())
    }

    /// A tensor of its own inside this one's buffer, `at` words after this one's first element.
    /// **Errors** [`Error::Shape`] if it does not fit or `at` is no multiple of [`ALIGN_WORDS`].
    pub fn slice(&self, at: usize, dims: &[usize], name: impl Into<Arc<str>>) -> Result<Tensor> {
        let fits = at + dims.iter().product::<usize>() <= self.capacity();
        if !fits || !at.is_multiple_of(ALIGN_WORDS) {
            return Err(self.wrong(&format!("a slice at {at}"), dims));
        }
        let (offset, room) = (self.offset + at, self.room - at);
        let (dims, name) = (dims.to_vec(), name.into());
        Ok(Tensor { buffer: self.buffer.clone(), offset, room, dims, elem: self.elem, name })
    }

    /// The two axes of a matrix. **Errors** [`Error::Shape`].
    pub fn matrix(&self, op: &str) -> Result<[usize; 2]> {
        let dims = self.dims.as_slice();
        dims.try_into().map_err(|_| self.unfit(op, "two axes".into(), format!("{dims:?}")))
    }

    /// Checks the shape. **Errors** [`Error::Shape`].
    pub fn expect(&self, op: &str, dims: &[usize]) -> Result<()> {
        if self.dims == dims { Ok(()) } else { Err(self.wrong(op, dims)) }
    }

    fn wrong(&self, op: &str, dims: &[usize]) -> Error {
        self.unfit(op, format!("{dims:?}"), format!("{:?}", self.dims))
    }

    pub(super) fn unfit(&self, op: &str, expected: String, got: String) -> Error {
        Error::Shape { op: op.into(), tensor: self.name.to_string(), expected, got }
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {:?}", self.name, self.elem, self.dims)
    }
}
