//! A frozen linear layer with an optional LoRA pair: forward and backward.

use super::llama::Shard;
use super::lora::Pair;
use crate::Result;
use crate::gpu::{Recorder, Tensor};
use crate::kernels::{
    AddBias, DoraBwd, DoraNorm, DoraScale, Dropout, DropoutBwd, LinearBwd, LinearFwd, LinearGrad,
};

/// Dropout of one adapted layer in one pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mask {
    pub(super) p: f32,
    pub(super) seed: u32,
}

/// A layer's weights and what is trained beside them.
pub(super) struct Linear<'a> {
    pub(super) shards: &'a [Shard],
    /// `(out)`.
    pub(super) bias: Option<&'a Tensor>,
    pub(super) pair: Option<&'a Pair>,
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
    /// Scratch for the input after dropout, `(N, in)`.
    pub(super) dropped: &'a Tensor,
}

impl Site<'_> {
    /// `x·Aᵀ` at the rank of this layer's pair: the workspace has room for the largest.
    fn low(&self, pair: &Pair) -> Result<Tensor> {
        self.low.view(&[self.x.dim(0), pair.a.rows])
    }
}

impl Linear<'_> {
    /// `y = W x + scale · B (A dropout(x))`, with DoRA times magnitude/norm, and then the bias.
    pub(super) fn forward(&self, rec: &mut Recorder, at: &Site, y: &Tensor) -> Result<()> {
        self.product(rec, at, y)?;
        match self.bias {
            Some(bias) => rec.record(&AddBias { bias, y }),
            None => Ok(()),
        }
    }

    fn product(&self, rec: &mut Recorder, at: &Site, y: &Tensor) -> Result<()> {
        let dora = self.pair.and_then(|p| p.dora.as_ref()).zip(at.before);
        let out = dora.map_or(y, |(_, before)| before);
        for shard in self.shards {
            rec.record(&LinearFwd {
                x: at.x,
                w: &shard.matrix,
                y: out,
                first: shard.first,
                accumulate: false,
                scale: 1.0,
            })?;
        }
        let Some(pair) = self.pair else { return Ok(()) };
        let x = self.adapter_input(rec, at)?;
        let low = at.low(pair)?;
        let down = LinearFwd { x, w: &pair.a, y: &low, first: 0, accumulate: false, scale: 1.0 };
        rec.record(&down)?;
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

    fn adapter_input<'a>(&self, rec: &mut Recorder, at: &Site<'a>) -> Result<&'a Tensor> {
        match self.mask {
            None => Ok(at.x),
            Some(Mask { p, seed }) => {
                rec.record(&Dropout { x: at.x, seed, p, y: at.dropped })?;
                Ok(at.dropped)
            }
        }
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
        rec.record(&LinearGrad { dy, x: &low, dw: &grads.b, scale: pair.scale })?;
        rec.record(&LinearBwd {
            dy,
            first: 0,
            w: &pair.b,
            dx: dlow,
            accumulate: false,
            scale: pair.scale,
        })?;
        let x = self.adapter_input(rec, at)?;
        rec.record(&LinearGrad { dy: dlow, x, dw: &grads.a, scale: 1.0 })?;
        let Some((dx, _)) = dx else { return Ok(()) };
        let back = |dx, accumulate| LinearBwd {
            dy: dlow,
            first: 0,
            w: &pair.a,
            dx,
            accumulate,
            scale: 1.0,
        };
        match self.mask {
            None => rec.record(&back(dx, true)),
            Some(Mask { p, seed }) => {
                // The dropped input is no longer needed: its scratch takes the gradient behind the mask.
                rec.record(&back(at.dropped, false))?;
                rec.record(&DropoutBwd { dy: at.dropped, seed, p, dx })
            }
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
