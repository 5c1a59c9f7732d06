//! Tensors for the cases of kernels: reproducible values, and their copies on the host.

use std::cell::RefCell;
use std::collections::HashMap;

use super::{Dense, Kept, Matrix, Nf4Words, Storage, words_of};
use crate::Result;
use crate::gpu::{Elem, Gpu, Host, HostBuffers, Op, Tensor};
use crate::quant::{Nf4Matrix, dynamic8_code};
use crate::random::stream;
use rand_chacha::rand_core::Rng;

/// What is done with an operation.
pub type Each<'a> = &'a mut dyn FnMut(&dyn Op) -> Result<()>;

/// Makes tensors of reproducible values, and keeps a copy of each on the host, by name: what a twin
/// needs where nothing can be read back in the middle of a case (the browser).
pub struct Inputs {
    pub(super) gpu: Gpu,
    host: RefCell<HashMap<String, Host>>,
    pub(super) storages: &'static [usize],
    half: bool,
}

/// Values in (-1, 1).
fn noise(n: usize, name: &str) -> Vec<f32> {
    let mut rng = stream(1, name, 0);
    (0..n).map(|_| (rng.next_u32() >> 8) as f32 / 8_388_608.0 - 1.0).collect()
}

/// f32, f16, bf16, NF4 with f32 scales, NF4 with 8-bit scales.
pub const STORAGES: &[usize] = &[0, 1, 2, 3, 4];
/// As QLoRA keeps linear layers.
pub const NF4: &[usize] = &[4];
/// As checkpoints keep embeddings and heads.
pub const BF16: &[usize] = &[2];
/// As LoRA's pairs are kept.
pub const F32: &[usize] = &[0];

/// Elements from which a matrix takes too long to quantize.
const LARGE: usize = 1 << 17;

impl Inputs {
    /// Tensors on this device.
    pub fn new(gpu: &Gpu) -> Inputs {
        Inputs { gpu: gpu.clone(), host: RefCell::default(), storages: STORAGES, half: false }
    }

    /// Tensors on this device, and matrices in these of [`STORAGES`] only.
    pub fn stored(gpu: &Gpu, storages: &'static [usize]) -> Inputs {
        Inputs { storages, ..Inputs::new(gpu) }
    }

    /// Products also with factors of 16 bits, where the device has a variant for that.
    pub fn with_half(self, half: bool) -> Inputs {
        Inputs { half, ..self }
    }

