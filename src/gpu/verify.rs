//! How far a device result is from its twin's.

use super::{Elem, Host};

/// The largest absolute difference over the largest magnitude of the reference; words must be equal.
/// Infinite if one side has a NaN or an infinity that the other has not.
pub fn difference(device: &Host, twin: &Host, elem: Elem) -> f32 {
    if elem == Elem::U32 {
        return if device.u32() == twin.u32() { 0.0 } else { f32::INFINITY };
    }
    let scale = twin.f32().iter().filter(|v| v.is_finite()).fold(0f32, |m, v| m.max(v.abs()));
    let mut worst = 0f32;
    for (d, t) in device.f32().iter().zip(twin.f32()) {
        if d.to_bits() == t.to_bits() {
            continue;
        }
        let gap = (d - t).abs();
        if !gap.is_finite() {
            return f32::INFINITY;
        }
        worst = worst.max(gap);
    }
    if worst == 0.0 { 0.0 } else { worst / scale.max(f32::MIN_POSITIVE) }
}
