//! Semantic segmentation for geoscience and everyday images.
//!
//! Modules in order of level; each uses only those further down.

pub mod predict;
pub mod score;
pub mod train;

pub mod evaluate;

pub mod recipe;
pub mod run;
pub mod weights;

pub mod data;
pub mod model;

pub mod image;
pub mod loss;
pub mod metric;

pub mod device;
pub mod error;
pub mod event;
pub mod files;
pub mod label;
