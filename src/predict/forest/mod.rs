//! Prediction by a random forest over hypercolumns.

pub(crate) mod budget;
mod channel;
mod engine;

pub use channel::{ChannelImage, DrawnChannel, draw_channel};
pub use engine::{ForestPredictor, Options, predict_files};
