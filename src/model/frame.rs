//! Views of a workspace at the size of one pass.

use super::weight_plan::of_each;
use super::workspace::{Activations, Backward, Pass, Selected, Widths, Workspace};
use crate::Result;
use crate::format::Module;
use crate::gpu::{ALIGN_WORDS, Recorder, Tensor};
use crate::kernels::{GatherRows, LinearFwd};

impl Workspace {
    /// Views of this pass's size.
    pub(super) fn frame(&self, pass: Pass, rank: usize) -> Result<Frame<'_>> {
        let widths = Widths::of(&self.extent.config);
        Ok(Frame { space: self, pass, rank, widths, all_rows: !pass.has_few_targets() })
    }
}

/// The workspace at the size of one pass.
pub(super) struct Frame<'a> {
    pub(super) space: &'a Workspace,
    pub(super) pass: Pass,
    rank: usize,
    widths: Widths,
    /// Whether the last block needs all rows, too.
    all_rows: bool,
}

/// A block's tensors at the rows that anything behind it needs: see [`Frame::needed`].
pub(super) struct Needed {
    /// Row of each target `(L)` and target of each row `(N)`; none where all rows are needed.
    index: Option<(Tensor, Tensor)>,
    /// The residual stream before the block.
    pub(super) x: Tensor,
    pub(super) h1: Tensor,
    pub(super) q: Tensor,
    pub(super) att: Tensor,
    /// The residual stream after the block.
    pub(super) out: Tensor,
}

/// Gradients of [`Needed`].
pub(super) struct NeededGradients {
    /// Of `x` and `out`.
    pub(super) dx: Tensor,
    /// Of both norms' outputs.
    pub(super) dh: Tensor,
    pub(super) dq: Tensor,
    pub(super) datt: Tensor,
}

impl Needed {
    /// Whether these are all rows.
    pub(super) fn is_all(&self) -> bool {
        self.index.is_none()
    }

    /// `y` = the needed rows of `x`; where these are all, `x` and `y` are one.
    pub(super) fn select(&self, rec: &mut Recorder, x: &Tensor, y: &Tensor) -> Result<()> {
        let index = self.index.as_ref();
        index.map_or(Ok(()), |(index, _)| rec.record(&GatherRows { x, index, y }))
    }

    /// [`Needed::select`] the other way, with zeros in the other rows of `y`.
    pub(super) fn spread(&self, rec: &mut Recorder, x: &Tensor, y: &Tensor) -> Result<()> {
        let index = self.index.as_ref();
        index.map_or(Ok(()), |(_, index)| rec.record(&GatherRows { x, index, y }))
    }
}

impl<'a> Frame<'a> {
    /// With all rows through the last block.
    pub(super) fn of_all_rows(self) -> Self {
        Frame { all_rows: true, ..self }
    }

