//! Labelling of a folder of images in the browser: strokes, a forest that learns from them, where to label next.
//!
//! [`Labelling`] holds the labels of all images and works on trainings; it knows no HTTP. Every change of labels is on disk
//! before it counts as made: `<stem>.png` for each image, `dataset.toml` for what they mean.

mod bodies;
mod classes;
mod engine;
mod events;
mod features;
mod fill;
mod input;
mod labelled;
mod model;
mod options;
mod patch;
mod place;
mod project;
mod raster;
mod routes;
mod save;
mod score;
mod store;
mod suggest;
mod table;
mod workbench;

pub use classes::{Color, LabelClass, MAX_CLASSES};
pub use events::{LabelEvent, Progress, TrainingState};
pub use model::{PartPrediction, Summary};
pub use options::LabelOptions;
pub use patch::{KEEP, Patch, Rect};
pub use project::{Change, Classes, Patched, Reclassed};
pub(super) use routes::routes;
pub use score::{ClassScore, ShownEvaluation, ShownScore};
pub use suggest::Suggestion;
pub use workbench::{ImageOverview, Labelling, Overview, Saved};
