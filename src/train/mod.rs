//! Training of networks and random forests: from a recipe and labelled images to a run folder.

pub mod forest;
pub mod network;

mod job;
mod plan;
mod report;
mod session;
mod source;

use std::path::Path;

use crate::base::Result;

pub use job::{Job, Validation};
pub use network::{Best, Ended, EventFile, Initial, Need, Position, is_out_of_memory, resume_for};
pub use plan::Plan;
pub use report::write_report;
pub use session::{Outcome, SMALL_SHARE, Session};
pub use source::Source;

/// Trains into `folder`: prepares the job and starts it. Errors are those of [`Plan::new`] and [`Plan::start`].
pub fn train(job: Job, folder: impl AsRef<Path>, session: &Session<'_>) -> Result<Outcome> {
    let folder = folder.as_ref();
    // Refused before the data are read.
    let lock = session.claim(folder)?;
    job.check_weights(folder)?;
    Plan::new(job, session.sink)?.start(folder, &Session { lock: lock.as_ref().or(session.lock), ..*session })
}
