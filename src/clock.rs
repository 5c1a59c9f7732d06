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
        Clock { start: now() }
    }

    pub(crate) fn seconds(self) -> f64 {
        now() - self.start
    }
}

#[cfg(all(target_arch = "wasm32", feature = "web"))]
fn now() -> f64 {
    js_sys::Date::now() / 1e3
}

/// Without JavaScript there is no clock: no time passes.
#[cfg(all(target_arch = "wasm32", not(feature = "web")))]
fn now() -> f64 {
    0.0
}
