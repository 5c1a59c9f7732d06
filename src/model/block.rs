//! A decoder block: forward, and backward as its mirror image.

use super::frame::Frame;
use super::init::dropout_seed;
use super::linear::{Linear, Site};
use super::llama::Model;
use super::lora::Adapter;
use super::stats::STAT_CLAMPED;
use super::weights::Layer;
use super::workspace::{Activations, Backward};
use crate::Result;
use crate::data::Segment;
use crate::format::Module;
use crate::gpu::{Recorder, Tensor};
use crate::kernels::{
    Add, AttentionBwdDkv, AttentionBwdDq, AttentionDecode, AttentionDelta, AttentionFwd,
    AttentionGather, AttentionShape, CopyRows, Input, Mask, PackF16, RmsNormBwd, RmsNormFwd, Rope,
    RopeAppend, SwigluBwd, SwigluFwd, UnpackF16,
};
use crate::model::kv_cache::KvCache;
use crate::model::slots::{Listed, SlotCache};

/// Dropout masks of one micro-batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DropoutKey {
    pub(crate) seed: u64,
    pub(crate) step: u64,
    pub(crate) micro: u32,
}

/// What the queries of a pass attend to.
#[derive(Clone, Copy)]
pub(super) enum Keys<'a> {
    /// The pass's own tokens.
    Own,
    /// Those of its own sequence; sequences of several lengths lie end to end.
    Segments(&'a [Segment]),
    /// A cache of sequences of one length, and the pass's own tokens behind them.
    Cache(&'a KvCache),
    /// The pass's own tokens, which also go to slots.
    Kept(&'a SlotCache),
    /// Those of its own sequence, as in segments, which also go to slots.
    KeptSegments(&'a SlotCache, &'a [Segment]),
    /// What each row lists; the pass's own tokens go to slots first.
    Listed(&'a SlotCache, &'a Listed),
}

impl<'a> Keys<'a> {
    fn cache(self) -> Option<&'a KvCache> {
        match self {
            Keys::Cache(cache) => Some(cache),
            _ => None,
        }
    }
}

/// One block in one pass.
pub(super) struct Block<'a> {
    pub(super) model: &'a Model,
    pub(super) adapter: Option<&'a Adapter>,
    pub(super) index: usize,
    pub(super) dropout: Option<DropoutKey>,
}

