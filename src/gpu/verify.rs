//! How far a device result is from its twin's.

use super::{Elem, Gpu, Host, HostBuffers, Op, Tensor};
use crate::Result;

/// Codes that one grid point of the rounding rule can be apart, near zero where they are densest.
const NEIGHBOURS: u8 = 8;

/// The largest absolute difference over the largest magnitude of the reference; words must be
/// equal. Infinite if one side has a NaN or an infinity that the other has not. Of 8-bit codes a
/// thousandth of the share that differs: a value half-way between two codes hangs on its last bit.
/// Beyond `NEIGHBOURS` codes that explains nothing.
pub fn difference(device: &Host, twin: &Host, elem: Elem) -> f32 {
    if elem == Elem::Codes {
        let (a, b) = (device.bytes(), twin.bytes());
        let far = a.iter().zip(b).any(|(a, b)| a.abs_diff(*b) > NEIGHBOURS);
        let differ = a.iter().zip(b).filter(|(a, b)| a != b).count();
        return if far { f32::INFINITY } else { 1e-3 * differ as f32 / a.len().max(1) as f32 };
    }
    if elem == Elem::U32 {
        return if device.u32() == twin.u32() { 0.0 } else { f32::INFINITY };
    }
    if elem == Elem::F16Pairs {
        return apart(&halves(device), &halves(twin));
    }
    apart(device.f32(), twin.f32())
}

/// The values of pairs of 16-bit floats.
fn halves(host: &Host) -> Vec<f32> {
    let pair = |word: &u32| [*word as u16, (*word >> 16) as u16];
    let words = host.u32().iter().flat_map(pair);
    words.map(|bits| half::f16::from_bits(bits).to_f32()).collect()
}

fn apart(device: &[f32], twin: &[f32]) -> f32 {
    let scale = twin.iter().filter(|v| v.is_finite()).fold(0f32, |m, v| m.max(v.abs()));
    let mut worst = 0f32;
    for (d, t) in device.iter().zip(twin) {
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

/// What is in the tensors of each operation.
pub(super) fn on_host(gpu: &Gpu, ops: &[&dyn Op]) -> Result<Vec<HostBuffers>> {
    let read = |t: &Tensor| gpu.read_blocking(t).map(Host);
    let all = ops.iter().map(|op| op.tensors().into_iter().map(read).collect::<Result<_>>());
    all.map(|tensors| tensors.map(HostBuffers)).collect()
}

/// The first output that is not what the operations' twins make of `inputs`.
pub(super) fn disagreement(
    gpu: &Gpu,
    ops: &[&dyn Op],
    inputs: Vec<HostBuffers>,
) -> Result<Option<String>> {
    for (op, mut host) in ops.iter().zip(inputs) {
        op.twin(&mut host);
        for (((name, access), tensor), twin) in
            op.kernel().bindings.iter().zip(op.tensors()).zip(&host.0)
        {
            if !access.writes() {
                continue;
            }
            let device = Host(gpu.read_blocking(tensor)?);
            let (error, bound) = (difference(&device, twin, tensor.elem()), op.bound());
            if error.is_nan() || error > bound {
                return Ok(Some(format!("`{name}` {tensor:?}: error {error:e}, bound {bound:e}")));
            }
        }
    }
    Ok(None)
}
