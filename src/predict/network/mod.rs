//! Prediction by a network.

mod by_rows;
mod inference;
mod memory;
mod model;
mod predictor;
mod procedure;
mod scene;
mod source;
mod sweep;
mod tiles;
mod work;

pub(crate) use predictor::NetworkPredictor;
pub use procedure::{Choices, Join, Preset, Procedure, Scales, Sizes};
pub use tiles::{Blend, Border, Tiles};
