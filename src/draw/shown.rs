//! What a figure of an image, its labels and a prediction shows, and how.

use super::figure::Layout;
use crate::data::Dataset;
use image::RgbImage;
/// How label and prediction are painted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Paint {
    /// In the colours of the classes.
    #[default]
    Flat,
    /// Over the image, with an opacity from 0 to 1.
    Overlay(f32),
}

/// What an image shows and how large it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Style {
    /// How label and prediction are painted.
    pub paint: Paint,
    /// How panels are arranged.
    pub layout: Layout,
    /// Whether right and wrong pixels are shown, where there are a label and a prediction.
    pub errors: bool,
    /// Whether the probability is shown.
    pub probability: bool,
    /// Whether the panels are named.
    pub titles: bool,
    /// Whether classes and colours are listed below.
    pub legend: bool,
    /// By what factor panels are enlarged.
    pub scale: f64,
    /// Width that the whole image may have, in pixels.
    pub max_width: Option<u32>,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            paint: Paint::Flat,
            layout: Layout::Horizontal,
            errors: false,
            probability: false,
            titles: false,
            legend: false,
            scale: 1.0,
            max_width: None,
        }
    }
}

/// What drawings need to know of a data set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Classes {
    /// By class index.
    pub names: Vec<String>,
    /// By class index.
    pub colors: Vec<[u8; 3]>,
    /// Numbers in images that mean "no data", which drawings leave blank.
    pub nodata: Vec<f64>,
    /// Bands of the data set.
    pub bands: usize,
}

impl Classes {
    /// Those of a data set; without colours of its own, with generated ones.
    pub fn of(dataset: &Dataset) -> Self {
        let names = dataset.classes.iter().map(|class| class.name.clone()).collect();
        Self { names, colors: dataset.shown_colors(), nodata: dataset.nodata_numbers(), bands: dataset.bands }
    }
}

/// What is shown side by side: all parts have the size of the image, row by row.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The image.
    pub image: RgbImage,
    /// Classes by the label, where there is one.
    pub label: Option<Vec<u16>>,
    /// Classes by the prediction, where there is one.
    pub prediction: Option<Vec<u16>>,
    /// Probabilities of the predicted classes, where they are shown.
    pub probability: Option<Vec<f32>>,
    /// Mean IoU of the prediction, for its title.
    pub mean_iou: Option<f64>,
}

impl Shown {
    /// Label and prediction, where both are there.
    pub(super) fn judged(&self) -> Option<(&[u16], &[u16])> {
        Some((self.label.as_deref()?, self.prediction.as_deref()?))
    }
}
