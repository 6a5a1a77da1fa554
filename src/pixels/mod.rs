//! Pixel classification: hypercolumn features and the random forest over them.

pub mod forest;
pub mod hypercolumn;
