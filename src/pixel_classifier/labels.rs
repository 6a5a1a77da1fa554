//! Where labels of single pixels come from.

use std::path::{Path, PathBuf};

use crate::data::{CsvLabels, Descriptor, Labels, Pair, check_size, load_sparse_labels, read_label_csv};
use crate::error::{Error, Result, Size};
use crate::image::{read_image, read_size};
use crate::label::LabelMap;

const NO_MASKS: &str =
    "a forest learns from label images, strokes or a table of points and rectangles, not from folders of masks";

/// What says which pixels of a picture are what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelSource {
    /// A label image, or strokes on a transparent one.
    Image(PathBuf),
    /// Points or rectangles of a table.
    Table(PathBuf, CsvLabels),
}

/// A picture some pixels of which are labelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledPicture {
    /// The picture.
    pub image: PathBuf,
    /// Its labels.
    pub labels: LabelSource,
}

impl LabelledPicture {
    /// Pictures with their label images; an error for masks, which say nothing of pixels without a label.
    pub fn from_pairs(pairs: Vec<Pair>) -> Result<Vec<Self>> {
        let picture = |pair: Pair| match pair.label {
            Labels::File(file) => Ok(Self { image: pair.image, labels: LabelSource::Image(file) }),
            Labels::Masks(_) => Err(Error::Config(NO_MASKS.into())),
        };
        pairs.into_iter().map(picture).collect()
    }

    /// The pictures of a table, looked for beside it and in `folder`.
    pub fn from_table(table: &Path, descriptor: &Descriptor, folder: Option<&Path>) -> Result<Vec<Self>> {
        let rows = read_label_csv(table, descriptor, folder)?;
        let picture =
            |labels: CsvLabels| Self { image: labels.image.clone(), labels: LabelSource::Table(table.into(), labels) };
        Ok(rows.into_iter().map(picture).collect())
    }

    /// For the run's record.
    pub(super) fn pair(&self) -> Pair {
        let label = match &self.labels {
            LabelSource::Image(file) | LabelSource::Table(file, _) => file.clone(),
        };
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
        Pair { image: whole(&self.image), label: whole(&label).into() }
    }

    /// The size of the picture, and the classes of its pixels.
    pub(super) fn load(&self, descriptor: &Descriptor) -> Result<(Size, LabelMap)> {
        // The whole picture is read only if its beginning does not tell its size; what is wrong with it is said then.
        let size = match read_size(&self.image) {
            Some(size) => size,
            None => read_image(&self.image)?.size,
        };
        match &self.labels {
            LabelSource::Table(table, labels) => Ok((size, labels.paint(table, size)?)),
            LabelSource::Image(file) => {
                let labels = load_sparse_labels(file, descriptor)?;
                check_size((&self.image, size), (file, labels.size))?;
                Ok((size, labels))
            }
        }
    }
}
