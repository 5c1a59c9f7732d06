//! Gradient norm, clipping, AdamW.

use super::cases::{Case, Each, Inputs};
use super::{elements, params};
use crate::gpu::{HostBuffers, Kernel, Op, Selection, Tensor, Work, grid};
use crate::quant::dynamic8_code;
use crate::{Result, reference};

static SUM_SQUARES: Kernel = kernel!(optimizer, "sum_squares", [g: Read, partials: Write]);
static CLIP_COEFFICIENT: Kernel =
    kernel!(optimizer, "clip_coefficient", [partials: Read, stats: Update]);
static ADAMW: Kernel =
    kernel!(optimizer, "adamw", [g: Update, theta: Update, m: Update, v: Update, stats: Read]);

static ADAMW8BIT: Kernel = kernel!(
    optimizer, "adamw8bit",
    [g: Update, theta: Update, m: Update, v: Update, scales: Update, stats: Read, codes: Table]
);

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct SumParams {
    n: u32,
    chunks: u32,
}

/// Sums of squares: `partials[i] = Σ g²` over the `i`-th [`CHUNK`](reference::CHUNK) elements.
///
/// Several gradients share one tensor of partial sums: each writes a slice of it, and the words
/// between the slices stay 0.
///
/// **Shapes** `g` any, `partials (P)` with `P` = [`SumSquares::partials`].
/// **Errors** [`Shape`](crate::Error::Shape). **Source** sum in a fixed order.
/// **Twin** [`reference::sum_squares`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct SumSquares<'a> {
    pub g: &'a Tensor,
    pub partials: &'a Tensor,
}

impl SumSquares<'_> {
    /// Number of partial sums of `n` elements.
    pub fn partials(n: usize) -> usize {
        n.div_ceil(reference::CHUNK)
    }
}

impl Op for SumSquares<'_> {
    fn kernel(&self) -> &'static Kernel {
        &SUM_SQUARES
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.g, self.partials]
    }
    fn params(&self) -> Vec<u8> {
        params(&SumParams { n: self.g.len() as u32, chunks: self.partials.len() as u32 })
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let chunks = SumSquares::partials(self.g.len());
        self.partials.expect(SUM_SQUARES.name, &[chunks])?;
        grid(chunks)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [g, partials] = host.all();
        reference::sum_squares(g.f32(), partials.f32_mut());
    }
    fn work(&self) -> Work {
        Work { flops: 2 * self.g.len() as u64, bytes: self.g.bytes() + self.partials.bytes() }
    }
    fn bound(&self) -> f32 {
        1e-6
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct ClipParams {
    n: u32,
    max_norm: f32,
}

/// Clipping: `stats[0] = norm = √(Σ partials)`, `stats[1] = min(1, max_norm / (norm + 10⁻⁶))`, or 1
/// where `max_norm` is 0. Where the norm is not finite, the coefficient is 0.
///
/// **Shapes** `partials (P)`, `stats (8)`. **Errors** [`Shape`](crate::Error::Shape).
/// **Source** Pascanu et al. 2013 (arXiv:1211.5063), as torch's `clip_grad_norm_`.
/// **Twin** [`reference::clip_coefficient`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct ClipCoefficient<'a> {
    pub partials: &'a Tensor,
    pub stats: &'a Tensor,
    pub max_norm: f32,
}

