//! Label maps on disk, as arrays and as GeoTIFFs.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Prediction;
use crate::base::files::write_bytes;
use crate::base::markup::escaped;
use crate::base::named_enum::{by_name, named_enum};
use crate::base::{Error, Result, Size};
use crate::data::Dataset;
use crate::image::{Georeference, LabelTiff, is_geotiff, write_label_npy, write_label_npy_as_i64, write_label_tiff};

/// Endings of label maps, and of the names of the classes beside a TIFF.
pub(super) const NPY: &str = ".npy";
pub(super) const TIFF: &str = ".tif";
const NAMES: &str = ".tif.aux.xml";

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

/// Formats in which label maps are written. As text: `npy`, `tiff` or `npy,tiff`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Formats {
    /// `<stem>.npy`.
    Npy,
    /// `<stem>.tif`, a GeoTIFF, and `<stem>.tif.aux.xml` with the names of its classes.
    Tiff,
    /// All of these.
    Both,
}

impl Formats {
    /// Formats of the label map of an image: an array, and of a GeoTIFF also a GeoTIFF. Reads the beginning of the file.
    pub(super) fn usual(input: &Path) -> Self {
        if is_geotiff(input) { Self::Both } else { Self::Npy }
    }

    /// Endings of the files, the label map first that is listed and scored.
    pub(super) fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Npy => &[NPY],
            Self::Tiff => &[TIFF, NAMES],
            Self::Both => &[NPY, TIFF, NAMES],
        }
    }
}

impl FromStr for Formats {
    type Err = Error;

    fn from_str(list: &str) -> Result<Self> {
        let table = [("npy", Self::Npy), ("tiff", Self::Tiff), ("tif", Self::Tiff)];
        let mut formats = list.split(',').map(|name| by_name("format", name, &table));
        let first = formats.next().unwrap_or(Ok(Self::Npy))?;
        formats.try_fold(first, |all, next| Ok(if next? == all { all } else { Self::Both }))
    }
}

/// A prediction in the data set's own values.
pub(super) struct LabelValues<'a> {
    pub(super) size: Size,
    pub(super) values: Vec<u16>,
    pub(super) largest: u16,
    dataset: &'a Dataset,
}

impl<'a> LabelValues<'a> {
    pub(super) fn of(prediction: &Prediction, dataset: &'a Dataset) -> Self {
        let values = prediction.labels.classes.iter().map(|&class| dataset.value_of(class)).collect();
        Self { size: prediction.labels.size, values, largest: dataset.largest_value(), dataset }
    }

    /// Writes the label map of an image: `file` gives the path of an ending. Returns the first.
    pub(super) fn write(
        &self,
        formats: Formats,
        npy_type: NpyType,
        input: &Path,
        file: impl Fn(&str) -> PathBuf,
    ) -> Result<PathBuf> {
        for ending in formats.endings() {
            let path = file(ending);
            match (*ending, npy_type) {
                (NPY, NpyType::Smallest) => write_label_npy(&path, self.size, &self.values, self.largest)?,
                (NPY, NpyType::Int64) => write_label_npy_as_i64(&path, self.size, &self.values)?,
                (TIFF, _) => self.write_tiff(input, &path)?,
                _ => write_bytes(&path, category_names(self.dataset).as_bytes())?,
            }
        }
        Ok(file(formats.endings()[0]))
    }

    fn write_tiff(&self, input: &Path, path: &Path) -> Result<()> {
        write_label_tiff(path, label_tiff(self.dataset, input, self.size), &self.values)
    }
}

/// The names of the classes by label value, as GDAL keeps them beside a TIFF. Values without a class have no name.
pub(super) fn category_names(dataset: &Dataset) -> String {
    let mut names = vec![""; usize::from(dataset.largest_value()) + 1];
    for class in &dataset.classes {
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

/// The label map of an image as GeoTIFF, but for its values.
pub(super) fn label_tiff(dataset: &Dataset, input: &Path, size: Size) -> LabelTiff {
    let classes = dataset.classes.iter().zip(dataset.shown_colors());
    let colors = classes.flat_map(|(class, color)| class.values.iter().map(move |&value| (value, color))).collect();
    let unlabelled = dataset.unlabelled_value();
    let is_class = dataset.classes.iter().any(|class| class.values.contains(&unlabelled));
    LabelTiff {
        size,
        largest: dataset.largest_value(),
        colors,
        nodata: Some(unlabelled).filter(|_| !is_class),
        place: Georeference::of(input),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_lists_in_any_order() {
        for (text, formats) in [
            ("npy", Formats::Npy),
            ("tiff", Formats::Tiff),
            ("TIF", Formats::Tiff),
            ("tiff,tiff", Formats::Tiff),
            ("npy,tiff", Formats::Both),
            ("tiff, npy", Formats::Both),
        ] {
            assert_eq!(text.parse::<Formats>().unwrap(), formats, "{text}");
        }
        let said = "npy,png".parse::<Formats>().unwrap_err().to_string();
        assert!(said.contains("unknown format 'png'; choose npy or tiff"), "{said}");
        assert!("".parse::<Formats>().is_err() && "npy,".parse::<Formats>().is_err());
    }
}
