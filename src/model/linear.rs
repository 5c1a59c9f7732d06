//! A frozen linear layer with an optional LoRA pair: forward and backward.

use super::llama::Shard;
use super::lora::Pair;
use crate::Result;
use crate::gpu::{Recorder, Tensor};
use crate::kernels::{
    AddBias, DoraBwd, DoraNorm, DoraScale, LinearBwd, LinearFwd, LinearGrad, LoraDown, LoraDownBwd,
    LoraUpBwd, Mask,
};

/// A layer's weights and what is trained beside them.
pub(super) struct Linear<'a> {
    pub(super) shards: &'a [Shard],
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
}

impl Site<'_> {
    /// `x·Aᵀ` at the rank of this layer's pair: the workspace has room for the largest.
    fn low(&self, pair: &Pair) -> Result<Tensor> {
        self.low.view(&[self.x.dim(0), pair.a.rows])
    }
}

impl Linear<'_> {
    /// Whether DoRA rescales the output, so that it cannot be added where it belongs as it is made.
    pub(super) fn is_rescaled(&self) -> bool {
        self.pair.is_some_and(|p| p.dora.is_some())
    }

    /// `y = W x + scale · B (A dropout(x))`, with DoRA times magnitude/norm, and then the bias; `+=` with
    /// `accumulate`, which DoRA does not allow.
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

    fn product(&self, rec: &mut Recorder, at: &Site, y: &Tensor, accumulate: bool) -> Result<()> {
        let dora = self.pair.and_then(|p| p.dora.as_ref()).zip(at.before);
        let out = dora.map_or(y, |(_, before)| before);
        for shard in self.shards {
            rec.record(&LinearFwd {
                x: at.x,
                w: &shard.matrix,
                y: out,
                first: shard.first,
                accumulate,
                scale: 1.0,
            })?;
        }
        let Some(pair) = self.pair else { return Ok(()) };
        let low = at.low(pair)?;
        rec.record(&LoraDown { x: at.x, a: &pair.a.w, mask: self.mask, low: &low })?;
        rec.record(&LinearFwd {
            x: &low,
            w: &pair.b,
            y: out,
            first: 0,
            accumulate: true,
            scale: pair.scale,
        })?;
        if let Some((dora, before)) = dora {
            rec.record(&DoraScale { z: before, magnitude: &dora.magnitude, norm: &dora.norm, y })?;
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
        let mut dy = dy;
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
        if let Some((dx, accumulate)) = dx {
            for (i, shard) in self.shards.iter().enumerate() {
                rec.record(&LinearBwd {
                    dy,
                    first: shard.first,
                    w: &shard.matrix,
                    dx,
                    accumulate: accumulate || i > 0,
                    scale: 1.0,
                })?;
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
