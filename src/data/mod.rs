//! From files to samples: descriptors, lists, decoding, normalisation, augmentation, batches.

mod augment;
mod descriptor;
mod list;
mod loader;
mod normalise;
mod prefetch;
mod sample;
mod survey;
pub mod synthetic;

pub use augment::Augmentation;
pub use descriptor::{Class, Descriptor, LabelFault};
pub use list::{
    FileKind, Pair, files_by_stem, find_images, find_images_below, find_predictions, pair_folders, pair_lists,
    pair_predictions, read_list, split_validation,
};
pub use loader::{Batch, Loader};
pub use normalise::{Normalisation, Statistics, ValidPixels};
pub use prefetch::ordered;
pub use sample::{Sample, load_image, load_labels, load_prediction, network_input, prediction_map};
pub use survey::{Survey, survey};
