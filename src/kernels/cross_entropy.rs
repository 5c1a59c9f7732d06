//! Cross-entropy loss and its gradient, and the sum of losses.

use super::cases::{Case, Each, Inputs};
use super::{fours, params};
use crate::gpu::{Context, HostBuffers, Kernel, Op, Selection, Takes, Tensor, Work, grid};
use crate::{Error, Result, reference};

static FUSED: Kernel = kernel!(
    loss, "cross_entropy_fused", [logits: Update, labels: Read, nll: Write],
    baseline tile Rows(1);
    "vec4": on Software where |a| a.slow_loads, takes Takes::ALIGNED, images [logits], tile Rows(1);
);
static REDUCE_SUM: Kernel = kernel!(loss, "reduce_sum", [x: Read, y: Update]);

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    l: u32,
    v: u32,
    scale: f32,
    gradient: u32,
}

/// Cross-entropy of each row: `nll = lse(logits) − logits[label]`, `lse` the logarithm of the sum
/// of exponentials. With `gradient` the logits become `(softmax − onehot) · scale` in place, else
/// they stay. A label from `V` on makes a row count for nothing: loss 0, gradient 0.
///
/// **Shapes** `logits (L, V)`, `labels (L)` words, `nll (L)`. **Errors** [`Shape`](Error::Shape) if
/// they disagree. **Source** Bridle 1990; the maximum is subtracted first.
/// **Twin** [`reference::cross_entropy_fused`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct CrossEntropyFused<'a> {
    pub logits: &'a Tensor,
    pub labels: &'a Tensor,
    pub scale: f32,
    pub gradient: bool,
    pub nll: &'a Tensor,
}

impl Op for CrossEntropyFused<'_> {
    fn kernel(&self) -> &'static Kernel {
        &FUSED
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.logits, self.labels, self.nll]
    }
    fn params(&self) -> Vec<u8> {
        let (l, v) = (self.logits.dim(0) as u32, self.logits.dim(1) as u32);
        params(&Params { l, v, scale: self.scale, gradient: u32::from(self.gradient) })
    }
    fn context(&self) -> Context {
        fours(self.logits.dim(1))
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let [l, _] = self.logits.matrix(FUSED.name)?;
        self.labels.expect(FUSED.name, &[l])?;
        self.nll.expect(FUSED.name, &[l])?;
        grid(l)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [logits, labels, nll] = host.all();
        let (scale, gradient) = (self.scale, self.gradient);
        let (logits, nll) = (logits.f32_mut(), nll.f32_mut());
        reference::cross_entropy_fused(logits, labels.u32(), scale, gradient, nll);
    }
    fn work(&self) -> Work {
        let (elements, bytes) = (self.logits.len() as u64, self.logits.bytes());
        let (flops, passes) = if self.gradient { (5, 2) } else { (4, 1) };
        Work { flops: flops * elements, bytes: passes * bytes + 2 * self.nll.bytes() }
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct SumParams {
    n: u32,
    slot: u32,
}

/// Sum into one slot: `y[slot] += Σ x`. It gathers the losses of a window on the device.
///
/// **Shapes** `x (n)`, `y (slots)`. **Errors** [`Invalid`](Error::Invalid) if `y` has no such slot.
/// **Source** sum in a fixed order. **Twin** [`reference::reduce_sum`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct ReduceSum<'a> {
    pub x: &'a Tensor,
    pub y: &'a Tensor,
    pub slot: usize,
}

impl Op for ReduceSum<'_> {
    fn kernel(&self) -> &'static Kernel {
        &REDUCE_SUM
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.x, self.y]
    }
    fn params(&self) -> Vec<u8> {
        params(&SumParams { n: self.x.len() as u32, slot: self.slot as u32 })
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        if self.slot >= self.y.len() {
            let why = format!("slot {} of {}", self.slot, self.y.len());
            return Err(Error::invalid(REDUCE_SUM.name, why));
        }
        grid(1)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [x, y] = host.all();
        reference::reduce_sum(x.f32(), self.slot, y.f32_mut());
    }
    fn work(&self) -> Work {
        Work { flops: self.x.len() as u64, bytes: self.x.bytes() }
    }
}

pub(super) const CASES: &[Case] = &[
    Case::new(&FUSED, [64, 128256, 1], &[[5, 1000, 1], [5, 999, 1]], cross_entropy_fused),
    Case::new(&REDUCE_SUM, [1, 512, 1], &[[1, 100, 1]], reduce_sum),
];

fn cross_entropy_fused(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (logits, labels) = (i.random("logits", &[m, n])?, i.indices("labels", m, n)?);
    let nll = i.zeros("nll", &[m])?;
    let op = CrossEntropyFused {
        logits: &logits,
        labels: &labels,
        scale: 0.1,
        gradient: true,
        nll: &nll,
    };
    each(&op)
}

fn reduce_sum(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    each(&ReduceSum { x: &i.random("x", &[m * n])?, y: &i.zeros("y", &[8])?, slot: 1 })
}
