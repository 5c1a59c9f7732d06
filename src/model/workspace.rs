//! Every activation, allocated once for the largest batch and viewed at the size of each pass.

use super::module::Module;
use super::plan::{Allocate, Device, MemoryPlan, Part};
use crate::Result;
use crate::format::ModelConfig;
use crate::gpu::{Gpu, Tensor};

/// Rows of logits that exist at a time: their chunk stays near this many bytes.
const LOGITS_BYTES: usize = 32 << 20;

/// What a pass looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Sequences, B.
    pub batch: usize,
    /// Tokens of each that are new, T.
    pub queries: usize,
    /// Positions whose logits are needed, L.
    pub targets: usize,
}

impl Pass {
    /// `N = B·T`.
    pub fn rows(&self) -> usize {
        self.batch * self.queries
    }
}

/// What a block's backward needs from its forward.
#[derive(Clone, Debug)]
pub(super) struct Activations<T = Tensor> {
    pub(super) h1: T,
    pub(super) rstd1: T,
    pub(super) q: T,
    pub(super) k: T,
    pub(super) v: T,
    pub(super) att: T,
    pub(super) lse: T,
    pub(super) mid: T,
    pub(super) h2: T,
    pub(super) rstd2: T,
    pub(super) gate: T,
    pub(super) up: T,
    pub(super) act: T,
    /// `x·Aᵀ` of each adapted layer, `(N, R)`.
    pub(super) lora: [T; 7],
    /// Output before DoRA's scale.
    pub(super) dora: Option<[T; 7]>,
    /// The workspace's scratch of that name; a layer has none of its own.
    pub(super) parted: Option<T>,
}

/// Gradients and scratch of a backward pass.
#[derive(Clone, Debug)]
pub(super) struct Backward<T = Tensor> {
    pub(super) dx: T,
    pub(super) dh: T,
    pub(super) dq: T,
    pub(super) dk: T,
    pub(super) dv: T,
    pub(super) datt: T,
    pub(super) delta: T,
    pub(super) dgate: T,
    pub(super) dup: T,
    pub(super) dact: T,
    pub(super) dlora: T,
    /// `(N, widest)`: gradients before DoRA's scale.
    pub(super) wide: T,
    /// `(N, widest)`: parts of an input that DoRA's dropout divides, and their gradients.
    pub(super) parted: Option<T>,
}

/// All tensors of a workspace.
struct Parts<T = Tensor> {
    ids: T,
    positions: T,
    /// Row of each target, `(L)`.
    targets: T,
    /// Token of each target, `(L)`.
    labels: T,
    /// Target of each row or none, `(N)`.
    inverse: T,
    hidden: Vec<T>,
    layers: Vec<Activations<T>>,
    backward: Option<Backward<T>>,
    head_x: T,
    head_h: T,
    head_rstd: T,
    head_dh: T,
    head_dx: T,
    logits: T,
    nll: T,
}

/// Activations of a batch.
pub struct Workspace {
    extent: Extent,
    parts: Parts,
    bytes: u64,
}

/// Shape of an adapter as far as activations go.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AdapterShape {
    pub(crate) rank: usize,
    pub(crate) dora: bool,
    /// DoRA with dropout.
    pub(crate) parted: bool,
}

/// What a workspace is made for; all its shapes follow.
#[derive(Clone, Debug)]
pub(crate) struct Extent {
    pub(crate) config: ModelConfig,
    pub(crate) largest: Pass,
    pub(crate) adapter: AdapterShape,
    /// Room for backward.
    pub(crate) training: bool,
    /// One set of activations serves all layers.
    pub(crate) checkpointing: bool,
}

/// `(name, width)` of the block activations that have N rows.
struct Widths {
    d: usize,
    q: usize,
    kv: usize,
    f: usize,
    heads: usize,
}

