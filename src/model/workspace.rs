//! Every activation, allocated once for the largest batch and viewed at the size of each pass.

use super::module::Module;
use crate::Result;
use crate::format::ModelConfig;
use crate::gpu::{Elem, Gpu, Tensor};

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
pub(super) struct Activations {
    pub(super) h1: Tensor,
    pub(super) rstd1: Tensor,
    pub(super) q: Tensor,
    pub(super) k: Tensor,
    pub(super) v: Tensor,
    pub(super) att: Tensor,
    pub(super) lse: Tensor,
    pub(super) mid: Tensor,
    pub(super) h2: Tensor,
    pub(super) rstd2: Tensor,
    pub(super) gate: Tensor,
    pub(super) up: Tensor,
    pub(super) act: Tensor,
    /// `x·Aᵀ` of each adapted layer, `(N, R)`.
    pub(super) lora: [Tensor; 7],
    /// Output before DoRA's scale.
    pub(super) dora: Option<[Tensor; 7]>,
}

/// Gradients and scratch of a backward pass.
#[derive(Clone, Debug)]
pub(super) struct Backward {
    pub(super) dx: Tensor,
    pub(super) dh: Tensor,
    pub(super) dq: Tensor,
    pub(super) dk: Tensor,
    pub(super) dv: Tensor,
    pub(super) datt: Tensor,
    pub(super) delta: Tensor,
    pub(super) dgate: Tensor,
    pub(super) dup: Tensor,
    pub(super) dact: Tensor,
    pub(super) dlora: Tensor,
    /// `(N, widest)`: gradients before a dropout mask, or before DoRA's scale.
    pub(super) wide: Tensor,
}

/// Activations of a batch.
pub struct Workspace {
    largest: Pass,
    config: ModelConfig,
    rank: usize,
    dora: bool,
    pub(super) training: bool,
    pub(super) checkpointing: bool,
    pub(super) ids: Tensor,
    pub(super) positions: Tensor,
    /// Row of each target, `(L)`.
    pub(super) targets: Tensor,
    /// Token of each target, `(L)`.
    pub(super) labels: Tensor,
    /// Target of each row or none, `(N)`.
    pub(super) inverse: Tensor,
    hidden: Vec<Tensor>,
    layers: Vec<Activations>,
    backward: Option<Backward>,
    /// Input of a layer after dropout, `(N, widest)`.
    dropped: Tensor,
    head_x: Tensor,
    head_h: Tensor,
    head_rstd: Tensor,
    head_dh: Tensor,
    head_dx: Tensor,
    logits: Tensor,
    pub(super) nll: Tensor,
    bytes: u64,
}

/// Shape of an adapter as far as activations go.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AdapterShape {
    pub(crate) rank: usize,
    pub(crate) dora: bool,
}

struct Allocator<'a> {
    gpu: &'a Gpu,
    bytes: u64,
}

impl Allocator<'_> {
    fn floats(&mut self, name: &str, dims: &[usize]) -> Result<Tensor> {
        let tensor = self.gpu.zeros(name, dims)?;
        self.bytes += tensor.bytes();
        Ok(tensor)
    }

    fn words(&mut self, name: &str, n: usize) -> Result<Tensor> {
        self.bytes += 4 * n as u64;
        self.gpu.tensor(name, &[n], Elem::U32)
    }
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

