//! Pixels on disk: images, label images and .npy arrays. Knows no tensor.

mod bmp;
mod encode;
mod foreign;
mod geotiff;
mod gif;
mod gray;
mod guard;
mod jp2;
mod jpeg;
mod labels;
pub mod limits;
mod notes;
mod npy;
pub(crate) mod oklab;
mod orientation;
mod palette;
mod pnm;
mod raw_labels;
mod read;
mod resize;
mod samples;
mod show;
mod tiff;
mod webp;

pub use encode::{Pixels, encode_label_png, encode_marked_png, encode_png, encode_small_png, maker_of};
pub(crate) use foreign::image_inside;
pub(crate) use geotiff::keep_place;
pub use geotiff::{
    Georeference, LabelTiff, LabelTiffWriter, ProbabilityTiffWriter, ProbabilityType, ReferenceSystem,
    declares_orientation, is_geotiff,
};
pub use gray::{GrayConverter, GrayMethod, Sample, stretch};
pub use guard::is_decoding;
pub(crate) use labels::read_labels_turned;
pub use labels::{read_labels, read_labels_and_alpha};
pub(crate) use notes::note_file;
pub use notes::report_notes;
pub(crate) use npy::NpyRows;
pub use npy::{
    encode_label_npy, npy_size, read_image_npy, read_label_npy, read_probability_npy, write_count_npy, write_label_npy,
};
pub(crate) use orientation::follow_orientation_policy;
pub use orientation::{OrientationPolicy, orientation_is_requested, orientation_policy, set_orientation_policy};
pub use palette::distinct_colors;
pub use raw_labels::{LabelImage, MINUS_ONE, NumberLabels, RawLabels};
pub(crate) use read::read_image_turned;
pub use read::{find_size, read_image, read_size};
pub(crate) use resize::nearest;
pub use resize::{Scaling, resize_floats};
pub(crate) use samples::matching;
pub use samples::{AlphaBand, Image, SampleType, Samples};
pub use tiff::TiffRows;

/// The font of legends and curves, compiled in so that none has to be installed.
pub(crate) const FONT: &[u8] = epaint_default_fonts::UBUNTU_LIGHT;
