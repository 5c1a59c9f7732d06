//! Attention over listed keys: rows that share prompts, of any lengths, in one pass.

use super::{COLUMNS, IN_REGISTERS, context_of};
use crate::gpu::{Context, HostBuffers, Kernel, Op, Selection, Tensor, Work};
use crate::kernels::params;
pub use crate::reference::GatherShape;
use crate::{Error, Result, reference};

pub(super) static GATHER: Kernel = kernel!(
    attention, "attention_gather", [q: Read, k: Read, v: Read, index: Read, y: Write],
    baseline tile Each([1, COLUMNS]);
    "subgroup8": on Software, needs Subgroups(8, 8), takes IN_REGISTERS, tile Rows(4);
);

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    listed: u32,
    slots: u32,
    heads: u32,
    kv_heads: u32,
    e: u32,
    scale: f32,
}

/// Attention of rows to the slots that each lists: `y = softmax(q·kᵀ/√E)·v` over `index[n, ..]` up
/// to the first number that is no slot. A row without keys gives zeros.
///
/// **Shapes** `q, y (N, H·E)`, `k, v (C, G·E)`, `index (N, S)` words; `E` from 1 to 256. **Errors**
/// [`Shape`](Error::Shape), [`Invalid`](Error::Invalid). **Source** Kwon et al. 2023
/// (arXiv:2309.06180), with pages of one token. **Twin** [`reference::attention_gather`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct AttentionGather<'a> {
    pub q: &'a Tensor,
    pub k: &'a Tensor,
    pub v: &'a Tensor,
    pub index: &'a Tensor,
    pub y: &'a Tensor,
    pub shape: GatherShape,
}

impl Op for AttentionGather<'_> {
    fn kernel(&self) -> &'static Kernel {
        &GATHER
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.q, self.k, self.v, self.index, self.y]
    }
    fn params(&self) -> Vec<u8> {
        let s = &self.shape;
        params(&Params {
            rows: s.rows as u32,
            listed: s.listed as u32,
            slots: s.slots as u32,
            heads: s.heads as u32,
            kv_heads: s.kv_heads as u32,
            e: s.head_dim as u32,
            scale: 1.0 / (s.head_dim as f32).sqrt(),
        })
    }
    fn context(&self) -> Context {
        context_of(self.shape.head_dim)
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        let (op, s) = (GATHER.name, &self.shape);
        if s.kv_heads == 0 || !s.heads.is_multiple_of(s.kv_heads) {
            return Err(Error::invalid(
                op,
                format!("{} heads over {} kv heads", s.heads, s.kv_heads),
            ));
        }
        if !(1..=256).contains(&s.head_dim) {
            return Err(Error::invalid(
                op,
                format!("head dim {} is not within 1 to 256", s.head_dim),
            ));
        }
        for tensor in [self.q, self.y] {
            tensor.expect(op, &[s.rows, s.heads * s.head_dim])?;
        }
        for tensor in [self.k, self.v] {
            tensor.expect(op, &[s.slots, s.kv_heads * s.head_dim])?;
        }
        self.index.expect(op, &[s.rows, s.listed])?;
        let shared = s.heads / s.kv_heads;
        selection.body.tile.flat(s.head_dim, |heads| s.rows * s.kv_heads * shared.div_ceil(heads))
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [q, k, v, index, y] = host.all();
        let inputs = [q.f32(), k.f32(), v.f32()];
        reference::attention_gather(inputs, index.u32(), self.shape, y.f32_mut());
    }
    fn work(&self) -> Work {
        let s = &self.shape;
        let pairs = s.rows * s.listed;
        let keys = 2 * pairs.min(s.slots) * s.kv_heads * s.head_dim;
        Work {
            flops: 4 * (pairs * s.heads * s.head_dim) as u64,
            bytes: 4 * keys as u64 + 2 * self.q.bytes() + self.index.bytes(),
        }
    }
}
