//! What a prediction leaves on disk.

use std::path::{Path, PathBuf};

use image::RgbImage;

use super::Prediction;
use super::formats::{Formats, GEOJSON};
use super::label_file::{LabelValues, NpyType};
use super::merge::Wanted;
use super::polygons::{GeojsonCrs, Grid, PolygonOptions};
use crate::base::files::write_bytes;
use crate::base::{Error, Result, Size};
use crate::data::Dataset;
use crate::draw::{Classes, color_labels, overlay_labels, write_png};
use crate::image::{Pixels, encode_png, write_probabilities_npy, write_probability_npy};
use crate::tools::proportions::{Axis, Depths, Proportions};

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
    /// `<stem>_prob.npy`: float32 `[height, width]`, the highest class probability.
    pub prob: bool,
    /// `<stem>_probs.npy`: float32 `[classes, height, width]`.
    pub prob_all: bool,
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
    /// Whether a file shows the image itself.
    pub(crate) fn show_image(&self) -> bool {
        self.overlay || self.proportions.is_some()
    }

    pub(crate) fn wanted(&self) -> Wanted {
        let has_polygons = self.formats.is_some_and(|formats| formats.geojson);
        Wanted { highest: self.prob || has_polygons, all: self.prob_all }
    }

    /// Whether each image gets a file that can be scored, which polygons cannot.
    pub fn has_label_maps(&self) -> bool {
        self.png || self.formats.is_none_or(Formats::has_label_map)
    }

    /// Says, before any work, what cannot be written: a label map in no format, polygons in coordinates that an image does
    /// not have.
    pub(super) fn check(&self, inputs: &[PathBuf]) -> Result<()> {
        let Some(formats) = self.formats else { return Ok(()) };
        if !self.has_label_maps() && !formats.geojson {
            return Err(Error::invalid("format", "empty", "one or more of npy, tiff, png and geojson"));
        }
        // A size does not decide whether.
        let size = Size { width: 1, height: 1 };
        let mut checked = inputs.iter().filter(|_| formats.geojson && self.polygons.crs != GeojsonCrs::Scene);
        checked.try_for_each(|input| Grid::of(input, size, self.polygons.crs).map(drop))
    }

    /// Formats of the label map of an image. Where they are not chosen, the beginning of the image decides.
    pub(super) fn formats_of(&self, input: &Path) -> Formats {
        let formats = self.formats.unwrap_or_else(|| Formats::usual(input));
        Formats { png: formats.png || self.png, ..formats }
    }

    /// Names of the files of an image whose label map has these formats, the label map first.
    pub(super) fn names(&self, input: &Path, formats: Formats) -> Vec<String> {
        let stem = input.file_stem().unwrap_or_default().to_string_lossy();
        let others = [
            (self.prob, "_prob.npy"),
            (self.prob_all, "_probs.npy"),
            (self.color, "_color.png"),
            (self.overlay, "_overlay.png"),
            (self.proportions.is_some(), "_proportions.csv"),
            (self.proportions.is_some(), "_proportions.png"),
        ];
        let others = others.into_iter().filter(|(wanted, _)| *wanted).map(|(_, ending)| ending);
        formats.endings().chain(others).map(|ending| format!("{stem}{ending}")).collect()
    }

    /// Names of all files that only a prediction has, besides the label values, for an image of that stem.
    pub(super) fn all_beside(stem: &str) -> impl Iterator<Item = String> {
        let endings =
            [GEOJSON, "_prob.npy", "_probs.npy", "_color.png", "_overlay.png", "_proportions.csv", "_proportions.png"];
        endings.into_iter().map(move |ending| format!("{stem}{ending}"))
    }

    /// Writes the files of one image, its label map in these formats; returns the first.
    pub(crate) fn write(
        &self,
        dataset: &Dataset,
        (input, formats): (&Path, Formats),
        prediction: &Prediction,
        shown: Option<RgbImage>,
        output: &Path,
    ) -> Result<PathBuf> {
        let stem = input.file_stem().unwrap_or_default().to_string_lossy();
        let file = |ending: &str| output.join(format!("{stem}{ending}"));
        let labels = LabelValues::of(prediction, dataset);
        let first = labels.write(formats, (self.npy_type, self.polygons), input, file)?;
        let size = prediction.size();
        if let Some(probability) = prediction.probability.as_ref().filter(|_| self.prob) {
            write_probability_npy(&file("_prob.npy"), size, probability)?;
        }
        if let Some(probabilities) = &prediction.probabilities {
            write_probabilities_npy(&file("_probs.npy"), size, probabilities)?;
        }
        let classes = &prediction.labels.classes;
        let Classes { names, colors, .. } = Classes::of(dataset);
        let image = |image: RgbImage| encode_png(size, Pixels::Rgb8(image.as_raw()));
        if self.color {
            write_bytes(&file("_color.png"), &image(color_labels(classes, size.width, &colors))?)?;
        }
        if let Some(shown) = shown.as_ref().filter(|_| self.overlay) {
            write_bytes(&file("_overlay.png"), &image(overlay_labels(shown, classes, &colors, self.opacity))?)?;
        }
        if let Some(Along { parts, axis, depths }) = self.proportions {
            let axis = axis.unwrap_or_else(|| Axis::longer(size));
            let proportions = Proportions::of(&prediction.labels, names.len(), axis, parts)?;
            write_bytes(&file("_proportions.csv"), proportions.to_csv(&names, depths)?.as_bytes())?;
            write_png(&file("_proportions.png"), &proportions.image(shown.as_ref(), &colors, &names, depths)?)?;
        }
        Ok(first)
    }
}
