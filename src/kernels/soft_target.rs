//! Losses that know which tokens are numbers: distributions over some tokens as targets beside the
//! labels. They run around [`CrossEntropyFused`](super::CrossEntropyFused): what they say of the
//! logits is computed before it, and added to its gradient behind it.

use super::cases::{Case, Each, Inputs};
use super::params;
use crate::Result;
use crate::gpu::{HostBuffers, Kernel, Op, Selection, Tensor, grid};
use crate::reference::{self, SparseRows};

static SOFT_TARGET: Kernel = kernel!(
    loss,
    "soft_target",
    [logits: Read, labels: Read, ranges: Read, entries: Read, weights: Read, gradient: Update, loss: Write],
);
static CRPS: Kernel = kernel!(
    loss,
    "crps",
    [logits: Read, ranges: Read, entries: Read, weights: Read, gradient: Update, loss: Write],
);
static ADD_ENTRIES: Kernel = kernel!(
    loss,
    "add_entries",
    [ranges: Read, entries: Read, gradient: Read, loss: Read, logits: Update, nll: Update],
);

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    l: u32,
    v: u32,
    scale: f32,
}

/// Rows of few entries, as both losses read them: entry `e` of row `l`, for `e` from `ranges[l]` to
/// `ranges[l + 1]`, is a token, each once in a row, and the bits of its target probability q.
///
/// **Shapes** `ranges (L + 1)`, `entries (E, 2)` words, `weights (L)`.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the text above names every field")]
pub struct Entries<'a> {
    pub ranges: &'a Tensor,
    pub entries: &'a Tensor,
    pub weights: &'a Tensor,
}

impl Entries<'_> {
    /// Checks the shapes of a loss of `logits (L, V)`.
    fn expect(&self, op: &str, logits: &Tensor, gradient: &Tensor, loss: &Tensor) -> Result<usize> {
        let [l, _] = logits.matrix(op)?;
        let [e, _] = self.entries.matrix(op)?;
        self.entries.expect(op, &[e, 2])?;
        self.ranges.expect(op, &[l + 1])?;
        self.weights.expect(op, &[l])?;
        gradient.expect(op, &[e])?;
        loss.expect(op, &[l])?;
        Ok(l)
    }
}

fn sizes(logits: &Tensor, scale: f32) -> Vec<u8> {
    params(&Params { l: logits.dim(0) as u32, v: logits.dim(1) as u32, scale })
}

/// What targets of probability q add to cross-entropy, where the target is
/// `(1 − w)·onehot + w·q`: `loss = w·Σ q·(logits[label] − logits[token])`, and by the logits of the
/// entries `gradient = w·scale·(onehot − q)`. The label is one of the row's entries; rows without
/// entries have loss 0. In each row `Σ q = 1`.
///
/// **Shapes** `logits (L, V)`, `labels (L)` words, `gradient (E)`, `loss (L)`; rows as in
/// [`Entries`]. **Errors** [`Shape`](crate::Error::Shape). **Source** Szegedy et al. 2016, sec. 7,
/// where q is uniform. **Twin** [`reference::soft_target`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct SoftTarget<'a> {
    pub logits: &'a Tensor,
    pub labels: &'a Tensor,
    pub rows: Entries<'a>,
    pub scale: f32,
    pub gradient: &'a Tensor,
    pub loss: &'a Tensor,
}

impl Op for SoftTarget<'_> {
    fn kernel(&self) -> &'static Kernel {
        &SOFT_TARGET
    }
    fn tensors(&self) -> Vec<&Tensor> {
        let Entries { ranges, entries, weights } = self.rows;
        vec![self.logits, self.labels, ranges, entries, weights, self.gradient, self.loss]
    }
    fn params(&self) -> Vec<u8> {
        sizes(self.logits, self.scale)
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let l = self.rows.expect(SOFT_TARGET.name, self.logits, self.gradient, self.loss)?;
        self.labels.expect(SOFT_TARGET.name, &[l])?;
        grid(l)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [logits, labels, ranges, entries, weights, gradient, loss] = host.all();
        let rows =
            SparseRows { ranges: ranges.u32(), entries: entries.u32(), weights: weights.f32() };
        let out = (gradient.f32_mut(), loss.f32_mut());
        reference::soft_target(logits.f32(), labels.u32(), rows, self.scale, out);
    }
}

/// Continuous ranked probability score of the distribution over a row's entries, which stand for
/// numbers one apart in ascending order: `loss = w·Σ (F − H)²`, `F` the sums so far of
/// `P = softmax(logits[token])` over the entries, `H` those of q (a step where q is 1 at the
/// truth), and by the logits of the entries
/// `gradient[e] = w·scale·P[e]·(a[e] − Σ P·a)`, `a[e] = 2·Σ_{i ≥ e} (F[i] − H[i])`.
///
/// **Shapes** `logits (L, V)`, `gradient (E)`, `loss (L)`; rows as in [`Entries`]. **Errors**
/// [`Shape`](crate::Error::Shape). **Source** Gneiting & Raftery 2007, eq. 20. **Twin**
/// [`reference::crps`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct Crps<'a> {
    pub logits: &'a Tensor,
    pub rows: Entries<'a>,
    pub scale: f32,
    pub gradient: &'a Tensor,
    pub loss: &'a Tensor,
}

