//! Headings that group the options in `--help`.

/// What to read.
pub(super) const DATA: &str = "Data and model";
/// What to predict or convert with.
pub(super) const MODEL: &str = "Model";
/// What to write.
pub(super) const OUTPUT: &str = "Output";
/// How a network is trained.
pub(super) const TRAINING: &str = "Training options (default: as in the recipe)";
/// How an image is predicted.
pub(super) const INFERENCE: &str = "Inference and tiling";
/// How scores are computed.
pub(super) const SCORING: &str = "Classes and scores";
/// How figures are drawn.
pub(super) const FIGURE: &str = "Figure";
/// Images to convert.
pub(super) const IMAGES: &str = "Images";
/// How they are converted.
pub(super) const CONVERSION: &str = "Conversion";
/// What is labelled in the browser.
#[cfg(feature = "serve")]
pub(super) const LABELLING: &str = "Labelling";
/// Where a server listens, and who may use it.
#[cfg(feature = "serve")]
pub(super) const ACCESS: &str = "Address and access";
/// What it refuses.
#[cfg(feature = "serve")]
pub(super) const LIMITS: &str = "Limits";
/// Devices, threads and memory.
pub(super) const HARDWARE: &str = "Hardware and memory";
/// Options of all commands.
pub(super) const GENERAL: &str = "General";
