//! Pixels on disk: pictures, label images, .npy arrays, and drawing. Knows no tensor.

mod draw;
mod encode;
mod gray;
mod labels;
mod npy;
mod raster;
mod tiff;

pub use draw::{Legend, color_labels, side_by_side, stack};
pub use encode::{Pixels, encode_png, write_png};
pub use gray::{GrayConverter, GrayMethod, Sample, stretch};
pub use labels::{RawLabels, read_labels};
pub use npy::{read_label_npy, write_count_npy, write_label_npy, write_probability_npy};
pub use raster::{Raster, Samples, read_image, read_image_and_alpha};

/// The font of legends and curves, compiled in so that none has to be installed.
pub(crate) const FONT: &[u8] = epaint_default_fonts::UBUNTU_LIGHT;
