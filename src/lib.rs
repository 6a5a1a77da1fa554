//! Semantic segmentation for geoscience and everyday images.
//!
//! Modules in groups, from the engines down to the leaves. A module uses only modules of groups further down; a test
//! reads this list and the imports.

pub mod bench;

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

pub mod image;
pub mod metric;

pub mod base;