impl Widths {
    fn of(config: &ModelConfig) -> Widths {
        Widths {
            d: config.hidden_size,
            q: config.num_attention_heads * config.head_dim,
            kv: config.num_key_value_heads * config.head_dim,
            f: config.intermediate_size,
            heads: config.num_attention_heads,
        }
    }

    fn widest(&self) -> usize {
        self.d.max(self.q).max(self.f)
    }
}

impl Extent {
    /// What the workspace will take, added to a plan.
    pub(crate) fn count(&self, plan: &mut MemoryPlan) -> Result<()> {
        self.walk(plan).map(drop)
    }

    fn walk<A: Allocate>(&self, a: &mut A) -> Result<Parts<A::Tensor>> {
        let (config, training) = (&self.config, self.training);
        let (n, l, w) = (self.largest.rows(), self.largest.targets.max(1), Widths::of(config));
        let kept = if training && !self.checkpointing { config.num_hidden_layers } else { 1 };
        // Without a backward pass the residual stream is one tensor.
        let hidden = if training { config.num_hidden_layers + 1 } else { 1 };
        let layers = (0..kept).map(|_| self.activations(a)).collect::<Result<_>>()?;
        let hidden = (0..hidden).map(|_| a.floats(Part::Activations, "hidden", &[n, w.d]));
        let hidden = hidden.collect::<Result<_>>()?;
        let backward = training.then(|| self.backward(a)).transpose()?;
        let chunk = logit_rows(config).min(l.next_multiple_of(64));
        let head_grad = if training { l } else { 1 };
        let mut floats = |name, dims: &[usize]| a.floats(Part::Workspace, name, dims);
        Ok(Parts {
            hidden,
            layers,
            backward,
            head_x: floats("head input", &[l, w.d])?,
            head_h: floats("head norm", &[l, w.d])?,
            head_rstd: floats("head rstd", &[l])?,
            head_dh: floats("head dh", &[head_grad, w.d])?,
            head_dx: floats("head dx", &[head_grad, w.d])?,
            logits: floats("logits", &[chunk, config.vocab_size])?,
            nll: floats("nll", &[l])?,
            ids: a.words(Part::Workspace, "ids", n)?,
            positions: a.words(Part::Workspace, "positions", n)?,
            targets: a.words(Part::Workspace, "targets", l)?,
            labels: a.words(Part::Workspace, "labels", l)?,
            inverse: a.words(Part::Workspace, "inverse", n)?,
        })
    }

    fn activations<A: Allocate>(&self, a: &mut A) -> Result<Activations<A::Tensor>> {
        let (n, w) = (self.largest.rows(), Widths::of(&self.config));
        let mut floats = |name, dims: &[usize]| a.floats(Part::Activations, name, dims);
        let r = self.adapter.rank.max(1);
        let mut lora = Vec::new();
        let mut dora = Vec::new();
        for module in Module::ALL {
            lora.push(floats("x·Aᵀ", &[n, r])?);
            if self.adapter.dora {
                dora.push(floats("before DoRA's scale", &[n, module.shape(&self.config).0])?);
            }
        }
        let seven = |v: Vec<A::Tensor>| <[A::Tensor; 7]>::try_from(v).ok();
        Ok(Activations {
            h1: floats("h1", &[n, w.d])?,
            rstd1: floats("rstd1", &[n])?,
            q: floats("q", &[n, w.q])?,
            k: floats("k", &[n, w.kv])?,
            v: floats("v", &[n, w.kv])?,
            att: floats("att", &[n, w.q])?,
            lse: floats("lse", &[n, w.heads])?,
            mid: floats("mid", &[n, w.d])?,
            h2: floats("h2", &[n, w.d])?,
            rstd2: floats("rstd2", &[n])?,
            gate: floats("gate", &[n, w.f])?,
            up: floats("up", &[n, w.f])?,
            act: floats("act", &[n, w.f])?,
            lora: seven(lora).expect("one per module"),
            dora: if self.adapter.dora { seven(dora) } else { None },
            parted: None,
        })
    }

