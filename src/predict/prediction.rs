//! The result for one image.

use std::path::Path;
use std::sync::Arc;

use crate::base::{LabelMap, Result, Size};
use crate::data::Dataset;
use crate::image::write_label_npy;

/// The result for one image: a class for every pixel, and probabilities where they were asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The class of every pixel, an index into the data set's classes.
    pub labels: LabelMap,
    /// The probability of that class, `[height, width]`, if asked for.
    pub probability: Option<Vec<f32>>,
    /// The probabilities of all classes, `[classes, height, width]`, if asked for.
    pub probabilities: Option<Vec<f32>>,
    /// What the classes mean.
    pub dataset: Arc<Dataset>,
}

impl Prediction {
    /// Width and height.
    pub fn size(&self) -> Size {
        self.labels.size
    }

    /// The data set's own label value of every pixel, row by row, as label images and `.npy` files have them.
    pub fn label_values(&self) -> Vec<u16> {
        self.labels.classes.iter().map(|&class| self.dataset.value_of(class)).collect()
    }

    /// Writes the label values as a 2-d `.npy` file, atomically, in the smallest unsigned type that holds the data set's
    /// largest value.
    ///
    /// # Errors
    ///
    /// [`Error::Write`](crate::Error::Write) if the file cannot be written.
    pub fn write_npy(&self, path: impl AsRef<Path>) -> Result<()> {
        write_label_npy(path.as_ref(), self.size(), &self.label_values(), self.dataset.largest_value())
    }
}
