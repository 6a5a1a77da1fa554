//! Label maps on disk, as arrays, GeoTIFFs, grey images and polygons.

use std::path::{Path, PathBuf};

use super::Prediction;
use super::formats::{Formats, GEOJSON, NAMES, NPY, PNG, TIFF};
use super::polygons::{Grid, PolygonOptions, PolygonWriter};
use crate::base::files::{write_atomically, write_bytes};
use crate::base::named_enum::named_enum;
use crate::base::{Result, Size};
use crate::data::Dataset;
use crate::image::{
    Georeference, LabelTiff, Pixels, encode_png, write_label_npy, write_label_npy_as_i64, write_label_tiff,
};

/// Type of the label values in .npy files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NpyType {
    /// The smallest unsigned integer that holds the data set's largest label value.
    #[default]
    Smallest,
    /// int64, as the original scripts wrote.
    Int64,
}

named_enum!(NpyType, "type of label values", "smallest" => Smallest, "int64" => Int64);

/// A prediction in the data set's own values.
pub(super) struct LabelValues<'a> {
    size: Size,
    values: Vec<u16>,
    largest: u16,
    probability: Option<&'a [f32]>,
    dataset: &'a Dataset,
}

impl<'a> LabelValues<'a> {
    pub(super) fn of(prediction: &'a Prediction, dataset: &'a Dataset) -> Self {
        let values = prediction.labels.classes.iter().map(|&class| dataset.value_of(class)).collect();
        let probability = prediction.probability.as_deref();
        Self { size: prediction.labels.size, values, largest: dataset.largest_value(), probability, dataset }
    }

    /// Writes the label map of an image: `file` gives the path of an ending. Returns the first.
    pub(super) fn write(
        &self,
        formats: Formats,
        (npy_type, polygons): (NpyType, PolygonOptions),
        input: &Path,
        file: impl Fn(&str) -> PathBuf,
    ) -> Result<PathBuf> {
        let mut first = None;
        for ending in formats.endings() {
            let path = file(ending);
            match (ending, npy_type) {
                (NPY, NpyType::Smallest) => write_label_npy(&path, self.size, &self.values, self.largest)?,
                (NPY, NpyType::Int64) => write_label_npy_as_i64(&path, self.size, &self.values)?,
                (TIFF, _) => self.write_tiff(input, &path)?,
                (NAMES, _) => write_bytes(&path, self.category_names().as_bytes())?,
                (PNG, _) => write_bytes(&path, &self.png()?)?,
                (GEOJSON, _) => self.write_polygons(input, &path, polygons)?,
                _ => unreachable!("a format that no list names"),
            }
            first.get_or_insert(path);
        }
        Ok(first.unwrap_or_default())
    }

    fn png(&self) -> Result<Vec<u8>> {
        if self.largest > u16::from(u8::MAX) {
            return encode_png(self.size, Pixels::Gray16(&self.values));
        }
        let bytes: Vec<u8> = self.values.iter().map(|&value| value as u8).collect();
        encode_png(self.size, Pixels::Gray8(&bytes))
    }

    fn write_polygons(&self, input: &Path, path: &Path, options: PolygonOptions) -> Result<()> {
        let width = self.size.width;
        let grid = Grid::of(input, self.size, options.crs)?;
        write_atomically(path, |out| {
            let mut polygons = PolygonWriter::new(out, width, self.dataset, &grid, options)?;
            for (y, values) in self.values.chunks_exact(width).enumerate() {
                polygons.push_row(values, self.probability.map(|all| &all[y * width..][..width]))?;
            }
            polygons.finish()
        })
    }

    fn write_tiff(&self, input: &Path, path: &Path) -> Result<()> {
        let classes = self.dataset.classes.iter().zip(self.dataset.shown_colors());
        let colors: Vec<(u16, [u8; 3])> =
            classes.flat_map(|(class, color)| class.values.iter().map(move |&value| (value, color))).collect();
        let unlabelled = self.dataset.unlabelled_value();
        let is_class = self.dataset.classes.iter().any(|class| class.values.contains(&unlabelled));
        let place = Georeference::of(input);
        let map = LabelTiff {
            size: self.size,
            values: &self.values,
            largest: self.largest,
            colors: &colors,
            nodata: Some(unlabelled).filter(|_| !is_class),
            place: place.as_ref(),
        };
        write_label_tiff(path, &map)
    }

    /// The names of the classes by label value, as GDAL keeps them beside a TIFF. Values without a class have no name.
    fn category_names(&self) -> String {
        let mut names = vec![""; usize::from(self.largest) + 1];
        for class in &self.dataset.classes {
            for value in &class.values {
                names.get_mut(usize::from(*value)).into_iter().for_each(|name| *name = &class.name);
            }
        }
        let categories: String =
            names.into_iter().map(|name| format!("      <Category>{}</Category>\n", escaped(name))).collect();
        format!(
            "<PAMDataset>\n  <PAMRasterBand band=\"1\">\n    <CategoryNames>\n{categories}    </CategoryNames>\n  \
             </PAMRasterBand>\n</PAMDataset>\n"
        )
    }
}

/// Text as XML holds it.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // XML has no way to write most of these.
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_xml() {
        assert_eq!(escaped("a<b & \"c\">\u{1}\n"), "a&lt;b &amp; \"c\"&gt;  ");
    }
}