    /// What the last block selects, if it does: then it writes the head's input, `(L, D)`.
    pub(super) fn selected(&self) -> Option<&'a Selected> {
        self.space.parts.selected.as_ref().filter(|_| !self.all_rows)
    }

    fn selected_in(&self, l: usize) -> Option<&'a Selected> {
        self.selected().filter(|_| l + 1 == self.space.extent.config.num_hidden_layers)
    }

    /// Rows that anything behind layer `l` needs.
    fn needed_rows(&self, l: usize) -> usize {
        self.selected_in(l).map_or(self.pass.rows(), |_| self.pass.targets)
    }

    /// Of layer `l`, whose tensors are `a`: all rows. In the last layer of a pass with few targets
    /// only theirs: queries, the output product, the MLP, and with them their dropout masks, which
    /// then count selected rows. Keys and values are of all rows, and so is attention, in which the
    /// other rows ask with zeros.
    pub(super) fn needed(&self, l: usize, a: &Activations) -> Result<Needed> {
        let Some(selected) = self.selected_in(l) else {
            let (x, out) = (self.hidden(l)?, self.hidden(l + 1)?);
            let (h1, q, att) = (a.h1.clone(), a.q.clone(), a.att.clone());
            return Ok(Needed { index: None, x, h1, q, att, out });
        };
        let (head, w) = (self.head()?, &self.widths);
        let view = |t: &Tensor, width| t.view(&[self.pass.targets, width]);
        Ok(Needed {
            index: Some((head.targets, self.inverse()?)),
            x: head.x.clone(),
            h1: view(&selected.h1, w.d)?,
            q: view(&selected.q, w.q)?,
            att: view(&selected.att, w.q)?,
            out: head.x,
        })
    }

    /// Where the gradients of [`Frame::needed`] lie; `b` are those of all rows.
    pub(super) fn needed_gradients(&self, l: usize, b: &Backward) -> Result<NeededGradients> {
        let Some(selected) = self.selected_in(l) else {
            let (dx, dh, dq, datt) = (b.dx.clone(), b.dh.clone(), b.dq.clone(), b.datt.clone());
            return Ok(NeededGradients { dx, dh, dq, datt });
        };
        let (head, q) = (self.head()?, selected.q.view(&[self.pass.targets, self.widths.q])?);
        Ok(NeededGradients { dx: head.dx, dh: head.dh, dq: q.clone(), datt: q })
    }

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
        let (n, needed) = (self.pass.rows(), self.needed_rows(l));
        let dora = match &a.dora {
            None => None,
            Some(all) => Some(of_each(|module| {
                let z = &all[module as usize];
                let whole = matches!(module, Module::K | Module::V);
                z.view(&[if whole { n } else { needed }, z.dim(1)])
            })?),
        };
        Ok(Activations {
            h1: self.rows(&a.h1, w.d)?,
            rstd1: a.rstd1.view(&[n])?,
            q: self.rows(&a.q, w.q)?,
            k: self.rows(&a.k, w.kv)?,
            v: self.rows(&a.v, w.kv)?,
            att: self.rows(&a.att, w.q)?,
            lse: self.rows(&a.lse, w.heads)?,
            mid: a.mid.view(&[needed, w.d])?,
            h2: a.h2.view(&[needed, w.d])?,
            rstd2: a.rstd2.view(&[needed])?,
            gate: a.gate.view(&[needed, w.f])?,
            up: self.up(a, needed)?,
            act: a.act.view(&[needed, w.f])?,
            lora: of_each(|module| a.lora[module as usize].view(&[n, self.rank.max(1)]))?,
            dora,
            parted: self.space.parts.backward.as_ref().and_then(|b| b.parted.clone()),
        })
    }

    /// `up` of so many rows: where a product may take gate and up in one binding right behind gate,
    /// else where it lies.
    fn up(&self, a: &Activations, rows: usize) -> Result<Tensor> {
        let (dims, at) = ([rows, self.widths.f], rows * self.widths.f);
        let few = rows <= LinearFwd::FEW && !self.keeps_activations();
        match a.up.words_behind(&a.gate) {
            Some(_) if few && at.is_multiple_of(ALIGN_WORDS) => {
                a.gate.reaching(&[2 * at], "gate, up")?.slice(at, &dims, "up")
            }
            _ => a.up.view(&dims),
        }
    }

    /// Whether layer `l` waits at 16 bits: not where all are kept, nor the last layer, whose
    /// activations are still there when backward begins.
    pub(super) fn is_halved(&self, l: usize) -> bool {
        l < self.space.parts.halves.len()
    }

    /// Where layer `l` waits at 16 bits, for each of [`Activations::wide`].
    pub(super) fn halves<'b>(
        &'b self,
        l: usize,
        acts: &'b Activations,
    ) -> impl Iterator<Item = Result<(&'b Tensor, Tensor)>> {
        let store = self.space.parts.halves.get(l).map_or(&[][..], Vec::as_slice);
        let pair = |(wide, words): (&'b Tensor, &Tensor)| {
            Ok((wide, words.view(&[wide.len().div_ceil(2)])?))
        };
        acts.wide().zip(store).map(pair)
    }

    /// Gradients and scratch of layer `l`. **Errors** [`Invalid`](crate::Error::Invalid) in an
    /// inference workspace.
    pub(super) fn backward(&self, l: usize) -> Result<Backward> {
        let b = self.space.parts.backward.as_ref().ok_or_else(|| {
            crate::Error::invalid("backward", "the workspace was allocated for inference")
        })?;
        let (w, needed) = (&self.widths, self.needed_rows(l));
        Ok(Backward {
            dx: self.rows(&b.dx, w.d)?,
            dh: self.rows(&b.dh, w.d)?,
            dq: self.rows(&b.dq, w.q)?,
            dk: self.rows(&b.dk, w.kv)?,
            dv: self.rows(&b.dv, w.kv)?,
            datt: self.rows(&b.datt, w.q)?,
            delta: self.rows(&b.delta, w.heads)?,
            dgate: b.dgate.view(&[needed, w.f])?,
            dup: b.dup.view(&[needed, w.f])?,
            dact: b.dact.view(&[needed, w.f])?,
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
