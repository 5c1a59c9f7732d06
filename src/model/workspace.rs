//! Every activation, allocated once for the largest batch and viewed at the size of each pass.

use super::plan::{Allocate, Device, MemoryPlan, Purpose};
use crate::Result;
use crate::format::{ModelConfig, Module};
use crate::gpu::{Elem, Gpu, Tensor, image_bytes};

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

    /// Whether so few rows have targets, half of them or fewer, that selecting them pays.
    pub(super) fn has_few_targets(&self) -> bool {
        2 * self.targets <= self.rows()
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

/// The small ones among [`Activations`].
struct Narrow<T> {
    rstd1: T,
    lse: T,
    mid: T,
    rstd2: T,
    lora: [T; 7],
}

impl<T> Activations<T> {
    /// The same wide tensors with other small ones.
    fn with(self, own: Narrow<T>) -> Activations<T> {
        let Narrow { rstd1, lse, mid, rstd2, lora } = own;
        Activations { rstd1, lse, mid, rstd2, lora, ..self }
    }

    /// What backward needs and nothing small computes again, in the order in which they are stored.
    pub(super) fn wide(&self) -> impl Iterator<Item = &T> {
        let dora = self.dora.iter().flatten();
        [&self.q, &self.k, &self.v, &self.att, &self.gate, &self.up].into_iter().chain(dora)
    }
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

/// What the last block selects of its rows, `(L, width)` each: see
/// [`Needed`](super::frame::Needed).
pub(super) struct Selected<T = Tensor> {
    pub(super) h1: T,
    /// In backward first the gradient of `att`, then its own.
    pub(super) q: T,
    pub(super) att: T,
}

/// All tensors of a workspace.
pub(super) struct Parts<T = Tensor> {
    pub(super) ids: T,
    pub(super) positions: T,
    /// Row of each target, `(L)`.
    pub(super) targets: T,
    /// Token of each target, `(L)`.
    pub(super) labels: T,
    /// Target of each row or none, `(N)`.
    pub(super) inverse: T,
    pub(super) hidden: Vec<T>,
    pub(super) layers: Vec<Activations<T>>,
    /// What of each layer but the last is kept at 16 bits, in the order of [`Activations::wide`].
    pub(super) halves: Vec<Vec<T>>,
    pub(super) backward: Option<Backward<T>>,
    /// None where the largest pass has not [few targets](Pass::has_few_targets).
    pub(super) selected: Option<Selected<T>>,
    pub(super) head_x: T,
    pub(super) head_h: T,
    pub(super) head_rstd: T,
    pub(super) head_dh: T,
    pub(super) head_dx: T,
    pub(super) logits: T,
    pub(super) nll: T,
}

/// Activations of a batch.
pub struct Workspace {
    pub(super) extent: Extent,
    pub(super) parts: Parts,
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
    /// Room for backward, and how activations wait for it.
    pub(crate) keep: Option<Keep>,
}

/// How activations wait for the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// As they are.
    Full,
    /// The wide ones at 16 bits; norms and SwiGLU are computed again.
    Half,
    /// Not at all: a block's forward runs again.
    Recomputed,
}

/// `(name, width)` of the block activations that have N rows.
pub(super) struct Widths {
    pub(super) d: usize,
    pub(super) q: usize,
    pub(super) kv: usize,
    pub(super) f: usize,
    pub(super) heads: usize,
}

impl Widths {
    pub(super) fn of(config: &ModelConfig) -> Widths {
        Widths {
            d: config.hidden_size,
            q: config.num_attention_heads * config.head_dim,
            kv: config.num_key_value_heads * config.head_dim,
            f: config.intermediate_size,
            heads: config.num_attention_heads,
        }
    }

    pub(super) fn widest(&self) -> usize {
        self.d.max(self.q).max(self.f)
    }
}

impl Extent {
    /// What the workspace will take, added to a plan.
    pub(crate) fn count(&self, plan: &mut MemoryPlan) -> Result<()> {
        self.walk(plan).map(drop)
    }

    /// Counts the images that operands lie in where bodies read from these, weights, `weight` bytes
    /// at most, among them.
    pub(crate) fn count_images(&self, weight: u64, plan: &mut MemoryPlan) {
        let [first, second, third, fourth] = self.image_words();
        let images = [first, second.max((weight / 4) as usize), third, fourth];
        plan.images += images.into_iter().map(image_bytes).sum::<u64>();
    }

    /// Words of the images, weights left aside: outputs' gradients, of which those of logits are
    /// the largest if activations are not; inputs; what attention, the gradients of SwiGLU and
    /// RMSNorm, and LoRA's ways up read besides.
    fn image_words(&self) -> [usize; 4] {
        let (n, w) = (self.largest.rows(), Widths::of(&self.config));
        let wide = n * w.widest();
        let logits = self.logit_rows() * self.config.vocab_size;
        let rank = self.adapter.rank;
        let (third, fourth) = match self.keep {
            Some(_) => (wide, n * w.q.max(w.d)),
            None => (n * w.kv.max(rank), n * w.q),
        };
        let fourth = fourth.max(w.widest() * rank);
        [wide.max(logits), wide, third, fourth]
    }

    /// Rows of logits that exist at a time.
    fn logit_rows(&self) -> usize {
        logit_rows(&self.config).min(self.largest.targets.max(1).next_multiple_of(64))
    }

    fn walk<A: Allocate>(&self, a: &mut A) -> Result<Parts<A::Tensor>> {
        let (config, training) = (&self.config, self.keep.is_some());
        let (n, l, w) = (self.largest.rows(), self.largest.targets.max(1), Widths::of(config));
        let of_all = |keep| if self.keep == Some(keep) { config.num_hidden_layers } else { 1 };
        // Without a backward pass the residual stream is one tensor.
        let hidden = if training { config.num_hidden_layers + 1 } else { 1 };
        let mut layers = Vec::new();
        for _ in 0..of_all(Keep::Full) {
            layers.push(self.activations(a)?);
        }
        // Layers at 16 bits share the wide tensors and have the rest for themselves.
        let mut halves = Vec::new();
        for _ in 1..of_all(Keep::Half) {
            halves.push(self.halves(a)?);
            let own = self.narrow(a)?;
            layers.push(layers[0].clone().with(own));
        }
        let hidden = (0..hidden).map(|_| a.floats(Purpose::Activations, "hidden", &[n, w.d]));
        let hidden = hidden.collect::<Result<_>>()?;
        let backward = training.then(|| self.backward(a)).transpose()?;
        let few = self.largest.has_few_targets();
        let selected = few.then(|| self.selected(a)).transpose()?;
        let chunk = self.logit_rows();
        let head_grad = if training { l } else { 1 };
        let mut floats = |name, dims: &[usize]| a.floats(Purpose::Workspace, name, dims);
        Ok(Parts {
            hidden,
            layers,
            halves,
            backward,
            selected,
            head_x: floats("head input", &[l, w.d])?,
            head_h: floats("head norm", &[l, w.d])?,
            head_rstd: floats("head rstd", &[l])?,
            head_dh: floats("head dh", &[head_grad, w.d])?,
            head_dx: floats("head dx", &[head_grad, w.d])?,
            logits: floats("logits", &[chunk, config.vocab_size])?,
            nll: floats("nll", &[l])?,
            ids: a.words(Purpose::Workspace, "ids", n)?,
            positions: a.words(Purpose::Workspace, "positions", n)?,
            targets: a.words(Purpose::Workspace, "targets", l)?,
            labels: a.words(Purpose::Workspace, "labels", l)?,
            inverse: a.words(Purpose::Workspace, "inverse", n)?,
        })
    }

    /// What stays in f32 for each layer.
    fn narrow<A: Allocate>(&self, a: &mut A) -> Result<Narrow<A::Tensor>> {
        let (n, w) = (self.largest.rows(), Widths::of(&self.config));
        let lora =
            a.side_by_side(Purpose::Activations, n, [("x·Aᵀ", self.adapter.rank.max(1)); 7])?;
        let mut floats = |name, dims: &[usize]| a.floats(Purpose::Activations, name, dims);
        Ok(Narrow {
            rstd1: floats("rstd1", &[n])?,
            lse: floats("lse", &[n, w.heads])?,
            mid: floats("mid", &[n, w.d])?,
            rstd2: floats("rstd2", &[n])?,
            lora,
        })
    }

    /// Words for what [`Activations::wide`] lists.
    fn halves<A: Allocate>(&self, a: &mut A) -> Result<Vec<A::Tensor>> {
        let (n, w) = (self.largest.rows(), Widths::of(&self.config));
        let dora = Module::ALL.map(|module| module.shape(&self.config).0);
        let widths = [w.q, w.kv, w.kv, w.q, w.f, w.f].into_iter();
        let widths = widths.chain(dora.into_iter().filter(|_| self.adapter.dora));
        let words = widths.map(|width| (n * width).div_ceil(2));
        words
            .map(|words| a.tensor(Purpose::Activations, "halves", &[words], Elem::F16Pairs))
            .collect()
    }

    fn activations<A: Allocate>(&self, a: &mut A) -> Result<Activations<A::Tensor>> {
        let Narrow { rstd1, lse, mid, rstd2, lora } = self.narrow(a)?;
        let (n, w, part) = (self.largest.rows(), Widths::of(&self.config), Purpose::Activations);
        let [q, k, v] = a.side_by_side(part, n, [("q", w.q), ("k", w.kv), ("v", w.kv)])?;
        let [gate, up] = a.side_by_side(part, n, [("gate", w.f), ("up", w.f)])?;
        let mut floats = |name, dims: &[usize]| a.floats(part, name, dims);
        let mut dora = Vec::new();
        for module in Module::ALL {
            if self.adapter.dora {
                dora.push(floats("before DoRA's scale", &[n, module.shape(&self.config).0])?);
            }
        }
        Ok(Activations {
            rstd1,
            lse,
            mid,
            rstd2,
            lora,
            h1: floats("h1", &[n, w.d])?,
            q,
            k,
            v,
            att: floats("att", &[n, w.q])?,
            h2: floats("h2", &[n, w.d])?,
            gate,
            up,
            act: floats("act", &[n, w.f])?,
            dora: dora.try_into().ok(),
            parted: None,
        })
    }

    fn selected<A: Allocate>(&self, a: &mut A) -> Result<Selected<A::Tensor>> {
        let (l, w) = (self.largest.targets.max(1), Widths::of(&self.config));
        let mut floats = |name, width| a.floats(Purpose::Workspace, name, &[l, width]);
        Ok(Selected {
            h1: floats("selected h1", w.d)?,
            q: floats("selected q", w.q)?,
            att: floats("selected att", w.q)?,
        })
    }

    fn backward<A: Allocate>(&self, a: &mut A) -> Result<Backward<A::Tensor>> {
        let (n, w) = (self.largest.rows(), Widths::of(&self.config));
        let mut floats = |name, dims: &[usize]| a.floats(Purpose::Workspace, name, dims);
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
        gpu.reserve_images(extent.image_words());
        Ok(Workspace { extent, parts, bytes: device.plan.total() })
    }

    /// Whether a block's forward is recorded again before its backward.
    pub(super) fn recomputes(&self) -> bool {
        self.extent.keep == Some(Keep::Recomputed)
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
            && (!training || has.keep.is_some())
    }
}
