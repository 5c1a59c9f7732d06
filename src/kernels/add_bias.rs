//! Biases of linear layers.

use super::cases::{Case, Each, Inputs};
use super::{elements, params};
use crate::gpu::{HostBuffers, Kernel, Op, Selection, Tensor, Work};
use crate::{Result, reference};

static ADD_BIAS: Kernel = kernel!(rows, "add_bias", [bias: Read, y: Update]);

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    n: u32,
    d: u32,
}

/// Bias of a linear layer, in place: `y[n] += bias` for each row.
///
/// **Shapes** `bias (D)`, `y (N, D)`. **Errors** [`Shape`](crate::Error::Shape) if they are not.
/// **Source** linear layers of Qwen2's attention. **Twin** [`reference::add_bias`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct AddBias<'a> {
    pub bias: &'a Tensor,
    pub y: &'a Tensor,
}

impl Op for AddBias<'_> {
    fn kernel(&self) -> &'static Kernel {
        &ADD_BIAS
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.bias, self.y]
    }
    fn params(&self) -> Vec<u8> {
        params(&Params { n: self.y.len() as u32, d: self.bias.len() as u32 })
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let [_, d] = self.y.matrix(ADD_BIAS.name)?;
        self.bias.expect(ADD_BIAS.name, &[d])?;
        elements(self.y.len())
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [bias, y] = host.all();
        reference::add_bias(bias.f32(), y.f32_mut());
    }
    fn work(&self) -> Work {
        Work { flops: self.y.len() as u64, bytes: 2 * self.y.bytes() }
    }
}

pub(super) const CASES: &[Case] = &[Case::new(&ADD_BIAS, [512, 2048, 1], &[[7, 100, 1]], add_bias)];

fn add_bias(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    each(&AddBias { bias: &i.random("bias", &[n])?, y: &i.random("y", &[m, n])? })
}
