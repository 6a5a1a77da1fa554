//! Semantic segmentation for geoscience and everyday images: train a network or a random forest, predict label maps,
//! score them.
//!
//! A [`Predictor`] opens the run folder that a training wrote (`segtool train`, or [`train()`](train::train) here) and turns
//! an [`Image`] into a [`Prediction`]: the class of every pixel, with the [`Dataset`] that gives each class its name, its
//! colour and its label value on disk. [`Predictor::from_weights`] takes weights of other projects, without a run folder.
//!
//! ```
//! use segtool::{Image, Predictor};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let recipe = folder.path().join("tiny.toml");
//! # std::fs::write(&recipe, r#"
//! #     name = "tiny"
//! #     dataset = "demo"
//! #     network = { architecture = "unet-seeps", width = 2, depth = 2 }
//! #     [training]
//! #     epochs = 1
//! #     batch_size = 2
//! #     learning_rate = 0.01
//! #     optimizer = { kind = "adam" }
//! #     schedule = { kind = "constant" }
//! #     loss = [{ kind = "cross-entropy" }]
//! # "#)?;
//! # let size = segtool::Size { width: 16, height: 16 };
//! # let pairs = segtool::data::synthetic::write_set(folder.path(), "train", 0, 0..2, size)?;
//! # let job = segtool::Job::new(
//! #     segtool::Recipe::find(recipe.to_str().unwrap())?,
//! #     segtool::Source::Pairs(pairs.clone()),
//! # );
//! # let stop = std::sync::atomic::AtomicBool::new(false);
//! # let quiet = |_: segtool::Event| ();
//! # let (run, scene) = (folder.path().join("run"), pairs[0].image.clone());
//! # segtool::train(job, &run, &segtool::Session::new(segtool::Device::Flex, &stop, &quiet))?;
//! # let output = folder.path().join("scene.npy");
//! let model = Predictor::open(&run)?; // such as "runs/seeps", the folder that a training wrote
//! let prediction = model.predict(&Image::read(&scene)?)?; // such as "scene.tif"
//! prediction.write_npy(&output)?; // label values, [height, width]
//! # assert_eq!(segtool::Image::read(&output)?.size, size);
//! # assert_eq!(prediction.label_values().len(), 16 * 16);
//! # Ok(())
//! # }
//! ```
//!
//! `prediction.labels.classes[y * width + x]` is an index into the classes of `prediction.dataset`, or
//! [`IGNORE`](base::label_map::IGNORE) where the image has no data; `prediction.label_values()` gives the label values.
//! [`Predictor::open`] computes on [`Device::Auto`]: an NVIDIA GPU if libtorch finds one, otherwise the CPU. To choose
//! another device, call [`Predictor::open_on`]. Cargo features: `libtorch`, `vulkan` and `metal` add devices, `cloud` adds
//! paths such as `s3://bucket/a.tif`, and `serve` (on by default) adds the web server.
//!
//! | to | take |
//! | --- | --- |
//! | predict a folder of images, with files for each | [`Predictor::predict_files`] |
//! | choose resolution, flips, sliding windows, memory | [`predict::Options`] with a [`predict::Procedure`] |
//! | train a [`Recipe`] | a [`Job`], [`train()`](train::train), and a [`Session`] that says where and tells the progress |
//! | check a data set before training | [`check::Check`] |
//! | look into a run folder | [`Run`] |
//! | load weights of other projects | [`weights::Weights`] and [`Predictor::from_weights`] |
//! | score predictions | [`tools::score`], [`ConfusionMatrix`], [`Scores`] |
//!
//! The folder `examples/` has complete programs that predict, train, score and load foreign weights. Every failure is an
//! [`Error`], which names the file, the value and what was expected. Nothing is printed: engines report [`Event`]s to a
//! [`Sink`](base::event::Sink), which the caller passes; a closure will do.
//!
//! # Modules
//!
//! In groups, from the engines down to what everything stands on. A module uses only modules of groups further down, and
//! no files use each other in a circle; a test reads this list and the imports.

/// Checks that something is refused with an error whose text holds all of these words.
#[cfg(test)]
macro_rules! assert_refused {
    ($result:expr, $($words:expr),+) => {{
        let said = $result.map(drop).unwrap_err().to_string();
        $(assert!(said.contains($words), "{said}");)+
    }};
}

#[cfg(feature = "serve")]
pub mod serve;

pub mod bench;
pub mod check;

pub mod train;

pub mod predict;

pub mod report;
pub mod tools;

pub mod run;

pub mod weights;

pub mod recipe;

pub mod draw;
pub mod pixels;

pub mod data;
pub mod nn;

pub mod annotation;

pub mod image;
pub mod metric;

pub mod base;

pub use base::event::Event;
pub use base::{Error, LabelMap, Result, Size};
/// The tensor library: its types are in the signatures of [`nn`].
pub use burn;
pub use data::Dataset;
pub use image::Image;
pub use metric::{ConfusionMatrix, Scores};
#[doc(inline)]
pub use nn::device::DeviceChoice as Device;
pub use predict::{Prediction, Predictor};
pub use recipe::Recipe;
pub use run::Run;
pub use train::{Job, Outcome, Session, Source, Validation, train};

/// The Rust code of README and guide, compiled by the documentation tests.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/library.md")]
    struct Library;
}
