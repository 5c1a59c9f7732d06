//! A frozen linear layer with an optional LoRA pair: forward and backward.

use super::llama::Shard;
use super::lora::Pair;
use crate::Result;
use crate::gpu::{Op, Recorder, Tensor};
use crate::kernels::{
    AddBias, DoraBwd, DoraNorm, DoraScale, Dropout, LinearBwd, LinearFwd, LinearGrad, LoraDown,
    LoraDownBwd, LoraUpBwd, Mask, Part, SwigluLinear,
};

/// A layer's weights and what is trained beside them.
pub(super) struct Linear<'a> {
    pub(super) shards: &'a [Shard],
    /// Whether products with these may round their factors to 16 bits.
    pub(super) half: bool,
    /// `(out)`.
    pub(super) bias: Option<&'a Tensor>,
    pub(super) pair: Option<&'a Pair>,
    /// Dropout of the adapter's input in this pass.
    pub(super) mask: Option<Mask>,
}

/// Tensors of one layer in one pass.
pub(super) struct Site<'a> {
    /// Input `(N, in)`.
    pub(super) x: &'a Tensor,
    /// `x·Aᵀ`, `(N, R)` of the largest rank.
    pub(super) low: &'a Tensor,
    /// Output before DoRA's scale, `(N, out)`.
    pub(super) before: Option<&'a Tensor>,
    /// Scratch for parts of the input that DoRA's dropout divides, `(N, widest)`.
    pub(super) parted: Option<&'a Tensor>,
}

impl Site<'_> {
    /// `x·Aᵀ` at the rank of this layer's pair: the workspace has room for the largest.
    fn low(&self, pair: &Pair) -> Result<Tensor> {
        self.low.view(&[self.x.dim(0), pair.a.rows])
    }
}

impl Pair {
    /// `y += scale · B low`.
    fn up<'a>(&'a self, low: &'a Tensor, y: &'a Tensor) -> LinearFwd<'a> {
        let (x, w, scale) = (low, &self.b, self.scale);
        LinearFwd { x, w, y, first: 0, accumulate: true, scale, half: false }
    }
}

fn together<T: Op>(rec: &mut Recorder, ops: &[T]) -> Result<()> {
    rec.record_together(&ops.iter().map(|op| op as &dyn Op).collect::<Vec<_>>())
}

