//! Labels of a few pixels, such as a random forest learns from: strokes, points and rectangles; the regions that they
//! form, and which of them are held out to score what was learnt from the others.
//!
//! Region numbers begin at 0 in every image. Over several images, append their [`Regions::regions`], and add to a
//! image's numbers how many regions the images before it have.

mod csv;
mod regions;
mod split;
mod strokes;

pub use csv::{CsvLabels, Shape, read_label_csv};
pub use regions::{NO_REGION, Region, Regions};
pub use split::{REGION_FOLDS, pixel_split, region_folds, region_split};
pub use strokes::load_sparse_labels;
