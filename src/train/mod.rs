//! Training: from a plan to a run folder.

mod axis;
mod checkpoint;
mod contact_sheet;
mod course;
mod curves;
mod engine;
mod estimate;
mod initial;
mod log;
mod longer;
mod oom;
mod pace;
mod pictures;
mod plan;
mod record;
pub mod report;
mod session;
mod tensorboard;
mod unread;

pub use contact_sheet::write_contact_sheet;
pub use course::{Best, Ended, Position};
pub use engine::{resume, resume_for, start, start_with};
pub use estimate::Need;
pub use initial::Initial;
pub use log::Row;
pub use oom::is_out_of_memory;
pub use pictures::{PictureRanking, RankedPicture, write_pictures};
pub use plan::{Plan, Source, prepare};
pub use session::{Outcome, Session};
pub use tensorboard::EventFile;
