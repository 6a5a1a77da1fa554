//! Mutexes whose content stays of use after a panic of another thread.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The content of a mutex, also after a panic while it was locked.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
