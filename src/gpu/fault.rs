//! What the driver reports of a device.

use std::sync::{Arc, Mutex};

use crate::{Error, Result};

/// The first error since a device was opened.
#[derive(Clone, Default)]
pub(super) struct Faults(Arc<Mutex<Option<Fault>>>);

#[derive(Clone)]
struct Fault {
    /// Whether the driver has given the device up.
    lost: bool,
    why: String,
}

impl Faults {
    /// Those of a device from now on.
    pub(super) fn of(device: &wgpu::Device) -> Faults {
        let faults = Faults::default();
        let noted = faults.clone();
        device
            .on_uncaptured_error(Arc::new(move |e: wgpu::Error| noted.note(false, e.to_string())));
        let noted = faults.clone();
        device.set_device_lost_callback(move |reason, why| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                noted.note(true, format!("{why} ({reason:?})"));
            }
        });
        faults
    }

    /// Keeps the first.
    pub(super) fn note(&self, lost: bool, why: String) {
        if let Ok(mut slot) = self.0.lock() {
            slot.get_or_insert(Fault { lost, why });
        }
    }

    fn first(&self) -> Option<Fault> {
        self.0.lock().ok()?.clone()
    }

    /// **Errors** [`Error::Device`] or [`Error::DeviceLost`].
    pub(super) fn check(&self, during: &str) -> Result<()> {
        let Some(Fault { lost, why }) = self.first() else { return Ok(()) };
        let during = during.into();
        Err(if lost { Error::DeviceLost { during, why } } else { Error::Device { during, why } })
    }

    /// Whether the driver has given the device up.
    pub(super) fn is_lost(&self) -> bool {
        self.first().is_some_and(|fault| fault.lost)
    }
}
