//! Seconds, also where the standard library has no clock.

/// A stopwatch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    #[cfg(not(target_arch = "wasm32"))]
    start: std::time::Instant,
    #[cfg(target_arch = "wasm32")]
    start: f64,
}

#[cfg(not(target_arch = "wasm32"))]
impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { start: std::time::Instant::now() }
    }

    pub(crate) fn seconds(self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}

#[cfg(target_arch = "wasm32")]
impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { start: since_epoch() }
    }

    pub(crate) fn seconds(self) -> f64 {
        since_epoch() - self.start
    }
}

/// Seconds since 1970, UTC.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn since_epoch() -> f64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(all(target_arch = "wasm32", feature = "web"))]
pub(crate) fn since_epoch() -> f64 {
    js_sys::Date::now() / 1e3
}

/// Without JavaScript there is no clock: no time passes.
#[cfg(all(target_arch = "wasm32", not(feature = "web")))]
pub(crate) fn since_epoch() -> f64 {
    0.0
}
