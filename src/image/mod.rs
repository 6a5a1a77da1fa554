//! Pixels on disk: pictures, label images, .npy arrays, and drawing. Knows no tensor.

mod draw;
mod encode;
mod foreign;
mod gif;
mod gray;
mod jp2;
mod jpeg;
mod labels;
mod npy;
mod oklab;
mod palette;
mod pnm;
mod raster;
mod resize;
mod show;
mod tiff;

pub(crate) use draw::{FAINT, GAP, INK, PAPER, Text, draw_tables, fill, paste, tables_height, ticks};
pub use draw::{
    Figure, Frame, Judgement, Legend, LegendRow, LegendTable, Panel, PictureFormat, color_bar_width, color_labels,
    color_probabilities, encode_jpeg, encode_picture, figure, heatmap, judge, overlay_labels, panels_width,
    side_by_side, stack, with_color_bar, write_png,
};
pub use encode::{Pixels, encode_png, encode_small_png};
pub(crate) use foreign::image_inside;
pub use gray::{GrayConverter, GrayMethod, Sample, stretch};
pub use labels::{RawLabels, read_labels, read_labels_and_alpha};
pub use npy::{
    read_label_npy, read_probability_npy, write_count_npy, write_label_npy, write_label_npy_as_i64,
    write_probabilities_npy, write_probability_npy,
};
pub use palette::distinct_colors;
pub use raster::{AlphaBand, Raster, Samples, read_image, read_image_and_alpha, read_size};
pub(crate) use resize::nearest;
pub use resize::{Scaling, resize_floats};

/// The font of legends and curves, compiled in so that none has to be installed.
pub(crate) const FONT: &[u8] = epaint_default_fonts::UBUNTU_LIGHT;
