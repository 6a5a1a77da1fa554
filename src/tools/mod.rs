//! From files to files without a network: scores, proportions, figures, grey images.

pub mod concat;
pub mod proportions;
pub mod rgb2gray;
pub mod score;