    /// Hands over an operation, and behind it the one that allows 16 bits if it is wanted and runs
    /// otherwise.
    pub(super) fn both(&self, op: &dyn Op, half: &dyn Op, each: Each) -> Result<()> {
        each(op)?;
        let variant =
            |op: &dyn Op| self.gpu.caps().select(op.kernel(), &op.context()).map(|s| s.name());
        if self.half && variant(op)? != variant(half)? { each(half) } else { Ok(()) }
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Host copies of an operation's tensors as they are now, in binding order.
    pub fn host(&self, op: &dyn Op) -> HostBuffers {
        let host = self.host.borrow();
        let copy = |t: &&Tensor| host.get(t.name()).cloned().unwrap_or(Host(vec![0; t.len()]));
        HostBuffers(op.tensors().iter().map(copy).collect())
    }

    /// The operation's twin on the host copies, which keep its results; returns all of them.
    pub fn twin(&self, op: &dyn Op) -> HostBuffers {
        let mut buffers = self.host(op);
        op.twin(&mut buffers);
        let mut host = self.host.borrow_mut();
        for (i, tensor) in op.tensors().into_iter().enumerate() {
            if op.kernel().bindings[i].1.writes() {
                host.insert(tensor.name().to_owned(), buffers.0[i].clone());
            }
        }
        buffers
    }

    pub(super) fn keep(&self, name: &str, words: &[u32]) {
        self.host.borrow_mut().insert(name.to_owned(), Host(words.to_vec()));
    }

    pub(super) fn floats(&self, name: &str, dims: &[usize], values: &[f32]) -> Result<Tensor> {
        self.keep(name, bytemuck::cast_slice(values));
        self.gpu.upload(name, dims, values)
    }

    pub(super) fn words(&self, name: &str, words: &[u32]) -> Result<Tensor> {
        self.keep(name, words);
        self.gpu.upload_words(name, &[words.len()], words)
    }

    /// Words of four 8-bit codes.
    pub(super) fn codes(&self, name: &str, words: usize) -> Result<Tensor> {
        let words = vec![0x8791_a3c5; words];
        self.keep(name, &words);
        self.gpu.upload_codes(name, &words)
    }

    /// Words of two 16-bit floats, for `n` values.
    pub(super) fn pairs(&self, name: &str, n: usize) -> Result<Tensor> {
        let mut words = vec![0; n.div_ceil(2)];
        crate::reference::pack_f16(&noise(n, name), &mut words);
        self.keep(name, &words);
        let pairs = self.gpu.tensor(name, &[words.len()], Elem::F16Pairs)?;
        self.gpu.write_words(&pairs, 0, &words)?;
        Ok(pairs)
    }

    pub(super) fn random(&self, name: &str, dims: &[usize]) -> Result<Tensor> {
        self.floats(name, dims, &noise(dims.iter().product(), name))
    }

    /// In (1, 2): norms, second moments.
    pub(super) fn positive(&self, name: &str, dims: &[usize]) -> Result<Tensor> {
        let values: Vec<f32> =
            noise(dims.iter().product(), name).iter().map(|v| 1.5 + v / 2.0).collect();
        self.floats(name, dims, &values)
    }

    pub(super) fn zeros(&self, name: &str, dims: &[usize]) -> Result<Tensor> {
        self.keep(name, &vec![0; dims.iter().product()]);
        self.gpu.zeros(name, dims)
    }

    /// `n` numbers below `below`.
    pub(super) fn indices(&self, name: &str, n: usize, below: usize) -> Result<Tensor> {
        let words: Vec<u32> = (0..n).map(|i| (i * 7919 % below.max(1)) as u32).collect();
        self.words(name, &words)
    }

    /// A matrix in one of [`STORAGES`].
    pub(super) fn matrix(&self, rows: usize, cols: usize, storage: usize) -> Result<Matrix> {
        let values = if storage >= 3 { Vec::new() } else { noise(rows * cols, "w") };
        let up = |name: &str, w: &[u32]| self.words(name, w);
        self.keep("table", bytemuck::cast_slice(&dynamic8_code(true)));
        let table = self.gpu.table("table", &dynamic8_code(true))?;
        let half = |f: &dyn Fn(f32) -> u16| -> Vec<u8> {
            values.iter().flat_map(|&v| f(v).to_le_bytes()).collect()
        };
        let dense = |kind: Dense, bytes: Vec<u8>| -> Result<Matrix> {
            Ok(Matrix::dense(rows, cols, kind, up("w", &words_of(&bytes))?, table.clone()))
        };
        match storage {
            0 => dense(Dense::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            1 => dense(Dense::F16, half(&|v| half::f16::from_f32(v).to_bits())),
            2 => dense(Dense::BF16, half(&|v| half::bf16::from_f32(v).to_bits())),
            4 if rows * cols >= LARGE && rows.is_multiple_of(4) && cols.is_multiple_of(64) => {
                // Any codes are a matrix: to quantize one takes longer than to time its product.
                let [w, scales, nested] = Kept::Nf4.words(rows, cols);
                let bits = |n: usize, name: &str| -> Vec<u32> {
                    let mut rng = stream(1, name, 0);
                    (0..n).map(|_| rng.next_u32()).collect()
                };
                let nested = self.positive("nested", &[nested])?;
                let (w, scales) = (up("w", &bits(w, "w"))?, up("scales", &bits(scales, "scales"))?);
                let storage = Storage::Nf4Quads { offset: 0.5 };
                Ok(Matrix { rows, cols, storage, w, scales, nested, table, halves: true })
            }
            _ => {
                let values = noise(rows * cols, "w");
                let nf4 = Nf4Matrix::quantize(rows, cols, &values, storage == 4)?;
                let Nf4Words { w, scales, nested, storage } = Nf4Words::of(&nf4);
                let (w, scales) = (up("w", &w)?, up("scales", &scales)?);
                let nested = match nested.len() {
                    0 => w.clone(),
                    n => self.floats("nested", &[n], &nested)?,
                };
                Ok(Matrix { rows, cols, storage, w, scales, nested, table, halves: true })
            }
        }
    }
}
