//! Training of a random forest over hypercolumns.

mod engine;
mod evaluate;
mod labels;
mod pixels;
pub(super) mod report;
mod split;

pub use engine::Plan;
pub(super) use engine::train;
pub use labels::{LabelSource, LabelledImage};
pub use split::Split;
