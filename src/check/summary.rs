//! Summaries of pairs, the only data kept once a pair has been read.

use std::path::PathBuf;

use super::finding::{Kind, Place};
use super::landmarks::Landmark;
use super::shift::Peak;
use super::sketch::Sketch;
use super::thumbnail::Thumbnail;
use crate::base::Size;
use crate::data::Footprint;
use crate::image::SampleType;

/// The summary of a pair.
#[derive(Debug, Clone, Default)]
pub(super) struct PairSummary {
    /// `None` where the image could not be read.
    pub(super) image: Option<ImageSummary>,
    /// `None` where the labels could not be read, or mean nothing in the data set.
    pub(super) labels: Option<LabelSummary>,
    /// Faults that training would fail on.
    pub(super) faults: Vec<Fault>,
}

/// A fault that training would fail on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) place: Place,
}

/// The summary of an image.
#[derive(Debug, Clone)]
pub(super) struct ImageSummary {
    /// Of the upright image.
    pub(super) size: Size,
    /// Bands of the file, without alpha.
    pub(super) bands: usize,
    pub(super) sample_type: SampleType,
    /// Of each band, over pixels with data.
    pub(super) statistics: Vec<BandStatistics>,
    /// Pixels without data.
    pub(super) nodata: u64,
    /// Pixels that are 0 in all bands and hold data.
    pub(super) zeros: u64,
    /// Whether the file declares an orientation.
    pub(super) turned: bool,
    /// Hash of the pixels, independent of the file format.
    pub(super) content: u64,
    pub(super) thumbnail: Thumbnail,
    pub(super) sketch: Sketch,
    /// Empty unless the set has lossy images.
    pub(super) landmarks: Vec<Landmark>,
    pub(super) place: Option<Footprint>,
}

impl ImageSummary {
    pub(super) fn pixels(&self) -> u64 {
        (self.size.width * self.size.height) as u64
    }

    /// Whether every band is constant.
    pub(super) fn is_constant(&self) -> bool {
        self.statistics.iter().all(|band| band.count > 0 && band.least == band.largest)
    }
}

/// The summary of an image's labels.
#[derive(Debug, Clone, Default)]
pub(super) struct LabelSummary {
    /// The classes that occur, with their pixels, in ascending order; pixels without data are left out.
    pub(super) class_pixels: Vec<(u16, u64)>,
    /// Pixels that are not labelled.
    pub(super) ignored: u64,
    /// Hash of the labels.
    pub(super) content: u64,
    /// Whether a label file declares an orientation.
    pub(super) turned: bool,
    /// Label files with values that the data set does not define.
    pub(super) undefined: Vec<PathBuf>,
    /// The shift at which the image has the most contrast along the edges of the labels.
    pub(super) peak: Option<Peak>,
}

impl LabelSummary {
    /// Pixels with a label.
    pub(super) fn labelled(&self) -> u64 {
        self.class_pixels.iter().map(|(_, pixels)| pixels).sum()
    }
}

/// Statistics of a band, as stored.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct BandStatistics {
    /// Pixels with data.
    pub(super) count: u64,
    pub(super) least: f64,
    pub(super) largest: f64,
    pub(super) sum: f64,
    pub(super) squares: f64,
    /// The 1st, 50th and 99th percentile.
    pub(super) percentiles: [f64; 3],
}
