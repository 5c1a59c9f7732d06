//! Submissions that no driver's watchdog ends: what work takes on a slow GPU, and grids in parts.

use super::op::Work;

/// The longest submission on a slow GPU, nanoseconds: a screen waits for as long as one runs, and
/// Windows ends a driver that does not answer for two seconds.
pub(super) const SLICE: u64 = 100_000_000;

/// The slowest GPU of a kind that is reckoned with, in these kernels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Floating-point operations a nanosecond.
    flops: u64,
    /// Bytes a nanosecond.
    bytes: u64,
}

impl Pace {
    /// An integrated one of ten years ago has a tenth of its 400 GFLOP/s and shares 25 GB/s with
    /// its CPU; a discrete one has memory and a power supply of its own.
    pub(super) fn of(discrete: bool) -> Pace {
        if discrete { Pace { flops: 200, bytes: 40 } } else { Pace { flops: 40, bytes: 10 } }
    }

    /// Nanoseconds that work takes.
    pub(super) fn time(self, work: Work) -> u64 {
        (work.flops / self.flops).max(work.bytes / self.bytes)
    }
}

/// Some workgroups of a grid: a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its first workgroup.
    pub(super) first: [u32; 3],
    /// How many there are.
    pub(super) count: [u32; 3],
    /// What it takes.
    pub(super) time: u64,
}

/// A grid in parts that take at most `slice` each, or are a single workgroup. Each workgroup takes
/// its share of `time`.
pub(super) fn parts(grid: [u32; 3], time: u64, slice: u64) -> Vec<Part> {
    let mut all = Vec::new();
    cut(Part { first: [0; 3], count: grid, time }, slice, &mut all);
    all
}

/// Cuts along the longest axis, which allows the most equal parts.
fn cut(whole: Part, slice: u64, into: &mut Vec<Part>) {
    let axis = (0..3).max_by_key(|&axis| whole.count[axis]).unwrap_or(0);
    let length = whole.count[axis];
    if whole.time <= slice || length == 1 {
        into.push(whole);
        return;
    }
    let most = (u64::from(length) * slice / whole.time).max(1) as u32;
    let equal = length.div_ceil(length.div_ceil(most));
    for first in (0..length).step_by(equal as usize) {
        let mut part = whole;
        part.first[axis] += first;
        part.count[axis] = equal.min(length - first);
        part.time = whole.time * u64::from(part.count[axis]) / u64::from(length);
        cut(part, slice, into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn workgroups(part: &Part) -> impl Iterator<Item = [u32; 3]> + use<> {
        let Part { first: [x, y, z], count: [nx, ny, nz], .. } = *part;
        let plane = move |k| (y..y + ny).flat_map(move |j| (x..x + nx).map(move |i| [i, j, k]));
        (z..z + nz).flat_map(plane)
    }

    #[test]
    fn parts_are_the_grid_and_none_is_long() {
        for grid in [[1, 1, 1], [7, 1, 1], [128, 32, 1], [5, 3, 4], [64, 64, 1]] {
            let all = grid.iter().product::<u32>();
            for time in [0, SLICE, SLICE + 1, 17 * SLICE + 3, u64::from(all) * SLICE] {
                let parts = parts(grid, time, SLICE);
                let seen: Vec<[u32; 3]> = parts.iter().flat_map(workgroups).collect();
                assert_eq!(seen.len(), all as usize, "{grid:?}");
                assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), all as usize, "{grid:?}");
                for part in &parts {
                    let one = part.count == [1; 3];
                    assert!(part.time <= SLICE || one, "{grid:?} {time}: {part:?}");
                }
                let sum: u64 = parts.iter().map(|part| part.time).sum();
                assert!(sum <= time && time - sum <= u64::from(all), "{grid:?} {time}: {sum}");
                let needed = time.div_ceil(SLICE).clamp(1, u64::from(all)) as usize;
                assert!(parts.len() >= needed, "{grid:?} {time}: {} parts", parts.len());
                assert!(parts.len() <= 3 * needed, "{grid:?} {time}: {} parts", parts.len());
            }
        }
    }

    #[test]
    fn the_slower_of_arithmetic_and_memory_counts() {
        let pace = Pace::of(false);
        assert_eq!(pace.time(Work { flops: 4_000_000_000, bytes: 0 }), SLICE);
        assert_eq!(pace.time(Work { flops: 1, bytes: 1_000_000_000 }), SLICE);
    }
}
