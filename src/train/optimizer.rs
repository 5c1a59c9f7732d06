//! AdamW's state over the slabs of an adapter, and one step of it: norm, clipping, update.

use crate::Result;
use crate::gpu::{ALIGN_WORDS, Recorder, Tensor};
use crate::kernels::{AdamW, ClipCoefficient, SumSquares};
use crate::model::{Adapter, Allocate, Layout, Part, Tensors};

/// Numbers of one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// From 1.
    pub(super) t: u64,
    pub(super) lr: f64,
    pub(super) betas: (f64, f64),
    pub(super) eps: f64,
    pub(super) weight_decay: f64,
    pub(super) max_grad_norm: f64,
}

/// First and second moments of one slab.
struct Moments<T> {
    m: T,
    v: T,
}

/// What AdamW remembers, slab by slab, and scratch for the gradient's norm.
pub(crate) struct Optimizer<T = Tensor> {
    moments: Vec<Moments<T>>,
    partials: T,
}

impl<T> Optimizer<T> {
    /// State for the slabs of `layout`, or its size where `a` only counts.
    pub(super) fn new<A: Allocate<Tensor = T>>(a: &mut A, layout: &Layout) -> Result<Self> {
        let mut moments = Vec::new();
        for slab in layout.slabs() {
            let m = a.floats(Part::Optimizer, "adamw first moment", &[slab.len])?;
            let v = a.floats(Part::Optimizer, "adamw second moment", &[slab.len])?;
            moments.push(Moments { m, v });
        }
        let words = layout.slabs().iter().map(|slab| partials_words(slab.len)).sum();
        let partials = a.floats(Part::Optimizer, "partial sums of squares", &[words])?;
        Ok(Optimizer { moments, partials })
    }
}

impl Optimizer {
    /// Norm, clipping and AdamW over the slabs.
    pub(super) fn record(
        &self,
        rec: &mut Recorder,
        adapter: &Adapter,
        stats: &Tensor,
        step: Step,
    ) -> Result<()> {
        let gradients = adapter.gradient_slabs()?;
        let mut at = 0;
        for g in gradients {
            let n = SumSquares::partials(g.len());
            let partials = self.partials.slice(at, &[n], "partials")?;
            rec.record(&SumSquares { g, partials: &partials })?;
            at += partials_words(g.len());
        }
        let max_norm = step.max_grad_norm as f32;
        rec.record(&ClipCoefficient { partials: &self.partials, stats, max_norm })?;
        let (t, (beta1, beta2)) = (step.t as i32, step.betas);
        for ((g, p), Moments { m, v }) in gradients.iter().zip(adapter.slabs()).zip(&self.moments) {
            rec.record(&AdamW {
                g,
                p,
                m,
                v,
                stats,
                lr: step.lr as f32,
                beta1: beta1 as f32,
                beta2: beta2 as f32,
                eps: step.eps as f32,
                weight_decay: step.weight_decay as f32,
                bias1: (1.0 - beta1.powi(t)) as f32,
                bias2: (1.0 - beta2.powi(t)) as f32,
            })?;
        }
        Ok(())
    }

    fn slabs(&self, of: fn(&Moments<Tensor>) -> &Tensor) -> Vec<Tensor> {
        self.moments.iter().map(|m| of(m).clone()).collect()
    }

    /// First and second moment of every tensor, under the tensor's name.
    pub(super) async fn moments(
        &self,
        adapter: &Adapter,
        gpu: &crate::gpu::Gpu,
    ) -> Result<[Tensors; 2]> {
        let first = adapter.collect(gpu, &self.slabs(|m| &m.m)).await?;
        Ok([first, adapter.collect(gpu, &self.slabs(|m| &m.v)).await?])
    }

    /// Overwrites what [`Optimizer::moments`] gave. **Errors** as for parameters.
    pub(super) fn load(
        &self,
        adapter: &Adapter,
        gpu: &crate::gpu::Gpu,
        moments: &[Tensors; 2],
    ) -> Result<()> {
        adapter.load_into(gpu, &self.slabs(|m| &m.m), &moments[0])?;
        adapter.load_into(gpu, &self.slabs(|m| &m.v), &moments[1])
    }
}

fn partials_words(slab: usize) -> usize {
    SumSquares::partials(slab).next_multiple_of(ALIGN_WORDS)
}
