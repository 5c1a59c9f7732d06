//! Many small tensors in few buffers, so that an optimizer step is a handful of dispatches.

use super::plan::{Allocate, Purpose};
use crate::Result;
use crate::gpu::Tensor;

/// Tensors start at multiples of this many elements: a block of the 8-bit optimizer is of one
/// tensor.
const ALIGN: usize = 256;
/// Trained tensors with fewer elements lie in slabs of their own: the 8-bit optimizer keeps their
/// state in 32 bits, as bitsandbytes does.
pub(super) const SMALL: usize = 4096;

/// Elements of one slab, and whether it holds the small tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slab {
    pub(crate) len: usize,
    pub(crate) small: bool,
}

/// Where each tensor of a list lies: `(slab, first word)`, and the slabs.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    places: Vec<(usize, usize)>,
    slabs: Vec<Slab>,
}

impl Layout {
    /// Places tensors of the given numbers of elements one after the other, in slabs of at most
    /// `slab_bytes` unless one tensor is larger: first those of at least `limit` elements, then the
    /// others.
    pub(super) fn of(
        elements: impl IntoIterator<Item = usize>,
        slab_bytes: u64,
        limit: usize,
    ) -> Layout {
        let elements: Vec<usize> = elements.into_iter().collect();
        let most = (slab_bytes / 4) as usize;
        let mut layout = Layout { places: vec![(0, 0); elements.len()], slabs: Vec::new() };
        for small in [false, true] {
            let mut room = 0;
            let mine = |n: usize| n > 0 && (n < limit) == small;
            for (i, &n) in elements.iter().enumerate().filter(|(_, n)| mine(**n)) {
                let n = n.next_multiple_of(ALIGN);
                if n > room {
                    layout.slabs.push(Slab { len: 0, small });
                    room = most.max(n);
                }
                room -= n;
                let slab = layout.slabs.len() - 1;
                layout.places[i] = (slab, layout.slabs[slab].len);
                layout.slabs[slab].len += n;
            }
        }
        layout
    }

    /// Slab and first word of tensor `i`.
    pub(crate) fn place(&self, i: usize) -> (usize, usize) {
        self.places[i]
    }

    /// The slabs.
    pub(crate) fn slabs(&self) -> &[Slab] {
        &self.slabs
    }

    /// Zeroed slabs of this layout.
    pub(super) fn allocate<A: Allocate>(
        &self,
        a: &mut A,
        purpose: Purpose,
        name: &str,
    ) -> Result<Vec<A::Tensor>> {
        self.slabs.iter().map(|slab| a.floats(purpose, name, &[slab.len])).collect()
    }

    /// Tensor `i` of the list inside its slab.
    pub(super) fn tensor(
        &self,
        slabs: &[Tensor],
        i: usize,
        dims: &[usize],
        name: &str,
    ) -> Result<Tensor> {
        let (slab, at) = self.places[i];
        Ok(slabs[slab].slice(at, dims, name)?.bounded())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_tensors_come_first_and_none_is_split() {
        let layout = Layout::of([10, 5000, 4096, 4095, 300], 4 * 10_000, SMALL);
        let slab = |len, small| Slab { len, small };
        assert_eq!(layout.slabs(), [slab(5120 + 4096, false), slab(256 + 4096 + 512, true)]);
        let places: Vec<_> = (0..5).map(|i| layout.place(i)).collect();
        assert_eq!(places, [(1, 0), (0, 0), (0, 5120), (1, 256), (1, 4352)]);
        let layout = Layout::of([5000, 5000, 50_000], 4 * 10_000, SMALL);
        assert_eq!(layout.slabs().len(), 3);
    }
}
