//! The files of a prediction in memory.

use std::path::Path;

use image::RgbImage;

use super::label_file::label_tiff;
use super::{PolygonOptions, Prediction};
use crate::base::{Error, Result};
use crate::draw::overlay_labels;
use crate::image::{LabelTiffWriter, Pixels, encode_label_npy, encode_png};
use crate::tools::polygons::{Grid, PolygonWriter};

impl Prediction {
    /// The label values as a 2-d `.npy` file, as [`Self::write_npy`] writes it.
    ///
    /// # Errors
    ///
    /// If there is no memory for it.
    pub fn to_npy(&self) -> Result<Vec<u8>> {
        encode_label_npy(self.size(), &self.label_values(), self.dataset.largest_value())
    }

    /// The label values as a label image: a PNG whose palette holds the colours of the classes at their values, which image
    /// viewers show and programs read as numbers; grey of 16 bits where a value is above 255.
    ///
    /// # Errors
    ///
    /// If the label map is too large for a PNG.
    pub fn to_label_png(&self) -> Result<Vec<u8>> {
        let values = self.label_values();
        if self.dataset.largest_value() > u16::from(u8::MAX) {
            return encode_png(self.size(), Pixels::Gray16(&values));
        }
        let bytes: Vec<u8> = values.iter().map(|&value| value as u8).collect();
        let mut palette = [[0; 3]; 256];
        for (class, color) in self.dataset.classes.iter().zip(self.dataset.shown_colors()) {
            for value in &class.values {
                palette.get_mut(usize::from(*value)).into_iter().for_each(|entry| *entry = color);
            }
        }
        encode_png(self.size(), Pixels::Indexed(&bytes, &palette))
    }

    /// The label values as a GeoTIFF that lies where `image`, a file, does: what `segtool predict --format tiff` writes.
    ///
    /// # Errors
    ///
    /// If the label map is too large for a TIFF.
    pub fn to_tiff(&self, image: &Path) -> Result<Vec<u8>> {
        let mut writer = LabelTiffWriter::in_memory(image, label_tiff(&self.dataset, image, self.size()))?;
        writer.push(&self.label_values())?;
        writer.bytes()
    }

    /// The regions of the classes as GeoJSON in the coordinates of `image`, a file: what `segtool predict --format geojson`
    /// writes.
    ///
    /// # Errors
    ///
    /// If coordinates are asked for that `image` does not have.
    pub fn to_geojson(&self, image: &Path, options: PolygonOptions) -> Result<Vec<u8>> {
        let (size, values) = (self.size(), self.label_values());
        let grid = Grid::of(image, size, options.crs)?;
        let failed = |cause| Error::write(image, cause);
        let mut file = Vec::new();
        let mut writer = PolygonWriter::new(&mut file, size.width, &self.dataset, grid, options).map_err(failed)?;
        for (y, row) in values.chunks_exact(size.width).enumerate() {
            let probability = self.probability.as_deref().map(|all| &all[y * size.width..][..size.width]);
            writer.push_row(row, probability).map_err(failed)?;
        }
        writer.finish().map_err(failed)?;
        Ok(file)
    }

    /// The classes in their colours over the image as it is shown, as PNG.
    ///
    /// # Errors
    ///
    /// If the image is too large for a PNG.
    pub fn to_overlay_png(&self, shown: &RgbImage, opacity: f32) -> Result<Vec<u8>> {
        let overlay = overlay_labels(shown, &self.labels.classes, &self.dataset.shown_colors(), opacity);
        encode_png(self.size(), Pixels::Rgb8(overlay.as_raw()))
    }

    /// Pixels without data, and of each class its pixels and the sum of their probabilities.
    #[cfg(feature = "serve")]
    pub(crate) fn shares(&self) -> (u64, Vec<(u64, f64)>) {
        let mut empty = 0;
        let mut classes = vec![(0, 0.0); self.dataset.classes.len()];
        for (i, &class) in self.labels.classes.iter().enumerate() {
            match classes.get_mut(usize::from(class)) {
                Some((pixels, sum)) => {
                    *pixels += 1;
                    *sum += self.probability.as_ref().map_or(0.0, |all| f64::from(all[i]));
                }
                None => empty += 1,
            }
        }
        (empty, classes)
    }
}
