//! From files to files without a network: scores, proportions, figures, labels in other forms, polygons, grey images.

pub mod concat;
pub mod convert;
pub mod polygons;
pub mod proportions;
pub mod rgb2gray;
pub mod score;

/// What became of the inputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Inputs whose result was written.
    pub written: usize,
    /// Inputs left out because a file could not be used.
    pub skipped: usize,
}