impl Block<'_> {
    fn layer(&self) -> &Layer {
        &self.model.layers[self.index]
    }

    fn linear(&self, module: Module) -> Linear<'_> {
        let pair = self.adapter.and_then(|a| a.pairs.get(&(self.index, module)));
        let p = self.adapter.map_or(0.0, |a| a.config.dropout) as f32;
        let mask = self.dropout.filter(|_| p > 0.0 && pair.is_some()).map(|key| Mask {
            p,
            seed: dropout_seed(key.seed, key.step, key.micro, self.index as u32, module as u32),
        });
        let (layer, i, half) = (self.layer(), module as usize, self.model.half());
        let own = self.adapter.and_then(|a| a.biases.get(&(self.index, module)));
        let bias = own.or(layer.biases[i].as_ref());
        Linear { shards: &layer.linears[i], half, bias, pair, mask }
    }

    /// Layers that do not wait for each other: module, what it reads, output.
    fn apply<const N: usize>(
        &self,
        rec: &mut Recorder,
        acts: &Activations,
        layers: [(Module, &Read, &Tensor); N],
    ) -> Result<()> {
        let layers = layers.map(|(module, x, y)| (self.linear(module), site(acts, module, x), y));
        Linear::forward_together(rec, &layers, false)
    }

    /// The residual stream after a layer: `x + layer(input)`, in training in `y`, so that `x`
    /// remains for backward, else in place.
    fn add_output(
        &self,
        rec: &mut Recorder,
        acts: &Activations,
        (module, input): (Module, &Read),
        x: &Tensor,
        y: Option<&Tensor>,
    ) -> Result<()> {
        let linear = self.linear(module);
        if y.is_none() && !linear.is_rescaled() {
            return linear.forward(rec, site(acts, module, input), x, true);
        }
        let out = y.unwrap_or(&acts.mid);
        linear.forward(rec, site(acts, module, input), out, false)?;
        let (x, y) = if y.is_some() { (x, out) } else { (out, x) };
        rec.record(&Add { x, y })
    }

    /// Whether these layers make their input of so many rows themselves, and the device gains by
    /// it; in training it is kept for backward.
    fn makes_input(&self, frame: &Frame, modules: &[Module], rows: usize) -> bool {
        let all = modules.iter().all(|&module| self.linear(module).can_make_input(rows));
        all && !frame.keeps_activations() && self.model.gpu.caps().gains_by_making_input()
    }

    /// `x` behind a norm, as `modules` read it: made by them, or stored in `h`.
    fn normed<'b>(
        &self,
        rec: &mut Recorder,
        modules: Option<&[Module]>,
        (x, weight): (&'b Tensor, &'b Tensor),
        (h, rstd): (&'b Tensor, &Tensor),
        frame: &Frame,
    ) -> Result<Read<'b>> {
        let eps = self.model.config.rms_norm_eps;
        if modules.is_some_and(|modules| self.makes_input(frame, modules, x.dim(0))) {
            return Ok(Read { x: x.clone(), input: Input::Norm { weight, eps } });
        }
        rec.record(&RmsNormFwd { x, w: weight, eps, y: h, rstd })?;
        Ok(Read::plain(h))
    }

    /// SwiGLU's output, as the last product reads it: made by it, or stored.
    fn gated(&self, rec: &mut Recorder, frame: &Frame, a: &Activations) -> Result<Read<'static>> {
        let rows = a.gate.dim(0);
        let side_by_side = a.up.words_behind(&a.gate) == Some(a.gate.len());
        if side_by_side && self.makes_input(frame, &[Module::Down], rows) {
            let x = a.gate.reaching(&[2, rows, a.gate.dim(1)], "gate, up")?;
            return Ok(Read { x, input: Input::Swiglu });
        }
        rec.record(&SwigluFwd { gate: &a.gate, up: &a.up, y: &a.act })?;
        Ok(Read::plain(&a.act))
    }

    /// Attention's shape: over the pass's own keys, or over a cache.
    fn attention(&self, frame: &Frame, cache: Option<&KvCache>) -> AttentionShape {
        let config = &self.model.config;
        AttentionShape {
            batch: frame.pass.batch,
            queries: frame.pass.queries,
            keys: cache.map_or(frame.pass.queries, |c| c.capacity),
            start: cache.map_or(0, |c| c.length),
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            first: 0,
        }
    }

    /// Attention's shape over each segment of a pass whose shape is `whole`.
    fn segments(whole: AttentionShape, all: &[Segment]) -> impl Iterator<Item = AttentionShape> {
        all.iter().map(move |s| AttentionShape {
            batch: s.sequences,
            queries: s.length,
            keys: s.length,
            first: s.first,
            ..whole
        })
    }

    fn rotate(
        &self,
        rec: &mut Recorder,
        frame: &Frame,
        x: &Tensor,
        heads: usize,
        inverse: bool,
    ) -> Result<()> {
        let (cos, sin) = &self.model.rope;
        rec.record(&Rope { x, cos, sin, positions: &frame.positions()?, heads, inverse })
    }

    /// Rotates queries and keys, puts keys and values into the cache, and attends to all in it.
    fn attend_cached(
        &self,
        rec: &mut Recorder,
        frame: &Frame,
        a: &Activations,
        cache: &KvCache,
        shape: AttentionShape,
    ) -> Result<()> {
        let (cos, sin) = &self.model.rope;
        let (keys, values) = &cache.layers[self.index];
        let (positions, y, lse) = (&frame.positions()?, &a.att, &a.lse);
        let whole = AttentionFwd { q: &a.q, k: keys, v: values, y, lse, shape };
        let Some((k, v)) = a.k.words_behind(&a.q).zip(a.v.words_behind(&a.q)) else {
            self.rotate(rec, frame, &a.q, shape.heads, false)?;
            self.rotate(rec, frame, &a.k, shape.kv_heads, false)?;
            let (rows, stride, first) = (shape.queries, shape.keys, shape.start);
            rec.record(&CopyRows { x: &a.k, y: keys, rows, stride, first })?;
            rec.record(&CopyRows { x: &a.v, y: values, rows, stride, first })?;
            return rec.record(&whole);
        };
        let qkv = &a.q.reaching(&[v + a.v.len()], "qkv")?;
        if shape.queries == 1 {
            let op = AttentionDecode { qkv, k, v, cos, sin, positions, keys, values, y, shape };
            return rec.record(&op);
        }
        rec.record(&RopeAppend { qkv, k, v, cos, sin, positions, keys, values, shape })?;
        rec.record(&whole)
    }

    /// Hidden state `index` to `index + 1`, at the rows that are needed; keys and values are of all
    /// rows, and also go to the cache or the slots.
    pub(super) fn forward(&self, rec: &mut Recorder, frame: &Frame, keys: Keys) -> Result<()> {
        let a = frame.acts(self.index)?;
        let (x, at) = (frame.hidden(self.index)?, frame.needed(self.index, &a)?);
        let shape = self.attention(frame, keys.cache());
        let layer = self.layer();
        let modules = [Module::Q, Module::K, Module::V];
        let modules = at.is_all().then_some(modules.as_slice());
        let h1 = (&a.h1, &a.rstd1);
        let all = self.normed(rec, modules, (&x, &layer.input_norm), h1, frame)?;
        at.select(rec, &a.h1, &at.h1)?;
        let asking = if at.is_all() { &all } else { &Read::plain(&at.h1) };
        let products =
            [(Module::Q, asking, &at.q), (Module::K, &all, &a.k), (Module::V, &all, &a.v)];
        self.apply(rec, &a, products)?;
        at.spread(rec, &at.q, &a.q)?;
        if keys.cache().is_none() {
            self.rotate(rec, frame, &a.q, shape.heads, false)?;
            self.rotate(rec, frame, &a.k, shape.kv_heads, false)?;
        }
        if let Keys::Kept(slots) | Keys::KeptSegments(slots, _) | Keys::Listed(slots, _) = keys {
            slots.record_copy(rec, self.index, &a.k, &a.v)?;
        }
        match keys {
            Keys::Own | Keys::Kept(_) => {
                let (k, v) = (&a.k, &a.v);
                let op = AttentionFwd { q: &a.q, k, v, y: &a.att, lse: &a.lse, shape };
                rec.record(&op)?;
            }
            Keys::Segments(segments) | Keys::KeptSegments(_, segments) => {
                let (q, k, v, y, lse) = (&a.q, &a.k, &a.v, &a.att, &a.lse);
                for shape in Self::segments(shape, segments) {
                    rec.record(&AttentionFwd { q, k, v, y, lse, shape })?;
                }
            }
            Keys::Listed(slots, listed) => {
                let (k, v) = &slots.layers[self.index];
                let (q, y, index) = (&a.q, &a.att, &listed.index);
                let shape = slots.shape(&self.model.config, listed);
                rec.record(&AttentionGather { q, k, v, index, y, shape })?;
            }
            Keys::Cache(cache) => self.attend_cached(rec, frame, &a, cache, shape)?,
        }
        at.select(rec, &a.att, &at.att)?;
        at.select(rec, &x, &at.x)?;
        let keep = frame.keeps_activations();
        let mid = if keep { &a.mid } else { &at.x };
        let att = Read::plain(&at.att);
        self.add_output(rec, &a, (Module::O, &att), &at.x, keep.then_some(mid))?;
        let (modules, h2) = ([Module::Gate, Module::Up], (&a.h2, &a.rstd2));
        let h2 = self.normed(rec, Some(&modules), (mid, &layer.post_norm), h2, frame)?;
        self.apply(rec, &a, [(Module::Gate, &h2, &a.gate), (Module::Up, &h2, &a.up)])?;
        let act = self.gated(rec, frame, &a)?;
        self.add_output(rec, &a, (Module::Down, &act), mid, keep.then_some(&at.out))
    }

    /// Puts behind this block, at 16 bits, what its backward needs; see [`Block::load_halves`].
    pub(super) fn store_halves(&self, rec: &mut Recorder, frame: &Frame) -> Result<()> {
        if !frame.is_halved(self.index) {
            return Ok(());
        }
        let a = frame.acts(self.index)?;
        let counts = &self.model.stats.as_words();
        frame.halves(self.index, &a).try_for_each(|pair| {
            let (x, y) = pair?;
            rec.record(&PackF16 { x, y: &y, counts, slot: STAT_CLAMPED })
        })
    }

    /// The activations of this block as its forward left them, up to 16 bits: the wide ones from
    /// their store, norms and SwiGLU from what is there.
    pub(super) fn load_halves(&self, rec: &mut Recorder, frame: &Frame) -> Result<()> {
        if !frame.is_halved(self.index) {
            return Ok(());
        }
        let (a, eps) = (frame.acts(self.index)?, self.model.config.rms_norm_eps);
        for pair in frame.halves(self.index, &a) {
            let (y, x) = pair?;
            rec.record(&UnpackF16 { x: &x, y })?;
        }
        let (x, layer) = (frame.hidden(self.index)?, self.layer());
        rec.record(&RmsNormFwd { x: &x, w: &layer.input_norm, eps, y: &a.h1, rstd: &a.rstd1 })?;
        rec.record(&RmsNormFwd { x: &a.mid, w: &layer.post_norm, eps, y: &a.h2, rstd: &a.rstd2 })?;
        rec.record(&SwigluFwd { gate: &a.gate, up: &a.up, y: &a.act })
    }

    /// `dx` from the gradient of this block's output to that of its input; gradients of the adapter
    /// accumulate. Without `below`, nothing that only the input's gradient needs is computed.
    pub(super) fn backward(
        &self,
        rec: &mut Recorder,
        frame: &Frame,
        segments: &[Segment],
        below: bool,
    ) -> Result<()> {
        let (a, b) = (frame.acts(self.index)?, frame.backward(self.index)?);
        let (x, at) = (frame.hidden(self.index)?, frame.needed(self.index, &a)?);
        let d = frame.needed_gradients(self.index, &b)?;
        let shape = self.attention(frame, None);
        let layer = self.layer();
        self.back(rec, &a, &b, Module::Down, &a.act, &d.dx, Some((&b.dact, false)))?;
        rec.record(&SwigluBwd {
            gate: &a.gate,
            up: &a.up,
            dy: &b.dact,
            dgate: &b.dgate,
            dup: &b.dup,
        })?;
        self.back(rec, &a, &b, Module::Gate, &a.h2, &b.dgate, Some((&d.dh, false)))?;
        self.back(rec, &a, &b, Module::Up, &a.h2, &b.dup, Some((&d.dh, true)))?;
        rec.record(&RmsNormBwd {
            x: &a.mid,
            w: &layer.post_norm,
            rstd: &a.rstd2,
            dy: &d.dh,
            dx: &d.dx,
            accumulate: true,
        })?;
        self.back(rec, &a, &b, Module::O, &at.att, &d.dx, Some((&d.datt, false)))?;
        at.spread(rec, &d.datt, &b.datt)?;
        let (q, k, v, lse, delta, dy) = (&a.q, &a.k, &a.v, &a.lse, &b.delta, &b.datt);
        rec.record(&AttentionDelta { y: &a.att, dy, delta, shape })?;
        let (dq, dk, dv) = (&b.dq, &b.dk, &b.dv);
        for shape in Self::segments(shape, segments) {
            rec.record(&AttentionBwdDq { q, k, v, dy, lse, delta, dq, shape })?;
            rec.record(&AttentionBwdDkv { q, k, v, dy, lse, delta, dk, dv, shape })?;
        }
        self.rotate(rec, frame, dk, shape.kv_heads, true)?;
        self.rotate(rec, frame, &b.dq, shape.heads, true)?;
        at.select(rec, dq, &d.dq)?;
        self.back(rec, &a, &b, Module::Q, &at.h1, &d.dq, below.then_some((&d.dh, false)))?;
        if below {
            at.spread(rec, &d.dh, &b.dh)?;
            at.spread(rec, &d.dx, &b.dx)?;
        }
        for (module, dy) in [(Module::K, dk), (Module::V, dv)] {
            self.back(rec, &a, &b, module, &a.h1, dy, below.then_some((&b.dh, true)))?;
        }
        if below {
            rec.record(&RmsNormBwd {
                x: &x,
                w: &layer.input_norm,
                rstd: &a.rstd1,
                dy: &b.dh,
                dx: &b.dx,
                accumulate: true,
            })?;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "one call shape for the seven layers of backward")]
    fn back(
        &self,
        rec: &mut Recorder,
        acts: &Activations,
        b: &Backward,
        module: Module,
        x: &Tensor,
        dy: &Tensor,
        dx: Option<(&Tensor, bool)>,
    ) -> Result<()> {
        let x = &Read::plain(x);
        self.linear(module).backward(rec, &site(acts, module, x), dy, dx, &b.dlora, &b.wide)
    }

    /// Recomputes what depends on the adapter's values alone.
    pub(super) fn refresh(&self, rec: &mut Recorder) -> Result<()> {
        Module::ALL.iter().try_for_each(|&module| self.linear(module).refresh_norm(rec))
    }
}

/// What a layer reads: a tensor, and what its products make of it.
struct Read<'a> {
    x: Tensor,
    input: Input<'a>,
}

impl Read<'_> {
    fn plain(x: &Tensor) -> Self {
        Read { x: x.clone(), input: Input::Plain }
    }
}

fn site<'a>(acts: &'a Activations, module: Module, read: &'a Read) -> Site<'a> {
    let i = module as usize;
    Site {
        x: &read.x,
        input: read.input,
        low: &acts.lora[i],
        before: acts.dora.as_ref().map(|all| &all[i]),
        parted: acts.parted.as_ref(),
    }
}