impl Workspace {
    /// Allocates for passes of at most `largest`. **Errors** [`OutOfMemory`](crate::Error::OutOfMemory).
    pub(super) fn new(
        gpu: &Gpu,
        config: &ModelConfig,
        largest: Pass,
        adapter: AdapterShape,
        training: bool,
        checkpointing: bool,
    ) -> Result<Workspace> {
        let mut a = Allocator { gpu, bytes: 0 };
        let (n, l, w) = (largest.rows(), largest.targets.max(1), Widths::of(config));
        let layers = if training && !checkpointing { config.num_hidden_layers } else { 1 };
        let hidden = if training { config.num_hidden_layers + 1 } else { 2 };
        let chunk = Self::logit_rows(config).min(l.next_multiple_of(64));
        let backward = match training {
            false => None,
            true => Some(Backward {
                dx: a.floats("dx", &[n, w.d])?,
                dh: a.floats("dh", &[n, w.d])?,
                dq: a.floats("dq", &[n, w.q])?,
                dk: a.floats("dk", &[n, w.kv])?,
                dv: a.floats("dv", &[n, w.kv])?,
                datt: a.floats("datt", &[n, w.q])?,
                delta: a.floats("delta", &[n, w.heads])?,
                dgate: a.floats("dgate", &[n, w.f])?,
                dup: a.floats("dup", &[n, w.f])?,
                dact: a.floats("dact", &[n, w.f])?,
                dlora: a.floats("dlora", &[n, adapter.rank.max(1)])?,
                wide: a.floats("wide", &[n, w.widest()])?,
            }),
        };
        let acts = |a: &mut Allocator| -> Result<Activations> {
            let r = adapter.rank.max(1);
            let mut lora = Vec::new();
            let mut dora = Vec::new();
            for module in Module::ALL {
                lora.push(a.floats("x·Aᵀ", &[n, r])?);
                if adapter.dora {
                    dora.push(a.floats("before DoRA's scale", &[n, module.shape(config).0])?);
                }
            }
            let seven = |v: Vec<Tensor>| <[Tensor; 7]>::try_from(v).ok();
            Ok(Activations {
                h1: a.floats("h1", &[n, w.d])?,
                rstd1: a.floats("rstd1", &[n])?,
                q: a.floats("q", &[n, w.q])?,
                k: a.floats("k", &[n, w.kv])?,
                v: a.floats("v", &[n, w.kv])?,
                att: a.floats("att", &[n, w.q])?,
                lse: a.floats("lse", &[n, w.heads])?,
                mid: a.floats("mid", &[n, w.d])?,
                h2: a.floats("h2", &[n, w.d])?,
                rstd2: a.floats("rstd2", &[n])?,
                gate: a.floats("gate", &[n, w.f])?,
                up: a.floats("up", &[n, w.f])?,
                act: a.floats("act", &[n, w.f])?,
                lora: seven(lora).expect("one per module"),
                dora: if adapter.dora { seven(dora) } else { None },
            })
        };
        let head_grad = if training { l } else { 1 };
        let mut workspace = Workspace {
            largest,
            config: config.clone(),
            rank: adapter.rank,
            dora: adapter.dora,
            training,
            checkpointing,
            ids: a.words("ids", n)?,
            positions: a.words("positions", n)?,
            targets: a.words("targets", l)?,
            labels: a.words("labels", l)?,
            inverse: a.words("inverse", n)?,
            hidden: (0..hidden).map(|_| a.floats("hidden", &[n, w.d])).collect::<Result<_>>()?,
            layers: (0..layers).map(|_| acts(&mut a)).collect::<Result<_>>()?,
            backward,
            dropped: a.floats("after dropout", &[n, w.widest()])?,
            head_x: a.floats("head input", &[l, w.d])?,
            head_h: a.floats("head norm", &[l, w.d])?,
            head_rstd: a.floats("head rstd", &[l])?,
            head_dh: a.floats("head dh", &[head_grad, w.d])?,
            head_dx: a.floats("head dx", &[head_grad, w.d])?,
            logits: a.floats("logits", &[chunk, config.vocab_size])?,
            nll: a.floats("nll", &[l])?,
            bytes: 0,
        };
        workspace.bytes = a.bytes;
        Ok(workspace)
    }

    /// Rows of logits computed at a time: a multiple of 64, about 32 MiB.
    fn logit_rows(config: &ModelConfig) -> usize {
        (LOGITS_BYTES / 4 / config.vocab_size / 64 * 64).clamp(64, 512)
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a pass fits.
    pub(super) fn fits(&self, pass: Pass, adapter: AdapterShape, training: bool) -> bool {
        pass.rows() <= self.largest.rows()
            && pass.targets <= self.largest.targets
            && adapter.rank <= self.rank.max(1)
            && (!adapter.dora || self.dora)
            && (!training || self.training)
    }

    /// Views of this pass's size.
    pub(super) fn frame(&self, pass: Pass, rank: usize) -> Result<Frame<'_>> {
        Ok(Frame { space: self, pass, rank, widths: Widths::of(&self.config) })
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

    /// Input of layer `l`, or the last layer's output.
    pub(super) fn hidden(&self, l: usize) -> Result<Tensor> {
        let all = &self.space.hidden;
        self.rows(&all[if self.space.training { l } else { l % all.len() }], self.widths.d)
    }

    /// Activations of layer `l`.
    pub(super) fn acts(&self, l: usize) -> Result<Activations> {
        let (a, w) = (&self.space.layers[l % self.space.layers.len()], &self.widths);
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
        })
    }

    /// Gradients and scratch. **Errors** [`Invalid`](crate::Error::Invalid) in an inference workspace.
    pub(super) fn backward(&self) -> Result<Backward> {
        let b = self.space.backward.as_ref().ok_or_else(|| {
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
        })
    }

    /// Scratch for a layer's input after dropout.
    pub(super) fn dropped(&self, width: usize) -> Result<Tensor> {
        self.rows(&self.space.dropped, width)
    }

    pub(super) fn ids(&self) -> Result<Tensor> {
        self.space.ids.view(&[self.pass.rows()])
    }

    pub(super) fn positions(&self) -> Result<Tensor> {
        self.space.positions.view(&[self.pass.rows()])
    }

    pub(super) fn inverse(&self) -> Result<Tensor> {
        self.space.inverse.view(&[self.pass.rows()])
    }

    /// The head's tensors at the pass's number of targets.
    pub(super) fn head(&self) -> Result<Head> {
        let (s, l, d) = (self.space, self.pass.targets, self.widths.d);
        let grad = if s.training { l } else { 1 };
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
