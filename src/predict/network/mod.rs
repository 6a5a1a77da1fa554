//! Prediction by a network.

mod inference;
mod memory;
mod model;
mod predictor;
mod procedure;
mod work;

pub(crate) use predictor::NetworkPredictor;
pub use procedure::{Choices, Join, Preset, Procedure, Scales, Sizes, Tiles};
