//! Numbers of buffers and images, each given once.

use std::sync::atomic::{AtomicU64, Ordering};

/// One that nothing has.
pub(super) fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
