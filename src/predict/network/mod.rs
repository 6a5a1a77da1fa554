//! Prediction by a network.

mod inference;
mod memory;
mod procedure;
pub(crate) mod work;

pub use procedure::{Choices, Join, Preset, Procedure, Scales, Sizes, Tiles};