    fn backward<A: Allocate>(&self, a: &mut A) -> Result<Backward<A::Tensor>> {
        let (n, w) = (self.largest.rows(), Widths::of(&self.config));
        let mut floats = |name, dims: &[usize]| a.floats(Part::Workspace, name, dims);
        Ok(Backward {
            dx: floats("dx", &[n, w.d])?,
            dh: floats("dh", &[n, w.d])?,
            dq: floats("dq", &[n, w.q])?,
            dk: floats("dk", &[n, w.kv])?,
            dv: floats("dv", &[n, w.kv])?,
            datt: floats("datt", &[n, w.q])?,
            delta: floats("delta", &[n, w.heads])?,
            dgate: floats("dgate", &[n, w.f])?,
            dup: floats("dup", &[n, w.f])?,
            dact: floats("dact", &[n, w.f])?,
            dlora: floats("dlora", &[n, self.adapter.rank.max(1)])?,
            wide: floats("wide", &[n, w.widest()])?,
            parted: match self.adapter.parted {
                true => Some(floats("parted", &[n, w.widest()])?),
                false => None,
            },
        })
    }
}

/// Rows of logits computed at a time: a multiple of 64, about 32 MiB.
fn logit_rows(config: &ModelConfig) -> usize {
    (LOGITS_BYTES / 4 / config.vocab_size / 64 * 64).clamp(64, 512)
}

impl Workspace {
    /// Allocates. **Errors** [`OutOfMemory`](crate::Error::OutOfMemory).
    pub(super) fn new(gpu: &Gpu, extent: Extent) -> Result<Workspace> {
        let mut device = Device::new(gpu);
        let parts = extent.walk(&mut device)?;
        Ok(Workspace { extent, parts, bytes: device.plan.total() })
    }

    /// Whether a block's forward is recorded again before its backward.
    pub(super) fn checkpointing(&self) -> bool {
        self.extent.checkpointing
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a pass fits.
    pub(super) fn fits(&self, pass: Pass, adapter: AdapterShape, training: bool) -> bool {
        let has = &self.extent;
        pass.rows() <= has.largest.rows()
            && pass.targets <= has.largest.targets
            && adapter.rank <= has.adapter.rank.max(1)
            && (!adapter.dora || has.adapter.dora)
            && (!training || !adapter.parted || has.adapter.parted)
            && (!training || has.training)
    }

    /// Views of this pass's size.
    pub(super) fn frame(&self, pass: Pass, rank: usize) -> Result<Frame<'_>> {
        Ok(Frame { space: self, pass, rank, widths: Widths::of(&self.extent.config) })
    }
}

/// The workspace at the size of one pass.
pub(super) struct Frame<'a> {
    pub(super) space: &'a Workspace,
    pub(super) pass: Pass,
    rank: usize,
    widths: Widths,
}

