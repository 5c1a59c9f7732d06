//! Many small tensors in few buffers, so that an optimizer step is a handful of dispatches.

use crate::Result;
use crate::gpu::{ALIGN_WORDS, Gpu, Tensor};

/// Where each tensor of a list lies: `(slab, first word)`, and the slabs' sizes in words.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    places: Vec<(usize, usize)>,
    sizes: Vec<usize>,
}

impl Layout {
    /// Places tensors of the given numbers of words one after the other.
    pub(super) fn of(words: impl IntoIterator<Item = usize>, slab_bytes: u64) -> Layout {
        let most = (slab_bytes / 4) as usize;
        let mut layout = Layout { places: Vec::new(), sizes: vec![0] };
        for n in words {
            let n = n.next_multiple_of(ALIGN_WORDS);
            let last = layout.sizes.len() - 1;
            if layout.sizes[last] > 0 && layout.sizes[last] + n > most {
                layout.sizes.push(0);
            }
            let slab = layout.sizes.len() - 1;
            layout.places.push((slab, layout.sizes[slab]));
            layout.sizes[slab] += n;
        }
        layout
    }

    /// Slab and first word of tensor `i`.
    pub(super) fn place(&self, i: usize) -> (usize, usize) {
        self.places[i]
    }

    /// Zeroed slabs of this layout.
    pub(super) fn allocate(&self, gpu: &Gpu, name: &str) -> Result<Vec<Tensor>> {
        self.sizes.iter().map(|&n| gpu.zeros(name, &[n.max(ALIGN_WORDS)])).collect()
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
        slabs[slab].slice(at, dims, name)
    }
}
