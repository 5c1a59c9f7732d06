//! Locks of what a device keeps.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks it, also after a thread has died that held it: what is kept is whole at any moment.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
