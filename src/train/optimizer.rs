//! AdamW's state over the slabs of an adapter, and one step of it: norm, clipping, update.

use std::collections::BTreeMap;

use super::config::Optim;
use crate::gpu::{ALIGN_WORDS, Elem, Gpu, Recorder, Tensor};
use crate::kernels::{AdamW, AdamW8bit, AdamWStep, ClipCoefficient, SumSquares};
use crate::model::{Adapter, Allocate, Layout, Purpose};
use crate::{Error, Result};

/// Elements of a tensor of the state on the host.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Moments, or scales of codes.
    F32(Vec<f32>),
    /// Codes of 8 bits.
    U8(Vec<u8>),
}

/// Shape and values of every tensor of the state: `first_moment.NAME` and `second_moment.NAME` for
/// each trainable tensor, and `first_moment_scales.NAME`, `second_moment_scales.NAME` where they
/// are codes.
pub type OptimizerState = BTreeMap<String, (Vec<usize>, Values)>;

/// Numbers of one step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Step {
    /// From 1.
    pub(crate) t: u64,
    pub(crate) lr: f64,
    pub(crate) betas: (f64, f64),
    pub(crate) eps: f64,
    pub(crate) weight_decay: f64,
    pub(crate) max_grad_norm: f64,
}

/// First and second moments of one slab.
enum Moments<T> {
    /// In 32 bits.
    Full { m: T, v: T },
    /// As codes of 8 bits; a scale of either per block of [`AdamW8bit::BLOCK`].
    Coded { m: T, v: T, scales: T },
}

/// What AdamW remembers, slab by slab, and scratch for the gradient's norm.
pub(crate) struct Optimizer<T = Tensor> {
    moments: Vec<Moments<T>>,
    /// Values of the codes.
    codes: Option<T>,
    partials: T,
}

impl<T> Optimizer<T> {
    /// State for the slabs of `layout`, or its size where `a` only counts.
    pub(crate) fn new<A: Allocate<Tensor = T>>(
        a: &mut A,
        layout: &Layout,
        optim: Optim,
    ) -> Result<Self> {
        let part = Purpose::Optimizer;
        let mut moments = Vec::new();
        for slab in layout.slabs() {
            let coded = optim == Optim::Adamw8bit && !slab.small;
            let (dims, elem) = match coded {
                true => ([slab.len / 4], Elem::Codes),
                false => ([slab.len], Elem::F32),
            };
            let m = a.tensor(part, "adamw first moment", &dims, elem)?;
            let v = a.tensor(part, "adamw second moment", &dims, elem)?;
            let blocks = [slab.len / AdamW8bit::BLOCK, 2];
            moments.push(match coded {
                true => Moments::Coded { m, v, scales: a.floats(part, "adamw scales", &blocks)? },
                false => Moments::Full { m, v },
            });
        }
        let codes = (optim == Optim::Adamw8bit)
            .then(|| a.table(part, "adamw codes", &AdamW8bit::codes()))
            .transpose()?;
        let words = layout.slabs().iter().map(|slab| partials_words(slab.len)).sum();
        let partials = a.floats(part, "partial sums of squares", &[words])?;
        Ok(Optimizer { moments, codes, partials })
    }
}

