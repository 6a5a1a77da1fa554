//! Prediction by a random forest over hypercolumns.

pub(crate) mod budget;
mod channel;
mod engine;

pub use channel::{ChannelPicture, DrawnChannel, draw_channel};
pub use engine::{Options, PixelPredictor, predict_files};
