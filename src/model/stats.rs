//! Where a step's numbers gather on the device: `[norm, clip coefficient, ΣNLL, clamped, …]`.

/// Slot of the summed NLL in the statistics tensor, behind norm and clip coefficient (written by
/// the optimizer).
pub(crate) const STAT_LOSS: usize = 2;
/// Slot of a number as a word: activations beyond f16's range that were packed as its largest
/// value.
pub(crate) const STAT_CLAMPED: usize = 3;
/// Words of the statistics tensor.
pub(super) const STATS: usize = 8;
