//! From files to files without a network: scores, proportions, figures, labels in other forms, polygons, grey images.

pub mod concat;
pub mod convert;
pub mod polygons;
pub mod proportions;
pub mod rgb2gray;
pub mod score;
