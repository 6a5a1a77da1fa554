//! Training: from a plan to a run folder.

pub mod forest;
pub mod network;

pub use network::{
    Best, Ended, EventFile, Initial, Need, Outcome, Plan, Position, Session, Source, is_out_of_memory, prepare, resume,
    resume_for, start, start_with, write_contact_sheet,
};