impl Op for ClipCoefficient<'_> {
    fn kernel(&self) -> &'static Kernel {
        &CLIP_COEFFICIENT
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.partials, self.stats]
    }
    fn params(&self) -> Vec<u8> {
        params(&ClipParams { n: self.partials.len() as u32, max_norm: self.max_norm })
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        self.stats.expect(CLIP_COEFFICIENT.name, &[8])?;
        grid(1)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [partials, stats] = host.all();
        reference::clip_coefficient(partials.f32(), self.max_norm, stats.f32_mut());
    }
    fn work(&self) -> Work {
        Work { flops: self.partials.len() as u64, bytes: self.partials.bytes() }
    }
    fn bound(&self) -> f32 {
        1e-6
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct AdamWParams {
    n: u32,
    decay: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    eps: f32,
    step: f32,
    root: f32,
}

/// AdamW on the clipped gradient `g' = g·stats[1]`: `p *= 1 − lr·weight_decay`,
/// `m += (1 − beta1)·(g' − m)`, `v = beta2·v + (1 − beta2)·g'²`,
/// `p −= lr/bias1 · m / (√v/√bias2 + eps)` with `biasK = 1 − betaK^t`. Then `g = 0`, so that the
/// next window accumulates from nothing. Where `stats[0]` is not finite, only `g` changes.
///
/// **Shapes** `g, p, m, v` alike, `stats (8)` as [`ClipCoefficient`] left it.
/// **Errors** [`Shape`](crate::Error::Shape). **Source** Loshchilov & Hutter 2019
/// (arXiv:1711.05101), algorithm 2, in the order of torch. **Twin** [`reference::adamw`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct AdamW<'a> {
    pub g: &'a Tensor,
    pub p: &'a Tensor,
    pub m: &'a Tensor,
    pub v: &'a Tensor,
    pub stats: &'a Tensor,
    pub step: AdamWStep,
}

/// Numbers of a step of [`AdamW`] or [`AdamW8bit`]: `biasK = 1 − betaK^t`.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formulas of the operations name every field")]
pub struct AdamWStep {
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    pub bias1: f64,
    pub bias2: f64,
}

impl AdamWStep {
    /// Rounded once each: 1 − 0.999 of an f32 0.999 would be 10⁻⁵ off.
    fn factors(&self) -> reference::AdamWFactors {
        reference::AdamWFactors {
            decay: (1.0 - self.lr * self.weight_decay) as f32,
            beta1: self.beta1 as f32,
            rest1: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            rest2: (1.0 - self.beta2) as f32,
            eps: self.eps as f32,
            step: (self.lr / self.bias1) as f32,
            root: self.bias2.sqrt() as f32,
        }
    }
}

impl Op for AdamW<'_> {
    fn kernel(&self) -> &'static Kernel {
        &ADAMW
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.g, self.p, self.m, self.v, self.stats]
    }
    fn params(&self) -> Vec<u8> {
        let reference::AdamWFactors { decay, rest1, beta2, rest2, eps, step, root, .. } =
            self.step.factors();
        let n = self.p.len() as u32;
        params(&AdamWParams { n, decay, rest1, beta2, rest2, eps, step, root })
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        for tensor in [self.g, self.m, self.v] {
            tensor.expect(ADAMW.name, self.p.dims())?;
        }
        self.stats.expect(ADAMW.name, &[8])?;
        elements(self.p.len())
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [g, p, m, v, stats] = host.all();
        let (g, p, m, v) = (g.f32_mut(), p.f32_mut(), m.f32_mut(), v.f32_mut());
        reference::adamw(g, p, m, v, stats.f32(), &self.step.factors());
    }
    fn work(&self) -> Work {
        Work { flops: 13 * self.p.len() as u64, bytes: 8 * self.p.bytes() }
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct AdamW8bitParams {
    blocks: u32,
    decay: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    eps: f32,
    step: f32,
    root: f32,
}

/// [`AdamW`] whose moments are 8-bit codes with one scale, the largest magnitude, per block of 256
/// elements: `m = code₁[m]·scale₁`, `v = code₂[v]·scale₂`, both quantized again after the update.
///
/// Code 0 with scale 0 is the zero that a run starts from.
///
/// **Shapes** `g, p (n)` with `n` a multiple of 256; `m, v (n/4)` words of four codes;
/// `scales (n/256, 2)`; `stats (8)`; `codes (512)`, the table [`AdamW8bit::codes`]. **Errors**
/// [`Shape`](crate::Error::Shape). **Source** Dettmers et al. 2022 (arXiv:2110.02861), §2, with the
/// rounding of bitsandbytes on CPUs. **Twin** [`reference::adamw8bit`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct AdamW8bit<'a> {
    pub g: &'a Tensor,
    pub p: &'a Tensor,
    pub m: &'a Tensor,
    pub v: &'a Tensor,
    pub scales: &'a Tensor,
    pub stats: &'a Tensor,
    pub codes: &'a Tensor,
    pub step: AdamWStep,
}

