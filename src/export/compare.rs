//! Sizes of adapters' changes, without making them: `ΔW = s·B·A` is never written out.

use super::adapted::delta;
use crate::format::AdapterFile;

/// `Σ ⟨ΔW₁, ΔW₂⟩` over the layers that both adapt, with
/// `⟨s₁B₁A₁, s₂B₂A₂⟩ = s₁s₂ · Σ (B₁ᵀB₂) ∘ (A₁A₂ᵀ)`; DoRA's magnitudes are left out. `None` if a
/// layer has other shapes in the two.
pub fn inner_product(first: &AdapterFile, second: &AdapterFile) -> Option<f64> {
    let mut sum = 0.0;
    for module in first.modules() {
        let Some(two) = delta(second, module) else { continue };
        let one = delta(first, module)?;
        let (r, q) = (first.config.rank_of(module), second.config.rank_of(module));
        let (inp, out) = (one.a.len() / r.max(1), one.b.len() / r.max(1));
        if (two.a.len(), two.b.len()) != (q * inp, out * q) {
            return None;
        }
        let mut layer = 0.0;
        for i in 0..r {
            for j in 0..q {
                let dot = |n: usize, a: &dyn Fn(usize) -> f32, b: &dyn Fn(usize) -> f32| {
                    (0..n).map(|k| f64::from(a(k)) * f64::from(b(k))).sum::<f64>()
                };
                let rows = dot(inp, &|k| one.a[i * inp + k], &|k| two.a[j * inp + k]);
                let columns = dot(out, &|k| one.b[k * r + i], &|k| two.b[k * q + j]);
                layer += rows * columns;
            }
        }
        sum += layer * one.scale * two.scale;
    }
    Some(sum)
}

/// `√Σ ‖ΔW‖²` over all layers (Frobenius).
pub fn norm(adapter: &AdapterFile) -> f64 {
    inner_product(adapter, adapter).map_or(0.0, |square| square.max(0.0).sqrt())
}
