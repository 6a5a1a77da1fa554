//! The failure that ends training in several processes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The first failure, in this process or another; shared by all threads that may detect one.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure(Arc<Found>);

#[derive(Debug, Default)]
struct Found {
    flag: AtomicBool,
    cause: Mutex<Option<String>>,
}

impl Failure {
    /// Records a cause, unless there is one already.
    pub(super) fn set(&self, cause: impl Into<String>) {
        let mut kept = self.0.cause.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert_with(|| cause.into());
        self.0.flag.store(true, Ordering::Relaxed);
    }

    /// Set once there is a failure.
    pub(super) fn flag(&self) -> &AtomicBool {
        &self.0.flag
    }

    /// The cause of the failure, if there is one.
    pub(super) fn cause(&self) -> Option<String> {
        self.0.cause.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