impl Frame<'_> {
    fn rows(&self, tensor: &Tensor, width: usize) -> Result<Tensor> {
        tensor.view(&[self.pass.rows(), width])
    }

    /// Whether a backward pass may follow, so that nothing may be overwritten.
    pub(super) fn keeps_activations(&self) -> bool {
        self.space.extent.training
    }

    /// Input of layer `l`, or the last layer's output.
    pub(super) fn hidden(&self, l: usize) -> Result<Tensor> {
        let all = &self.space.parts.hidden;
        self.rows(&all[if self.space.extent.training { l } else { l % all.len() }], self.widths.d)
    }

    /// Activations of layer `l`.
    pub(super) fn acts(&self, l: usize) -> Result<Activations> {
        let (layers, w) = (&self.space.parts.layers, &self.widths);
        let a = &layers[l % layers.len()];
        let n = self.pass.rows();
        let lora = a.lora.each_ref().map(|t| t.view(&[n, self.rank.max(1)]));
        let [l0, l1, l2, l3, l4, l5, l6] = lora;
        let dora = match &a.dora {
            None => None,
            Some(all) => {
                let [z0, z1, z2, z3, z4, z5, z6] = all.each_ref().map(|t| t.view(&[n, t.dim(1)]));
                Some([z0?, z1?, z2?, z3?, z4?, z5?, z6?])
            }
        };
        Ok(Activations {
            h1: self.rows(&a.h1, w.d)?,
            rstd1: a.rstd1.view(&[n])?,
            q: self.rows(&a.q, w.q)?,
            k: self.rows(&a.k, w.kv)?,
            v: self.rows(&a.v, w.kv)?,
            att: self.rows(&a.att, w.q)?,
            lse: self.rows(&a.lse, w.heads)?,
            mid: self.rows(&a.mid, w.d)?,
            h2: self.rows(&a.h2, w.d)?,
            rstd2: a.rstd2.view(&[n])?,
            gate: self.rows(&a.gate, w.f)?,
            up: self.rows(&a.up, w.f)?,
            act: self.rows(&a.act, w.f)?,
            lora: [l0?, l1?, l2?, l3?, l4?, l5?, l6?],
            dora,
            parted: self.space.parts.backward.as_ref().and_then(|b| b.parted.clone()),
        })
    }

    /// Gradients and scratch. **Errors** [`Invalid`](crate::Error::Invalid) in an inference workspace.
    pub(super) fn backward(&self) -> Result<Backward> {
        let b = self.space.parts.backward.as_ref().ok_or_else(|| {
            crate::Error::invalid("backward", "the workspace was allocated for inference")
        })?;
        let w = &self.widths;
        Ok(Backward {
            dx: self.rows(&b.dx, w.d)?,
            dh: self.rows(&b.dh, w.d)?,
            dq: self.rows(&b.dq, w.q)?,
            dk: self.rows(&b.dk, w.kv)?,
            dv: self.rows(&b.dv, w.kv)?,
            datt: self.rows(&b.datt, w.q)?,
            delta: self.rows(&b.delta, w.heads)?,
            dgate: self.rows(&b.dgate, w.f)?,
            dup: self.rows(&b.dup, w.f)?,
            dact: self.rows(&b.dact, w.f)?,
            dlora: self.rows(&b.dlora, self.rank.max(1))?,
            wide: self.rows(&b.wide, w.widest())?,
            parted: b.parted.as_ref().map(|t| self.rows(t, w.widest())).transpose()?,
        })
    }

    pub(super) fn ids(&self) -> Result<Tensor> {
        self.space.parts.ids.view(&[self.pass.rows()])
    }

    pub(super) fn positions(&self) -> Result<Tensor> {
        self.space.parts.positions.view(&[self.pass.rows()])
    }

    pub(super) fn inverse(&self) -> Result<Tensor> {
        self.space.parts.inverse.view(&[self.pass.rows()])
    }

    /// The head's tensors at the pass's number of targets.
    pub(super) fn head(&self) -> Result<Head> {
        let (s, l, d) = (&self.space.parts, self.pass.targets, self.widths.d);
        let grad = if self.space.extent.training { l } else { 1 };
        Ok(Head {
            targets: s.targets.view(&[l])?,
            labels: s.labels.view(&[l])?,
            x: s.head_x.view(&[l, d])?,
            h: s.head_h.view(&[l, d])?,
            rstd: s.head_rstd.view(&[l])?,
            dh: s.head_dh.view(&[grad, d])?,
            dx: s.head_dx.view(&[grad, d])?,
            logits: s.logits.clone(),
            nll: s.nll.view(&[l])?,
        })
    }
}

/// The head's tensors: `L` targets.
pub(super) struct Head {
    pub(super) targets: Tensor,
    pub(super) labels: Tensor,
    pub(super) x: Tensor,
    pub(super) h: Tensor,
    pub(super) rstd: Tensor,
    pub(super) dh: Tensor,
    pub(super) dx: Tensor,
    /// `(chunk, V)`.
    pub(super) logits: Tensor,
    pub(super) nll: Tensor,
}
