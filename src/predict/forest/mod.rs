//! Prediction by a random forest over hypercolumns.

pub(crate) mod budget;
mod channel;
mod predictor;

pub use channel::{ChannelImage, DrawnChannel, draw_channel};
pub(crate) use predictor::ForestPredictor;
#[cfg(feature = "serve")]
pub(crate) use predictor::{Decided, blocks, decide};
