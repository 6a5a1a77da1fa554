//! The failure that ends training in several processes.

use std::sync::{Arc, OnceLock};

/// The first failure, in this process or another; shared by all threads that may detect one.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure(Arc<OnceLock<String>>);

impl Failure {
    /// Records a cause, unless there is one already.
    pub(super) fn set(&self, cause: impl Into<String>) {
        let _ = self.0.set(cause.into());
    }

    /// Whether there is a failure.
    pub(super) fn is_set(&self) -> bool {
        self.0.get().is_some()
    }

    /// The cause of the failure, if there is one.
    pub(super) fn cause(&self) -> Option<String> {
        self.0.get().cloned()
    }
}
