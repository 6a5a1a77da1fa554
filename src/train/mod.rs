//! Training: from a plan to a run folder.

mod checkpoint;
mod curves;
mod engine;
mod initial;
mod log;
mod plan;

pub use checkpoint::Position;
pub use engine::{Outcome, Session, resume, start, start_with};
pub use initial::Initial;
pub use log::Row;
pub use plan::{Plan, Source, prepare};
