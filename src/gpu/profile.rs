//! Time per kernel from timestamp queries.

use std::collections::BTreeMap;

/// Accumulated times of a profiled run.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Per variant name.
    pub rows: BTreeMap<String, ProfileRow>,
    /// Nanoseconds of the longest submission, from its first dispatch to the end of its last.
    pub longest_submission_ns: f64,
}

/// One variant's totals.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProfileRow {
    /// Dispatches.
    pub calls: u64,
    /// Nanoseconds on the device.
    pub ns: f64,
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes that had to move.
    pub bytes: u64,
}

impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by(|a, b| b.1.ns.total_cmp(&a.1.ns));
        let total: f64 = rows.iter().map(|(_, r)| r.ns).sum();
        writeln!(
            f,
            "{:<58} {:>7} {:>10} {:>6} {:>8} {:>8}",
            "kernel", "calls", "ms", "%", "GFLOP/s", "GB/s"
        )?;
        for (name, r) in rows {
            writeln!(
                f,
                "{name:<58} {:>7} {:>10.2} {:>6.1} {:>8.1} {:>8.1}",
                r.calls,
                r.ns / 1e6,
                100.0 * r.ns / total.max(1.0),
                r.flops as f64 / r.ns.max(1.0),
                r.bytes as f64 / r.ns.max(1.0)
            )?;
        }
        write!(f, "{:<58} {:>7} {:>10.2}", "total", "", total / 1e6)
    }
}
