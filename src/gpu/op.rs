//! What an operation is: a kernel, its tensors, its parameters, and a CPU twin.

use super::body::Kernel;
use super::context::Context;
use super::select::Selection;
use super::tensor::Tensor;
use crate::Result;

/// What one dispatch computes and moves, for benches and for cutting submissions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Floating-point operations (a multiply-add counts two).
    pub flops: u64,
    /// Bytes that must move: each input read once, each output written once.
    pub bytes: u64,
}

/// An operation: what to run on which tensors.
pub trait Op {
    /// The kernel's description.
    fn kernel(&self) -> &'static Kernel;
    /// The tensors, in binding order.
    fn tensors(&self) -> Vec<&Tensor>;
    /// The bytes of `Params`, laid out as in WGSL.
    fn params(&self) -> Vec<u8>;
    /// Checks every shape and says how many workgroups to run.
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]>;
    /// What its data decide about the kernel's variant.
    fn context(&self) -> Context {
        Context::default()
    }
    /// Operations and bytes of this call.
    fn work(&self) -> Work {
        Work { flops: 0, bytes: self.tensors().iter().map(|t| t.bytes()).sum() }
    }
    /// How many times the work of an average workgroup the slowest ones do.
    fn skew(&self) -> u64 {
        1
    }
    /// The same computation on host copies of the tensors, in binding order.
    fn twin(&self, host: &mut HostBuffers);
    /// The largest difference between device and twin that arithmetic explains, relative to the
    /// largest magnitude of the output; the bound of unit tests and of verify mode.
    fn bound(&self) -> f32 {
        1e-5
    }
}

/// A host copy of a tensor.
#[derive(Clone, Debug)]
pub struct Host(pub Vec<u32>);

impl Host {
    /// As floats.
    pub fn f32(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }
    /// As floats, to write.
    pub fn f32_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
    /// As words.
    pub fn u32(&self) -> &[u32] {
        &self.0
    }
    /// As words, to write.
    pub fn u32_mut(&mut self) -> &mut [u32] {
        &mut self.0
    }
    /// As bytes.
    pub fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
    /// As bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Host copies of an operation's tensors, in binding order.
#[derive(Clone, Debug)]
pub struct HostBuffers(pub Vec<Host>);

impl HostBuffers {
    /// All of them at once, so that outputs can be written while inputs are read.
    pub fn all<const N: usize>(&mut self) -> [&mut Host; N] {
        let found = self.0.len();
        let all: Vec<&mut Host> = self.0.iter_mut().collect();
        all.try_into().unwrap_or_else(|_| panic!("a twin asked for {N} of {found} tensors"))
    }
}
