//! All tests that need the library and the program, one module per feature, in one crate: burn is linked once. Modules share
//! a process and its threads, so none sets what belongs to the whole process (environment, current folder, memory limit,
//! orientation policy); what needs that runs the program as a child, or is in `tests/fuzz`.

#![allow(clippy::unwrap_used)]

mod annotations;
mod augment;
mod bench;
mod broken_input;
mod check;
#[cfg(feature = "cloud")]
mod cloud;
mod commands;
mod common;
mod concat;
mod convert;
mod dataset;
mod defaults;
mod demo;
mod download;
mod examples;
mod exit_codes;
mod faults;
mod faults_batches;
mod features;
mod foreign_files;
mod forest;
mod forest_prediction;
mod forest_refusals;
mod forest_training;
mod geotiff;
mod guide;
mod help;
mod hostile_files;
mod image_formats;
mod info;
mod inputs;
mod layouts;
mod losses;
mod masks;
mod metrics;
mod networks;
mod nodata;
mod numbers;
mod one_process;
mod ops;
mod optimizers;
mod orientation;
mod pairs;
mod polygons;
mod procedures;
mod processes;
mod pspnet;
mod real_data;
mod replacing;
mod report;
mod resume;
mod rgb2gray;
mod scenes;
mod scripts;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "serve")]
mod serve_labelling;
mod sets;
mod streams;
mod tiff;
mod training;
mod unet;
#[cfg(feature = "vulkan")]
mod vulkan;
mod watch;
mod weights;
