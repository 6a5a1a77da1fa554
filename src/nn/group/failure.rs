//! What ends a training of several processes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The first thing that went wrong, in this process or in another; shared by all threads that may find it.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure(Arc<Found>);

#[derive(Debug, Default)]
struct Found {
    flag: AtomicBool,
    cause: Mutex<Option<String>>,
}

impl Failure {
    /// Keeps a cause, unless there was one before.
    pub(super) fn set(&self, cause: impl Into<String>) {
        let mut kept = self.0.cause.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert_with(|| cause.into());
        self.0.flag.store(true, Ordering::Relaxed);
    }

    /// Set once something went wrong.
    pub(super) fn flag(&self) -> &AtomicBool {
        &self.0.flag
    }

    /// What went wrong.
    pub(super) fn cause(&self) -> Option<String> {
        self.0.cause.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
