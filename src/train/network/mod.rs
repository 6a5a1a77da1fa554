//! Training of a network.

pub(crate) mod checkpoint;
mod contact_sheet;
mod course;
mod due;
mod engine;
mod entry;
mod estimate;
#[doc(hidden)]
pub mod evaluate;
mod initial;
mod longer;
mod oom;
mod pace;
mod plan;
mod record;
pub(super) mod report;
mod tensorboard;
mod unread;

pub use contact_sheet::write_contact_sheet;
pub use course::{Best, Ended, Position};
pub use entry::resume_for;
pub(super) use entry::start;
pub use estimate::Need;
pub use initial::Initial;
pub use oom::is_out_of_memory;
pub use plan::Plan;
pub use tensorboard::EventFile;
