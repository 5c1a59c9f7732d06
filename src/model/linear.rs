//! A frozen linear layer with an optional LoRA pair: forward and backward.

use super::lora::Pair;
use super::weights::Shard;
use crate::Result;
use crate::gpu::{Op, Recorder, Tensor};
use crate::kernels::{
    AddBias, Branch, DoraBwd, DoraNorm, DoraScale, Dropout, Input, LinearBwd, LinearFwd,
    LinearGrad, LoraDown, LoraDownBwd, LoraUpBwd, Mask, Share,
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
    /// Input `(N, in)`, or what it is made of.
    pub(super) x: &'a Tensor,
    /// How, where [`Linear::can_make_input`].
    pub(super) input: Input<'a>,
    /// `x·Aᵀ`, `(N, R)` of the largest rank.
    pub(super) low: &'a Tensor,
    /// Output before DoRA's scale, `(N, out)`.
    pub(super) before: Option<&'a Tensor>,
    /// Scratch for parts of the input that DoRA's dropout divides, `(N, widest)`.
    pub(super) parted: Option<&'a Tensor>,
}

impl Site<'_> {
    /// `x·Aᵀ` of so many rows at the rank of this layer's pair: the workspace has room for the
    /// largest.
    fn low(&self, pair: &Pair, rows: usize) -> Result<Tensor> {
        self.low.view(&[rows, pair.a.rows])
    }
}

impl Pair {
    /// `y += scale · B low`.
    fn up<'a>(&'a self, low: &'a Tensor, y: &'a Tensor) -> LinearFwd<'a> {
        LinearFwd { accumulate: true, scale: self.scale, ..LinearFwd::new(low, &self.b, y) }
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

    /// Whether its products are able to make their input of so many rows themselves, by
    /// [`Site::input`].
    pub(super) fn can_make_input(&self, rows: usize) -> bool {
        let simple = self.shards.len() == 1 && !self.is_rescaled() && self.mask.is_none();
        simple && rows <= LinearFwd::FEW
    }

    /// `y = W x + scale · B (A d(x))` with d for dropout, and then the bias; `+=` with
    /// `accumulate`, which DoRA does not allow. DoRA:
    /// `y = W (x − d(x)) + magnitude/norm · (W d(x) + scale · B (A d(x)))`, as PEFT: what it
    /// rescales saw the dropout, what it adds to did not.
    pub(super) fn forward(
        self,
        rec: &mut Recorder,
        at: Site,
        y: &Tensor,
        accumulate: bool,
    ) -> Result<()> {
        Linear::forward_together(rec, &[(self, at, y)], accumulate)
    }

    /// [`Linear::forward`] of layers that do not wait for each other; products alike in one
    /// dispatch.
    pub(super) fn forward_together(
        rec: &mut Recorder,
        layers: &[(Linear, Site, &Tensor)],
        accumulate: bool,
    ) -> Result<()> {
        if layers.iter().all(|(layer, ..)| layer.shards.len() == 1 && !layer.is_rescaled()) {
            Linear::products(rec, layers, accumulate)?;
        } else {
            for (layer, at, y) in layers {
                layer.product(rec, at, y, accumulate)?;
            }
        }
        layers.iter().try_for_each(|(layer, _, y)| match layer.bias {
            Some(bias) => rec.record(&AddBias { bias, y }),
            None => Ok(()),
        })
    }

    /// LoRA's ways down, the products with its ways up where these can be added as they are made,
    /// and the others.
    fn products(
        rec: &mut Recorder,
        layers: &[(Linear, Site, &Tensor)],
        accumulate: bool,
    ) -> Result<()> {
        let (mut adapted, mut plain) = (Vec::new(), Vec::new());
        for (layer, at, y) in layers {
            match layer.pair {
                Some(pair) => adapted.push((layer, at, pair, at.low(pair, y.dim(0))?, *y)),
                None => plain.push(layer.whole(at, y, accumulate)),
            }
        }
        let (mut made, mut down) = (Vec::new(), Vec::new());
        let (mut whole, mut up) = (Vec::new(), Vec::new());
        for (layer, at, pair, low, y) in &adapted {
            match layer.can_make_input(y.dim(0)) {
                true => {
                    made.push(LinearFwd { input: at.input, ..LinearFwd::new(at.x, &pair.a, low) })
                }
                false => down.push(LoraDown { x: at.x, a: &pair.a.w, mask: layer.mask, low }),
            }
            let without = layer.whole(at, y, accumulate);
            let branch = Some(Branch { low, b: &pair.b.w, scale: pair.scale });
            let with = LinearFwd { branch, ..without };
            if with.adds_branch(rec.gpu())? {
                whole.push(with);
            } else {
                plain.push(without);
                up.push(pair.up(low, y));
            }
        }
        together(rec, &made)?;
        together(rec, &down)?;
        together(rec, &whole)?;
        together(rec, &plain)?;
        together(rec, &up)
    }

    /// The product with the frozen weights in one shard.
    fn whole<'b>(&'b self, at: &'b Site, y: &'b Tensor, accumulate: bool) -> LinearFwd<'b> {
        let product = LinearFwd::new(at.x, &self.shards[0].matrix, y);
        LinearFwd { input: at.input, accumulate, half: self.half, ..product }
    }

    /// `y = W x`, or `+=`.
    fn frozen(&self, rec: &mut Recorder, x: &Tensor, y: &Tensor, accumulate: bool) -> Result<()> {
        self.shards.iter().try_for_each(|shard| {
            let (w, first, half) = (&shard.matrix, shard.first, self.half);
            rec.record(&LinearFwd { first, accumulate, half, ..LinearFwd::new(x, w, y) })
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
                let (x, mask, part) = (at.x, *mask, Share::Kept);
                rec.record(&Dropout { x, mask, part, accumulate: false, y: kept })?;
                self.frozen(rec, kept, out, accumulate)?;
            }
        }
        let Some(pair) = self.pair else { return Ok(()) };
        let low = at.low(pair, y.dim(0))?;
        match self.mask {
            None if low.dim(0) <= LinearFwd::FEW => {
                rec.record(&LinearFwd::new(at.x, &pair.a, &low))?;
            }
            mask => rec.record(&LoraDown { x: at.x, a: &pair.a.w, mask, low: &low })?,
        }
        rec.record(&pair.up(&low, out))?;
        if let Some((dora, before)) = dora {
            rec.record(&DoraScale { z: before, magnitude: &dora.magnitude, norm: &dora.norm, y })?;
        }
        if let Some((mask, rest)) = parts {
            let (x, part) = (at.x, Share::Rest);
            rec.record(&Dropout { x, mask, part, accumulate: false, y: &rest })?;
            self.frozen(rec, &rest, y, true)?;
        }
        Ok(())
    }

    /// Gradients of the pair (`+=`), and of the input if `dx` is given: `=` or `+=`. `dlow (N, R)`
    /// and `wide` are scratch; `wide` holds at least `(N, max(in, out))`.
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
                let ways = [(dy, Share::Kept, accumulate), (whole, Share::Rest, true)];
                for (dy, part, accumulate) in ways {
                    self.frozen_bwd(rec, dy, &parted, false)?;
                    rec.record(&Dropout { x: &parted, mask, part, accumulate, y: dx })?;
                }
            }
        }
        let Some(pair) = self.pair else { return Ok(()) };
        let Some(grads) = &pair.grads else { return Ok(()) };
        let (low, dlow) = (at.low(pair, dy.dim(0))?, dlow.view(&[dy.dim(0), pair.a.rows])?);
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
