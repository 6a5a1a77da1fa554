//! All tests that need the library and the program, one module per feature, in one crate: burn is linked once. Modules share
//! a process and its threads, so none sets what belongs to the whole process (environment, current folder, memory limit,
//! orientation policy); what needs that runs the program as a child, or is in `tests/fuzz`.

#![allow(clippy::unwrap_used)]

mod bench;
#[cfg(feature = "cloud")]
mod cloud;
mod commands;
mod common;
mod demo;
mod examples;
mod features;
mod forest_prediction;
mod forest_training;
mod info;
mod losses;
mod masks;
mod networks;
mod numbers;
mod ops;
mod optimizers;
mod procedures;
mod processes;
mod pspnet;
mod resume;
mod scenes;
mod streams;
mod training;
mod unet;
#[cfg(feature = "vulkan")]
mod vulkan;
mod weights;

// Left out of the build with libtorch: each process of that build takes 0.8 s to load libtorch, and these modules start
// hundreds. What they show does not depend on the device; the default build shows it.
#[cfg(not(feature = "libtorch"))]
mod annotations;
#[cfg(not(feature = "libtorch"))]
mod augment;
#[cfg(not(feature = "libtorch"))]
mod broken_input;
#[cfg(not(feature = "libtorch"))]
mod check;
#[cfg(not(feature = "libtorch"))]
mod concat;
#[cfg(not(feature = "libtorch"))]
mod convert;
#[cfg(not(feature = "libtorch"))]
mod dataset;
#[cfg(not(feature = "libtorch"))]
mod defaults;
#[cfg(not(feature = "libtorch"))]
mod download;
#[cfg(not(feature = "libtorch"))]
mod exit_codes;
#[cfg(not(feature = "libtorch"))]
mod faults;
#[cfg(not(feature = "libtorch"))]
mod faults_batches;
#[cfg(not(feature = "libtorch"))]
mod foreign_files;
#[cfg(not(feature = "libtorch"))]
mod forest;
#[cfg(not(feature = "libtorch"))]
mod forest_refusals;
#[cfg(not(feature = "libtorch"))]
mod geotiff;
#[cfg(not(feature = "libtorch"))]
mod guide;
#[cfg(not(feature = "libtorch"))]
mod help;
#[cfg(not(feature = "libtorch"))]
mod hostile_files;
#[cfg(not(feature = "libtorch"))]
mod image_formats;
#[cfg(not(feature = "libtorch"))]
mod inputs;
#[cfg(not(feature = "libtorch"))]
mod layouts;
#[cfg(not(feature = "libtorch"))]
mod metrics;
#[cfg(not(feature = "libtorch"))]
mod nodata;
#[cfg(not(feature = "libtorch"))]
mod one_process;
#[cfg(not(feature = "libtorch"))]
mod orientation;
#[cfg(not(feature = "libtorch"))]
mod pairs;
#[cfg(not(feature = "libtorch"))]
mod polygons;
#[cfg(not(feature = "libtorch"))]
mod real_data;
#[cfg(not(feature = "libtorch"))]
mod replacing;
#[cfg(not(feature = "libtorch"))]
mod report;
#[cfg(not(feature = "libtorch"))]
mod rgb2gray;
#[cfg(not(feature = "libtorch"))]
mod scripts;
#[cfg(all(feature = "serve", not(feature = "libtorch")))]
mod serve;
#[cfg(all(feature = "serve", not(feature = "libtorch")))]
mod serve_labelling;
#[cfg(not(feature = "libtorch"))]
mod sets;
#[cfg(not(feature = "libtorch"))]
mod tiff;
#[cfg(not(feature = "libtorch"))]
mod watch;