impl AdamW8bit<'_> {
    /// Elements that share a scale.
    pub const BLOCK: usize = reference::BLOCK8;

    /// The values of both codes: what the table `codes` holds.
    pub fn codes() -> Vec<f32> {
        [dynamic8_code(true), dynamic8_code(false)].concat()
    }
}

impl Op for AdamW8bit<'_> {
    fn kernel(&self) -> &'static Kernel {
        &ADAMW8BIT
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.g, self.p, self.m, self.v, self.scales, self.stats, self.codes]
    }
    fn params(&self) -> Vec<u8> {
        let reference::AdamWFactors { decay, beta1, rest1, beta2, rest2, eps, step, root } =
            self.step.factors();
        let blocks = (self.p.len() / Self::BLOCK) as u32;
        params(&AdamW8bitParams { blocks, decay, beta1, rest1, beta2, rest2, eps, step, root })
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let (name, blocks) = (ADAMW8BIT.name, self.p.len() / Self::BLOCK);
        self.p.expect(name, &[blocks * Self::BLOCK])?;
        self.g.expect(name, self.p.dims())?;
        self.m.expect(name, &[self.p.len() / 4])?;
        self.v.expect(name, &[self.p.len() / 4])?;
        self.scales.expect(name, &[blocks, 2])?;
        self.stats.expect(name, &[8])?;
        self.codes.expect(name, &[512])?;
        grid(blocks)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [g, p, m, v, scales, stats, codes] = host.all();
        reference::adamw8bit(
            g.f32_mut(),
            p.f32_mut(),
            m.bytes_mut(),
            v.bytes_mut(),
            scales.f32_mut(),
            stats.f32(),
            codes.f32(),
            &self.step.factors(),
        );
    }
    fn work(&self) -> Work {
        // Both passes compute the moments; a search is eight comparisons.
        let n = self.p.len() as u64;
        Work {
            flops: 40 * n,
            bytes: 4 * self.p.bytes() + 4 * self.m.bytes() + 2 * self.scales.bytes(),
        }
    }
}

pub(super) const CASES: &[Case] = &[
    Case::new(&SUM_SQUARES, [2048, 2048, 1], &[[50, 100, 1]], sum_squares),
    Case::new(&CLIP_COEFFICIENT, [1, 1024, 1], &[[1, 100, 1]], clip_coefficient),
    Case::new(&ADAMW, [2048, 2048, 1], &[[50, 100, 1]], adamw),
    Case::new(&ADAMW8BIT, [2048, 2048, 1], &[[64, 100, 1]], adamw8bit),
];

fn sum_squares(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let partials = i.zeros("partials", &[SumSquares::partials(m * n)])?;
    each(&SumSquares { g: &i.random("g", &[m * n])?, partials: &partials })
}

fn clip_coefficient(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (partials, stats) = (i.positive("partials", &[m * n])?, i.zeros("stats", &[8])?);
    each(&ClipCoefficient { partials: &partials, stats: &stats, max_norm: 1.0 })
}

fn adamw(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let size = [m * n];
    let (g, p) = (i.random("g", &size)?, i.random("p", &size)?);
    let (first, second) = (i.random("m", &size)?, i.positive("v", &size)?);
    each(&AdamW {
        g: &g,
        p: &p,
        m: &first,
        v: &second,
        stats: &i.positive("stats", &[8])?,
        step: STEP,
    })
}

const STEP: AdamWStep = AdamWStep {
    lr: 1e-3,
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weight_decay: 0.01,
    bias1: 0.1,
    bias2: 0.001,
};

fn adamw8bit(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let n = (m * n).next_multiple_of(AdamW8bit::BLOCK);
    let (g, p) = (i.random("g", &[n])?, i.random("p", &[n])?);
    i.keep("codes", bytemuck::cast_slice(&AdamW8bit::codes()));
    each(&AdamW8bit {
        g: &g,
        p: &p,
        m: &i.codes("m", n / 4)?,
        v: &i.codes("v", n / 4)?,
        scales: &i.positive("scales", &[n / AdamW8bit::BLOCK, 2])?,
        stats: &i.positive("stats", &[8])?,
        codes: &i.gpu.table("codes", &AdamW8bit::codes())?,
        step: STEP,
    })
}
