//! Semantic segmentation for geoscience and everyday images.
//!
//! Modules in groups, from the engines down to the leaves. A module uses only modules of groups further down; a test
//! reads this list and the imports.

pub mod pixel_classifier;

pub mod bench;
pub mod predict;
pub mod train;

pub mod summary;

pub mod concat;
pub mod evaluate;
pub mod gray;
pub mod proportions;
pub mod score;
pub mod step;

pub mod run;

pub mod recipe;
pub mod weights;

pub mod hypercolumn;

pub mod data;
pub mod model;

pub mod forest;
pub mod fuse;
pub mod image;
pub mod layer;
pub mod loss;
pub mod metric;

pub mod activation;
pub mod device;
pub mod event;
pub mod files;
pub mod inputs;
pub mod label;
mod main_memory;
pub mod named;

pub mod precision;

pub mod ops;

pub mod error;
