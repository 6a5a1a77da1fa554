//! How images are predicted.

use std::path::PathBuf;

use super::merge::Wanted;
use super::network::Procedure;

/// How images are predicted. The default predicts whole images at their own size.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Resolution, flips and sliding windows. A random forest, which classifies every pixel, takes none but the side of
    /// the windows.
    pub procedure: Procedure,
    /// Probabilities wanted besides the classes; files that need some add them.
    pub wanted: Wanted,
    /// Numbers, from 1, of the bands of the images that the model takes, in its order; all of them if left out.
    pub bands: Option<Vec<usize>>,
    /// Most network inputs computed together: images of one size, mirrored ones, windows. Not of a forest.
    pub batch_size: usize,
    /// Threads that read images. Not of a forest.
    pub workers: usize,
    /// Most bytes of main memory to hold; what is free on this machine if left out.
    pub memory: Option<u64>,
    /// Folder that keeps an encoder's features, so that they are computed once. Of a forest alone.
    pub cache_features: Option<PathBuf>,
}

impl Options {
    /// The bands in words, where they are chosen.
    pub(super) fn bands_in_words(&self) -> String {
        let number = |band: &usize| band.to_string();
        let list = |bands: &Vec<usize>| format!("; bands {}", bands.iter().map(number).collect::<Vec<_>>().join(","));
        self.bands.as_ref().map(list).unwrap_or_default()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            procedure: Procedure::default(),
            wanted: Wanted::default(),
            bands: None,
            batch_size: 4,
            workers: 2,
            memory: None,
            cache_features: None,
        }
    }
}
