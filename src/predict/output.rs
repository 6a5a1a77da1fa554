//! What a prediction leaves on disk.

use std::path::Path;

use super::formats::{
    CHART, COLOR, Formats, GEOJSON, OVERLAY, PROB_NPY, PROB_TIFF, PROBS_NPY, PROBS_TIFF, SHARES, STYLE,
};
use super::label_file::NpyType;
use super::merge::Wanted;
use super::model::Form;
use crate::base::{Result, require};
use crate::image::ProbabilityType;
use crate::tools::polygons::{GeojsonCrs, PolygonOptions};
use crate::tools::proportions::{Axis, Depths};

/// How shares of the classes along an image are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Along {
    /// Parts of equal length; fewer where the image is not as many pixels long.
    pub parts: usize,
    /// Along which side; the longer one if left out.
    pub axis: Option<Axis>,
    /// Depths of its ends, if they are known.
    pub depths: Option<Depths>,
}

/// Which files are written for an image: the label map, and what else is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Outputs {
    /// Formats of the label map, at least one; by default `<stem>.npy`, and of a GeoTIFF `<stem>.tif`, too.
    pub formats: Option<Formats>,
    /// `<stem>_prob.npy`: float32 `[height, width]`, the probability of the predicted class. Beside a GeoTIFF
    /// `<stem>_prob.tif`, too.
    pub prob: bool,
    /// `<stem>_probs.npy`: float32 `[classes, height, width]`. Beside a GeoTIFF `<stem>_probs.tif`, too.
    pub prob_all: bool,
    /// Type of the probabilities in .tif files.
    pub prob_type: ProbabilityType,
    /// Also `<stem>.png`, as in [`Formats::png`].
    pub png: bool,
    /// `<stem>_color.png`: the classes in their colours.
    pub color: bool,
    /// `<stem>_overlay.png`: the same over the image.
    pub overlay: bool,
    /// How opaque they are there, from 0 to 1.
    pub opacity: f32,
    /// `<stem>_proportions.csv` and `<stem>_proportions.png`: shares of the classes along the image.
    pub proportions: Option<Along>,
    /// Type of the label values in .npy files.
    pub npy_type: NpyType,
    /// Which polygons are written, where they are.
    pub polygons: PolygonOptions,
}

impl Outputs {
    /// Whether all files can be written some rows at a time.
    fn goes_in_strips(&self) -> bool {
        let png = self.png || self.formats.is_some_and(|formats| formats.png);
        !(png || self.color || self.overlay || self.proportions.is_some())
    }

    pub(crate) fn wanted(&self) -> Wanted {
        Wanted { highest: self.prob || self.has_polygons(), all: self.prob_all }
    }

    /// Whether each image gets a file that can be scored, which polygons cannot.
    pub fn has_label_maps(&self) -> bool {
        self.png || self.formats.is_none_or(Formats::has_label_map)
    }

    /// Says, before any work, that a label map in no format cannot be written.
    pub(super) fn check(&self) -> Result<()> {
        let is_any = self.has_label_maps() || self.has_polygons();
        require(is_any, "format", "empty", "one or more of npy, tiff, png and geojson")
    }

    fn has_polygons(&self) -> bool {
        self.formats.is_some_and(|formats| formats.geojson)
    }

    /// The form of predictions from which these files are written.
    pub(super) fn form(&self) -> Form {
        Form {
            shown: self.overlay || self.proportions.is_some(),
            strips: self.goes_in_strips(),
            rasters: self.formats.map(|formats| formats.tiff),
            degrees: self.has_polygons() && self.polygons.crs == GeojsonCrs::Wgs84,
        }
    }

    /// Formats of the label map of an image; `usual` ones where they are not chosen.
    pub(super) fn formats_or(&self, usual: impl FnOnce() -> Formats) -> Formats {
        let formats = self.formats.unwrap_or_else(usual);
        Formats { png: formats.png || self.png, ..formats }
    }

    /// Endings of the files of an image whose label map has these formats, the label map first.
    pub(super) fn endings(&self, formats: Formats) -> impl Iterator<Item = &'static str> {
        // Probabilities are arrays beside arrays and rasters beside GeoTIFFs.
        let (raster, array) = (formats.tiff, formats.npy || !formats.tiff);
        let proportions = self.proportions.is_some();
        let others = [
            (self.prob && array, PROB_NPY),
            (self.prob && raster, PROB_TIFF),
            (self.prob_all && array, PROBS_NPY),
            (self.prob_all && raster, PROBS_TIFF),
            (self.color, COLOR),
            (self.overlay, OVERLAY),
            (proportions, SHARES),
            (proportions, CHART),
        ];
        formats.endings().chain(others.into_iter().filter(|(wanted, _)| *wanted).map(|(_, ending)| ending))
    }

    /// Names of the files of an image whose label map has these formats, the label map first.
    pub(super) fn names(&self, input: &Path, formats: Formats) -> Vec<String> {
        let stem = input.file_stem().unwrap_or_default().to_string_lossy();
        self.endings(formats).map(|ending| format!("{stem}{ending}")).collect()
    }

    /// Names of all files that only a prediction has, besides the label values, for an image of that stem.
    pub(super) fn all_beside(stem: &str) -> impl Iterator<Item = String> {
        let all = [GEOJSON, STYLE, PROB_NPY, PROBS_NPY, PROB_TIFF, PROBS_TIFF, COLOR, OVERLAY, SHARES, CHART];
        all.into_iter().map(move |ending| format!("{stem}{ending}"))
    }
}
