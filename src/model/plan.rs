//! What is going to be allocated. One walk serves two ends: with a [`MemoryPlan`] it counts, with a
//! [`Device`] it allocates, so that the plan cannot say anything else than what happens.

use serde::Serialize;

use crate::Result;
use crate::gpu::{ALIGN_WORDS, Elem, Gpu, SHARD_BYTES, Tensor, buffer_bytes};

/// What memory is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Frozen weights and tables.
    Weights,
    /// Trainable parameters and their gradients.
    Adapters,
    /// What the optimizer remembers.
    Optimizer,
    /// What backward needs from forward.
    Activations,
    /// Gradients of activations, logits, scratch.
    Workspace,
}

/// Bytes on the device, by use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// Frozen weights: 4-bit codes and scales, embedding, norms, rotary tables.
    pub weights: u64,
    /// Trainable parameters and their gradients.
    pub adapters: u64,
    /// What the optimizer remembers.
    pub optimizer: u64,
    /// What backward needs from forward.
    pub activations: u64,
    /// Gradients of activations, a chunk of logits, scratch.
    pub workspace: u64,
    /// Copies of operands, where bodies read these from images.
    pub images: u64,
    /// Name and bytes of the largest tensor.
    #[serde(skip)]
    pub largest: (String, u64),
}

impl MemoryPlan {
    /// All of it.
    pub fn total(&self) -> u64 {
        let kept = self.weights + self.adapters + self.optimizer;
        kept + self.activations + self.workspace + self.images
    }

    /// Both.
    pub fn and(mut self, other: &MemoryPlan) -> MemoryPlan {
        self.weights += other.weights;
        self.adapters += other.adapters;
        self.optimizer += other.optimizer;
        self.activations += other.activations;
        self.workspace += other.workspace;
        self.images += other.images;
        if other.largest.1 > self.largest.1 {
            self.largest = other.largest.clone();
        }
        self
    }

    fn bytes_of(&mut self, purpose: Purpose) -> &mut u64 {
        match purpose {
            Purpose::Weights => &mut self.weights,
            Purpose::Adapters => &mut self.adapters,
            Purpose::Optimizer => &mut self.optimizer,
            Purpose::Activations => &mut self.activations,
            Purpose::Workspace => &mut self.workspace,
        }
    }

    /// Counts a tensor of `words` words.
    pub(crate) fn count(&mut self, purpose: Purpose, name: &str, words: usize) {
        let bytes = buffer_bytes(words);
        *self.bytes_of(purpose) += bytes;
        if bytes > self.largest.1 {
            self.largest = (name.to_owned(), bytes);
        }
    }
}

/// Where tensors come from: a device, or a plan that only counts them.
pub(crate) trait Allocate {
    /// A tensor, or nothing.
    type Tensor: Clone;

    /// A tensor of zeros.
    fn tensor(
        &mut self,
        purpose: Purpose,
        name: &str,
        dims: &[usize],
        elem: Elem,
    ) -> Result<Self::Tensor>;

    /// A float tensor of zeros.
    fn floats(&mut self, purpose: Purpose, name: &str, dims: &[usize]) -> Result<Self::Tensor> {
        self.tensor(purpose, name, dims, Elem::F32)
    }

    /// Matrices of `n` rows and the given widths in one buffer, so that products which write or
    /// read several of them can be one dispatch; in buffers of their own if a binding would not
    /// reach over all.
    fn side_by_side<const N: usize>(
        &mut self,
        purpose: Purpose,
        n: usize,
        matrices: [(&str, usize); N],
    ) -> Result<[Self::Tensor; N]> {
        let words = matrices.map(|(_, width)| (n * width).next_multiple_of(ALIGN_WORDS));
        let total: usize = words.iter().sum();
        let mut made = Vec::new();
        if buffer_bytes(total) > SHARD_BYTES {
            for (name, width) in matrices {
                made.push(self.floats(purpose, name, &[n, width])?);
            }
        } else {
            let (whole, mut at) = (self.floats(purpose, matrices[0].0, &[total])?, 0);
            for ((name, width), words) in matrices.into_iter().zip(words) {
                made.push(self.within(&whole, at, &[n, width], name)?);
                at += words;
            }
        }
        Ok(made.try_into().unwrap_or_else(|_| unreachable!("one for each matrix")))
    }

    /// A part of a tensor.
    fn within(
        &self,
        whole: &Self::Tensor,
        at: usize,
        dims: &[usize],
        name: &str,
    ) -> Result<Self::Tensor>;

    /// A table: see [`Gpu::table`].
    fn table(&mut self, purpose: Purpose, name: &str, values: &[f32]) -> Result<Self::Tensor>;

    /// `n` words of zeros.
    fn words(&mut self, purpose: Purpose, name: &str, n: usize) -> Result<Self::Tensor> {
        self.tensor(purpose, name, &[n], Elem::U32)
    }
}

impl Allocate for MemoryPlan {
    type Tensor = ();

    fn within(&self, _: &(), _: usize, _: &[usize], _: &str) -> Result<()> {
        Ok(())
    }

    fn tensor(&mut self, purpose: Purpose, name: &str, dims: &[usize], _: Elem) -> Result<()> {
        self.count(purpose, name, dims.iter().product());
        Ok(())
    }

    fn table(&mut self, purpose: Purpose, name: &str, values: &[f32]) -> Result<()> {
        self.count(purpose, name, values.len());
        Ok(())
    }
}

/// Allocates, and counts what it allocates.
pub(crate) struct Device<'a> {
    gpu: &'a Gpu,
    pub(crate) plan: MemoryPlan,
}

impl<'a> Device<'a> {
    pub(crate) fn new(gpu: &'a Gpu) -> Device<'a> {
        Device { gpu, plan: MemoryPlan::default() }
    }
}

impl Allocate for Device<'_> {
    type Tensor = Tensor;

    fn within(&self, whole: &Tensor, at: usize, dims: &[usize], name: &str) -> Result<Tensor> {
        Ok(whole.slice(at, dims, name)?.bounded())
    }

    fn tensor(
        &mut self,
        purpose: Purpose,
        name: &str,
        dims: &[usize],
        elem: Elem,
    ) -> Result<Tensor> {
        self.plan.count(purpose, name, dims.iter().product());
        self.gpu.tensor(name, dims, elem)
    }

    fn table(&mut self, purpose: Purpose, name: &str, values: &[f32]) -> Result<Tensor> {
        self.plan.count(purpose, name, values.len());
        self.gpu.table(name, values)
    }
}