impl Optimizer {
    /// Norm, clipping and AdamW over the slabs.
    pub(crate) fn record(
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
        let step = AdamWStep {
            lr: step.lr,
            beta1,
            beta2,
            eps: step.eps,
            weight_decay: step.weight_decay,
            bias1: 1.0 - beta1.powi(t),
            bias2: 1.0 - beta2.powi(t),
        };
        for ((g, p), moments) in gradients.iter().zip(adapter.slabs()).zip(&self.moments) {
            match (moments, &self.codes) {
                (Moments::Full { m, v }, _) => rec.record(&AdamW { g, p, m, v, stats, step })?,
                (Moments::Coded { m, v, scales }, Some(codes)) => {
                    rec.record(&AdamW8bit { g, p, m, v, scales, stats, codes, step })?;
                }
                (Moments::Coded { .. }, None) => {
                    return Err(Error::invalid(
                        "optimizer",
                        "has codes and no table of their values",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Every tensor of the state in the layout's places: calls `each` with a slab's tensor, the
    /// first element of this one's part in it, key, shape, and whether its words are codes.
    fn parts<'a>(
        &'a self,
        adapter: &'a Adapter,
    ) -> impl Iterator<Item = (&'a Tensor, Place, String, Vec<usize>)> + 'a {
        adapter.entries().iter().enumerate().flat_map(move |(i, (name, dims))| {
            let (slab, at) = adapter.layout().place(i);
            let n: usize = dims.iter().product();
            let first = format!("first_moment.{name}");
            let second = format!("second_moment.{name}");
            let whole = Place::Floats { at, n };
            match &self.moments[slab] {
                Moments::Full { m, v } => {
                    vec![(m, whole, first, dims.clone()), (v, whole, second, dims.clone())]
                }
                Moments::Coded { m, v, scales } => {
                    let codes = Place::Codes { at, n };
                    let (block, blocks) = (at / AdamW8bit::BLOCK, n.div_ceil(AdamW8bit::BLOCK));
                    let scale = |which| Place::Scales { block, blocks, which };
                    let key = |which| format!("{which}_moment_scales.{name}");
                    vec![
                        (m, codes, first, dims.clone()),
                        (v, codes, second, dims.clone()),
                        (scales, scale(0), key("first"), vec![blocks]),
                        (scales, scale(1), key("second"), vec![blocks]),
                    ]
                }
            }
        })
    }

    /// The whole state, bit by bit.
    pub(super) async fn state(&self, adapter: &Adapter, gpu: &Gpu) -> Result<OptimizerState> {
        let mut host = Host::default();
        let mut state = OptimizerState::new();
        for (tensor, part, key, dims) in self.parts(adapter) {
            let words = host.words(gpu, tensor).await?;
            state.insert(key, (dims, part.cut(words)));
        }
        Ok(state)
    }

    /// Overwrites it with what [`Optimizer::state`] gave. **Errors** [`Error::MissingTensor`],
    /// [`Error::Shape`] if that is of another adapter or another optimizer.
    pub(super) async fn load(
        &self,
        adapter: &Adapter,
        gpu: &Gpu,
        state: &OptimizerState,
    ) -> Result<()> {
        let mut host = Host::default();
        for (tensor, part, key, dims) in self.parts(adapter) {
            let (shape, values) = state.get(&key).ok_or_else(|| Error::MissingTensor {
                name: key.clone(),
                file: "optimizer state".into(),
                hint: ": it is of another adapter, or was written with another ‹optim›".into(),
            })?;
            if *shape != dims || !part.takes(values) {
                return Err(Error::Shape {
                    op: "optimizer state".into(),
                    tensor: key,
                    expected: format!("{dims:?}"),
                    got: format!("{shape:?}"),
                });
            }
            part.paste(values, host.words(gpu, tensor).await?);
        }
        for (tensor, words) in host.0 {
            gpu.write_words(&tensor, 0, &words)?;
        }
        Ok(())
    }
}

/// Host copies of the slabs, each read once.
#[derive(Default)]
struct Host(Vec<(Tensor, Vec<u32>)>);

impl Host {
    async fn words(&mut self, gpu: &Gpu, tensor: &Tensor) -> Result<&mut Vec<u32>> {
        let at = match self.0.iter().position(|(known, _)| known.is(tensor)) {
            Some(at) => at,
            None => {
                self.0.push((tensor.clone(), gpu.read_words(tensor).await?));
                self.0.len() - 1
            }
        };
        Ok(&mut self.0[at].1)
    }
}

/// One tensor's part of a slab.
#[derive(Clone, Copy)]
enum Place {
    Floats {
        at: usize,
        n: usize,
    },
    Codes {
        at: usize,
        n: usize,
    },
    /// One of the two numbers of each block.
    Scales {
        block: usize,
        blocks: usize,
        which: usize,
    },
}

impl Place {
    fn len(self) -> usize {
        match self {
            Place::Floats { n, .. } | Place::Codes { n, .. } => n,
            Place::Scales { blocks, .. } => blocks,
        }
    }

    fn takes(self, values: &Values) -> bool {
        match (self, values) {
            (Place::Codes { .. }, Values::U8(codes)) => codes.len() == self.len(),
            (Place::Floats { .. } | Place::Scales { .. }, Values::F32(x)) => x.len() == self.len(),
            _ => false,
        }
    }

    fn cut(self, words: &[u32]) -> Values {
        let floats: &[f32] = bytemuck::cast_slice(words);
        match self {
            Place::Floats { at, n } => Values::F32(floats[at..][..n].to_vec()),
            Place::Codes { at, n } => {
                Values::U8(bytemuck::cast_slice::<u32, u8>(words)[at..][..n].to_vec())
            }
            Place::Scales { block, blocks, which } => {
                let pairs = &floats[2 * block..][..2 * blocks];
                Values::F32(pairs.iter().skip(which).step_by(2).copied().collect())
            }
        }
    }

    fn paste(self, values: &Values, words: &mut [u32]) {
        match (self, values) {
            (Place::Floats { at, n }, Values::F32(x)) => {
                bytemuck::cast_slice_mut::<u32, f32>(words)[at..][..n].copy_from_slice(x);
            }
            (Place::Codes { at, n }, Values::U8(codes)) => {
                bytemuck::cast_slice_mut::<u32, u8>(words)[at..][..n].copy_from_slice(codes);
            }
            (Place::Scales { block, which, .. }, Values::F32(x)) => {
                let floats: &mut [f32] = bytemuck::cast_slice_mut(words);
                for (i, value) in x.iter().enumerate() {
                    floats[2 * (block + i) + which] = *value;
                }
            }
            _ => {}
        }
    }
}

fn partials_words(slab: usize) -> usize {
    SumSquares::partials(slab).next_multiple_of(ALIGN_WORDS)
}