impl Op for Crps<'_> {
    fn kernel(&self) -> &'static Kernel {
        &CRPS
    }
    fn tensors(&self) -> Vec<&Tensor> {
        let Entries { ranges, entries, weights } = self.rows;
        vec![self.logits, ranges, entries, weights, self.gradient, self.loss]
    }
    fn params(&self) -> Vec<u8> {
        sizes(self.logits, self.scale)
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        grid(self.rows.expect(CRPS.name, self.logits, self.gradient, self.loss)?)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [logits, ranges, entries, weights, gradient, loss] = host.all();
        let rows =
            SparseRows { ranges: ranges.u32(), entries: entries.u32(), weights: weights.f32() };
        reference::crps(logits.f32(), rows, self.scale, (gradient.f32_mut(), loss.f32_mut()));
    }
}

/// Adds what a loss of [`Entries`] found to cross-entropy's gradient and loss:
/// `logits[l, token] += gradient[e]`, `nll += loss`.
///
/// **Shapes** those of [`SoftTarget`], `nll (L)`. **Errors** [`Shape`](crate::Error::Shape).
/// **Source** addition. **Twin** [`reference::add_entries`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct AddEntries<'a> {
    pub rows: Entries<'a>,
    pub gradient: &'a Tensor,
    pub loss: &'a Tensor,
    pub logits: &'a Tensor,
    pub nll: &'a Tensor,
}

impl Op for AddEntries<'_> {
    fn kernel(&self) -> &'static Kernel {
        &ADD_ENTRIES
    }
    fn tensors(&self) -> Vec<&Tensor> {
        let Entries { ranges, entries, .. } = self.rows;
        vec![ranges, entries, self.gradient, self.loss, self.logits, self.nll]
    }
    fn params(&self) -> Vec<u8> {
        params(&[self.logits.dim(0) as u32, self.logits.dim(1) as u32])
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let l = self.rows.expect(ADD_ENTRIES.name, self.logits, self.gradient, self.loss)?;
        self.nll.expect(ADD_ENTRIES.name, &[l])?;
        grid(l)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [ranges, entries, gradient, loss, logits, nll] = host.all();
        let rows = SparseRows { ranges: ranges.u32(), entries: entries.u32(), weights: &[] };
        let found = (gradient.f32(), loss.f32());
        reference::add_entries(rows, found, logits.f32_mut(), nll.f32_mut());
    }
}

pub(super) const CASES: &[Case] = &[
    Case::new(&SOFT_TARGET, [64, 2000, 1], &[[5, 300, 1]], |i, s, e| soft_target(i, s, false, e)),
    Case::new(&CRPS, [64, 2000, 1], &[[5, 300, 1]], |i, s, e| soft_target(i, s, true, e)),
    Case::new(&ADD_ENTRIES, [64, 2000, 1], &[[5, 300, 1]], add_entries),
];

/// M rows with entries for every second of N tokens.
fn soft_target(i: &Inputs, [m, n, _]: [usize; 3], ranked: bool, each: Each) -> Result<()> {
    let (logits, count) = (i.random("logits", &[m, n])?, n / 2);
    let labels = i.words("labels", &(0..m).map(|l| 2 * (l % count) as u32).collect::<Vec<_>>())?;
    let ranges = i.words("ranges", &(0..=m).map(|l| (l * count) as u32).collect::<Vec<_>>())?;
    let q = (1.0 / count as f32).to_bits();
    let words: Vec<u32> = (0..m * count).flat_map(|e| [2 * (e % count) as u32, q]).collect();
    let entries = i.words("entries", &words)?.view(&[m * count, 2])?;
    let rows =
        Entries { ranges: &ranges, entries: &entries, weights: &i.positive("weights", &[m])? };
    let (gradient, loss) = (i.zeros("gradient", &[m * count])?, i.zeros("loss", &[m])?);
    let (logits, gradient, loss, scale) = (&logits, &gradient, &loss, 0.1);
    match ranked {
        true => each(&Crps { logits, rows, scale, gradient, loss }),
        false => each(&SoftTarget { logits, labels: &labels, rows, scale, gradient, loss }),
    }
}

fn add_entries(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (logits, nll) = (i.random("logits", &[m, n])?, i.random("nll", &[m])?);
    let ranges = i.words("ranges", &(0..=m as u32).collect::<Vec<_>>())?;
    let words: Vec<u32> = (0..m).flat_map(|l| [(l * 7919 % n) as u32, 0]).collect();
    let entries = i.words("entries", &words)?.view(&[m, 2])?;
    let (gradient, loss) = (i.random("gradient", &[m])?, i.random("loss", &[m])?);
    let rows = Entries { ranges: &ranges, entries: &entries, weights: &loss };
    each(&AddEntries { rows, gradient: &gradient, loss: &loss, logits: &logits, nll: &nll })
}