impl Linear<'_> {
    /// Whether DoRA rescales the output, so that it cannot be added where it belongs as it is made.
    pub(super) fn is_rescaled(&self) -> bool {
        self.pair.is_some_and(|p| p.dora.is_some())
    }

    /// `y = W x + scale · B (A d(x))` with d for dropout, and then the bias; `+=` with `accumulate`, which
    /// DoRA does not allow. DoRA: `y = W (x − d(x)) + magnitude/norm · (W d(x) + scale · B (A d(x)))`, as
    /// PEFT: what it rescales saw the dropout, what it adds to did not.
    pub(super) fn forward(
        &self,
        rec: &mut Recorder,
        at: &Site,
        y: &Tensor,
        accumulate: bool,
    ) -> Result<()> {
        self.product(rec, at, y, accumulate)?;
        match self.bias {
            Some(bias) => rec.record(&AddBias { bias, y }),
            None => Ok(()),
        }
    }

    /// [`Linear::forward`] of layers that do not wait for each other, `=`; products alike in one dispatch.
    pub(super) fn forward_together(
        rec: &mut Recorder,
        layers: &[(Linear, Site, &Tensor)],
    ) -> Result<()> {
        let simple =
            |(layer, ..): &(Linear, Site, &Tensor)| layer.shards.len() == 1 && !layer.is_rescaled();
        if !layers.iter().all(simple) {
            return layers.iter().try_for_each(|(layer, at, y)| layer.forward(rec, at, y, false));
        }
        let frozen = layers.iter().map(|(layer, at, y)| LinearFwd {
            x: at.x,
            w: &layer.shards[0].matrix,
            y,
            first: 0,
            accumulate: false,
            scale: 1.0,
            half: layer.half,
        });
        together(rec, &frozen.collect::<Vec<_>>())?;
        let mut adapted = Vec::new();
        for (layer, at, y) in layers {
            if let Some(pair) = layer.pair {
                adapted.push((pair, layer.mask, at, at.low(pair)?, *y));
            }
        }
        let down = adapted.iter().map(|(pair, mask, at, low, _)| LoraDown {
            x: at.x,
            a: &pair.a.w,
            mask: *mask,
            low,
        });
        together(rec, &down.collect::<Vec<_>>())?;
        let up = adapted.iter().map(|(pair, _, _, low, y)| pair.up(low, y));
        together(rec, &up.collect::<Vec<_>>())?;
        layers.iter().try_for_each(|(layer, _, y)| match layer.bias {
            Some(bias) => rec.record(&AddBias { bias, y }),
            None => Ok(()),
        })
    }

    /// `y += W (silu(gate) ⊙ up)` without storing what is multiplied, where a body of this device does that for so few
    /// rows and nothing else asks for it: whether it was recorded.
    pub(super) fn forward_swiglu(
        &self,
        rec: &mut Recorder,
        (gate, up): (&Tensor, &Tensor),
        y: &Tensor,
    ) -> Result<bool> {
        let ([shard], None, None) = (self.shards, self.pair, self.bias) else { return Ok(false) };
        if up.words_behind(gate) != Some(gate.len()) {
            return Ok(false);
        }
        let gate_up = &gate.reaching(&[2, gate.dim(0), gate.dim(1)], "gate, up")?;
        let op = SwigluLinear { gate_up, w: &shard.matrix, y, accumulate: true };
        let fast = op.is_fast(rec.gpu().caps());
        if fast {
            rec.record(&op)?;
        }
        Ok(fast)
    }

    /// `y = W x`, or `+=`.
    fn frozen(&self, rec: &mut Recorder, x: &Tensor, y: &Tensor, accumulate: bool) -> Result<()> {
        self.shards.iter().try_for_each(|shard| {
            let (w, first, half) = (&shard.matrix, shard.first, self.half);
            rec.record(&LinearFwd { x, w, y, first, accumulate, scale: 1.0, half })
        })
    }

    /// `dx = Wᵀ dy`, or `+=`.
    fn frozen_bwd(
        &self,
        rec: &mut Recorder,
        dy: &Tensor,
        dx: &Tensor,
        accumulate: bool,
    ) -> Result<()> {
        self.shards.iter().enumerate().try_for_each(|(i, shard)| {
            let (w, first, half) = (&shard.matrix, shard.first, self.half);
            let accumulate = accumulate || i > 0;
            rec.record(&LinearBwd { dy, first, w, dx, accumulate, scale: 1.0, half })
        })
    }

    /// The mask and scratch of the input's parts, where DoRA's dropout divides it.
    fn parts(&self, at: &Site) -> Result<Option<(Mask, Tensor)>> {
        match (self.is_rescaled(), self.mask, at.parted) {
            (true, Some(mask), Some(parted)) => Ok(Some((mask, parted.view(at.x.dims())?))),
            _ => Ok(None),
        }
    }

    fn product(&self, rec: &mut Recorder, at: &Site, y: &Tensor, accumulate: bool) -> Result<()> {
        let dora = self.pair.and_then(|p| p.dora.as_ref()).zip(at.before);
        let out = dora.map_or(y, |(_, before)| before);
        let parts = self.parts(at)?;
        match &parts {
            None => self.frozen(rec, at.x, out, accumulate)?,
            Some((mask, kept)) => {
                let (x, mask, part) = (at.x, *mask, Part::Kept);
                rec.record(&Dropout { x, mask, part, accumulate: false, y: kept })?;
                self.frozen(rec, kept, out, accumulate)?;
            }
        }
        let Some(pair) = self.pair else { return Ok(()) };
        let low = at.low(pair)?;
        rec.record(&LoraDown { x: at.x, a: &pair.a.w, mask: self.mask, low: &low })?;
        rec.record(&pair.up(&low, out))?;
        if let Some((dora, before)) = dora {
            rec.record(&DoraScale { z: before, magnitude: &dora.magnitude, norm: &dora.norm, y })?;
        }
        if let Some((mask, rest)) = parts {
            let (x, part) = (at.x, Part::Rest);
            rec.record(&Dropout { x, mask, part, accumulate: false, y: &rest })?;
            self.frozen(rec, &rest, y, true)?;
        }
        Ok(())
    }

    /// Gradients of the pair (`+=`), and of the input if `dx` is given: `=` or `+=`. `dlow (N, R)` and
    /// `wide` are scratch; `wide` holds at least `(N, max(in, out))`.
    pub(super) fn backward(
        &self,
        rec: &mut Recorder,
        at: &Site,
        dy: &Tensor,
        dx: Option<(&Tensor, bool)>,
        dlow: &Tensor,
        wide: &Tensor,
    ) -> Result<()> {
        let scaled;
        let (whole, mut dy) = (dy, dy);
        let dora = self.pair.and_then(|p| p.dora.as_ref().zip(p.grads.as_ref())).zip(at.before);
        if let Some(((dora, grads), before)) = dora
            && let Some(d_magnitude) = &grads.magnitude
        {
            scaled = wide.view(dy.dims())?;
            rec.record(&DoraBwd {
                dy,
                z: before,
                magnitude: &dora.magnitude,
                norm: &dora.norm,
                dz: &scaled,
                d_magnitude,
            })?;
            dy = &scaled;
        }
        match (dx, self.parts(at)?) {
            (None, _) => {}
            (Some((dx, accumulate)), None) => self.frozen_bwd(rec, dy, dx, accumulate)?,
            (Some((dx, accumulate)), Some((mask, parted))) => {
                let ways = [(dy, Part::Kept, accumulate), (whole, Part::Rest, true)];
                for (dy, part, accumulate) in ways {
                    self.frozen_bwd(rec, dy, &parted, false)?;
                    rec.record(&Dropout { x: &parted, mask, part, accumulate, y: dx })?;
                }
            }
        }
        let Some(pair) = self.pair else { return Ok(()) };
        let Some(grads) = &pair.grads else { return Ok(()) };
        let (low, dlow) = (at.low(pair)?, dlow.view(&[dy.dim(0), pair.a.rows])?);
        let dlow = &dlow;
        let (a, scale, mask) = (&pair.a.w, pair.scale, self.mask);
        rec.record(&LinearGrad { dy, x: &low, dw: &grads.b, scale, mask: None })?;
        rec.record(&LoraUpBwd { dy, b: &pair.b.w, scale, dlow })?;
        rec.record(&LinearGrad { dy: dlow, x: at.x, dw: &grads.a, scale: 1.0, mask })?;
        match dx {
            Some((dx, _)) => rec.record(&LoraDownBwd { dlow, a, mask, dx }),
            None => Ok(()),
        }
    }

    /// Recomputes DoRA's norms `‖W + scale·B·A‖` of the rows.
    pub(super) fn refresh_norm(&self, rec: &mut Recorder) -> Result<()> {
        let Some(pair) = self.pair else { return Ok(()) };
        let Some(dora) = &pair.dora else { return Ok(()) };
        for shard in self.shards {
            rec.record(&DoraNorm {
                w: &shard.matrix,
                first: shard.first,
                a: &pair.a.w,
                b: &pair.b.w,
                scale: pair.scale,
                norm: &dora.norm,
            })?;
        }
        Ok(())
    }
}
