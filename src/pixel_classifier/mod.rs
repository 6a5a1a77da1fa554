//! Classifying pixels by a random forest over hypercolumns: from a few labelled pixels to a run folder, and from that to
//! label maps of whole pictures.

mod budget;
mod channel;
mod evaluate;
mod labels;
mod pixels;
mod predict;
mod report;
mod train;

pub use channel::{ChannelPicture, DrawnChannel, draw_channel};
pub use evaluate::{Evaluation, Split};
pub use labels::{LabelSource, LabelledPicture};
pub use predict::{Options, PixelPredictor, predict_files};
pub use report::{ClassReport, Importance, Report};
pub use train::{Outcome, Plan, Session, train};
