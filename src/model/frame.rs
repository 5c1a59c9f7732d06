//! Views of a workspace at the size of one pass.

use super::workspace::{Activations, Backward, Pass, Widths, Workspace};
use crate::Result;
use crate::gpu::Tensor;

impl Workspace {
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
        self.space.extent.keep.is_some()
    }

    /// Input of layer `l`, or the last layer's output.
    pub(super) fn hidden(&self, l: usize) -> Result<Tensor> {
        let all = &self.space.parts.hidden;
        self.rows(
            &all[if self.space.extent.keep.is_some() { l } else { l % all.len() }],
            self.widths.d,
        )
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

    /// Where layer `l` waits at 16 bits, for each of [`Activations::wide`]; nothing for the last layer, whose
    /// activations are still there when backward begins, or where all are kept.
    pub(super) fn packed<'b>(
        &'b self,
        l: usize,
        acts: &'b Activations,
    ) -> impl Iterator<Item = Result<(&'b Tensor, Tensor)>> {
        let store = self.space.parts.packed.get(l).map_or(&[][..], Vec::as_slice);
        let pair = |(wide, words): (&'b Tensor, &Tensor)| {
            Ok((wide, words.view(&[wide.len().div_ceil(2)])?))
        };
        acts.wide().zip(store).map(pair)
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
        let grad = if self.space.extent.keep.is_some() { l } else { 1 };
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
