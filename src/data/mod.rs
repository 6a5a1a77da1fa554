//! From files to samples: data sets, lists, decoding, normalisation, augmentation, batches.

mod annotated;
mod augment;
mod cache;
mod class_lookup;
mod dataset;
mod exchanged;
mod file_table;
mod folder;
mod footprint;
mod groups;
mod image_probe;
mod inputs;
mod label_maps;
mod label_meaning;
mod label_survey;
mod layout;
mod list;
mod loader;
mod masks;
mod normalise;
mod number;
mod pair;
mod pair_names;
mod parts;
mod predicted;
mod prefetch;
mod prepare;
mod presence;
mod proposal;
mod random;
mod ratings;
mod repeats;
mod sample;
mod sampling;
mod sparse;
mod stems;
mod survey;
pub mod synthetic;
mod trained_samples;

pub use annotated::{annotation_files, pair_with_annotations};
pub use augment::{Augmentation, Change, Extent, largest_after, largest_after_all};
pub use cache::{Cache, CacheUsage};
pub use dataset::{Class, Dataset};
pub use exchanged::refuse_exchanged;
pub use folder::{
    FileKind, ends_as_label_image, files_by_stem, find_images, find_images_below, find_labels, find_predictions,
};
pub use footprint::{Footprint, overlap_note, overlapping};
pub(crate) use groups::linked;
pub use groups::{GroupBy, split_groups};
pub use image_probe::{ImageProbe, SampleKind, probe_images};
pub use inputs::{FoundImages, ImageSearch};
pub use label_maps::{
    background, check_size, load_labels, load_pair_labels, load_prediction, merge_masks, prediction_map,
};
pub use label_meaning::LabelFault;
pub use label_survey::{
    Count, FilesOfKind, FoundLabel, LabelFiles, LabelSurvey, MAX_LABELS, RawLabel, find_images_of, shell_word,
    suggestion, survey_and_keep, survey_labels,
};
pub use layout::{Layout, find_layout, is_published_layout};
pub(crate) use list::{LABEL_SUFFIX, images_in, labels_in};
pub use list::{pair_folders, pair_lists, pair_suffixed, read_label_list, read_list, read_pairs, split_validation};
pub use loader::{Batch, Loader, Preview};
pub use masks::{find_images_or_ids, mask_folders, pair_mask_folders};
pub use normalise::{Normalisation, Statistics, ValidPixels};
pub use number::StoredNumber;
pub use pair::{Labels, Pair};
pub use pair_names::name_note;
pub(crate) use parts::Parts;
pub use predicted::{
    pair_label_maps, pair_layout_predictions, pair_mask_predictions, pair_predictions, pair_suffixed_predictions,
};
pub use prefetch::{AHEAD, ordered};
pub use prepare::{chosen_bands, displayed, load_bands, load_raster, prepared};
pub use presence::ClassPresence;
pub use proposal::{
    AnnotatedClass, AnnotatedClasses, ClassNames, Known, NamedClass, Proposal, dataset_of_annotations, propose,
};
pub use ratings::Ratings;
pub use repeats::{Fingerprint, KnownImage, repeat_notes};
pub use sample::{Sample, measured, network_input, settled};
pub use sampling::Sampling;
pub use sparse::{
    CsvLabels, NO_REGION, REGION_FOLDS, Region, Regions, Shape, load_sparse_labels, pixel_split, read_label_csv,
    region_folds, region_split,
};
pub use survey::{Survey, survey};
pub use trained_samples::TrainedSamples;
