//! Training of a random forest over hypercolumns.

mod engine;
mod evaluate;
mod labels;
mod pixels;

pub use engine::Plan;
pub(super) use engine::train;
pub use evaluate::Split;
pub use labels::{LabelSource, LabelledImage};
