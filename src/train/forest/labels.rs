//! Where labels of single pixels come from.

use std::path::{Path, PathBuf};

use crate::base::label_map::{IGNORE, LabelMap};
use crate::base::{Error, Result, Size};
use crate::data::{
    CsvLabels, Dataset, Fingerprint, Labels, Pair, ValidPixels, check_size, load_raster, load_sparse_labels,
    read_label_csv, settled,
};
use crate::image::Samples;

const NO_MASKS: &str =
    "must be label images, strokes or a table of points and rectangles for a forest, not folders of masks";

/// What says which pixels of an image are what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelSource {
    /// A label image, or strokes on a transparent one.
    Image(PathBuf),
    /// Points or rectangles of a table.
    Table(PathBuf, CsvLabels),
}

/// An image some pixels of which are labelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledImage {
    /// The image.
    pub image: PathBuf,
    /// Its labels.
    pub labels: LabelSource,
}

impl LabelledImage {
    /// Images with their label images; an error for masks, which say nothing of pixels without a label.
    pub fn from_pairs(pairs: Vec<Pair>) -> Result<Vec<Self>> {
        let image = |pair: Pair| match pair.label {
            Labels::File(file) => Ok(Self { image: pair.image, labels: LabelSource::Image(file) }),
            Labels::Masks(_) => Err(Error::conflict("labels", NO_MASKS)),
        };
        pairs.into_iter().map(image).collect()
    }

    /// The images of a table, looked for beside it and in `folder`.
    pub fn from_table(table: &Path, dataset: &Dataset, folder: Option<&Path>) -> Result<Vec<Self>> {
        let rows = read_label_csv(table, dataset, folder)?;
        let image =
            |labels: CsvLabels| Self { image: labels.image.clone(), labels: LabelSource::Table(table.into(), labels) };
        Ok(rows.into_iter().map(image).collect())
    }

    /// For the run's record.
    pub(super) fn pair(&self) -> Pair {
        let label = match &self.labels {
            LabelSource::Image(file) | LabelSource::Table(file, _) => file.clone(),
        };
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
        Pair { image: whole(&self.image), label: whole(&label).into() }
    }

    /// The classes of the image's pixels, of which those without a measurement have none. Both files are decoded, so that what
    /// is wrong with them is known before anything is computed.
    pub(super) fn load(&self, dataset: &Dataset) -> Result<Loaded> {
        let raster = load_raster(&self.image, dataset)?;
        let mut labels = match &self.labels {
            LabelSource::Table(table, labels) => labels.paint(table, raster.size)?,
            LabelSource::Image(file) => {
                let labels = load_sparse_labels(file, dataset)?;
                check_size((&self.image, raster.size), (file, labels.size))?;
                labels
            }
        };
        settled(&self.image, &raster, dataset)?;
        let nonzero = dataset.normalisation.valid() == ValidPixels::Nonzero;
        match &raster.samples {
            Samples::U8(samples) if nonzero => {
                leave_out(&mut labels, samples, raster.bands, |p| p.iter().all(|s| *s == 0))
            }
            Samples::U16(samples) if nonzero => {
                leave_out(&mut labels, samples, raster.bands, |p| p.iter().all(|s| *s == 0))
            }
            Samples::F32(samples) if nonzero => {
                leave_out(&mut labels, samples, raster.bands, |p| p.iter().all(|s| *s == 0.0))
            }
            _ => {}
        }
        raster.nodata.iter().for_each(|nodata| labels.leave_out(nodata));
        let content = Fingerprint { image: Fingerprint::image(&raster), labels: Fingerprint::labels(&labels) };
        Ok(Loaded { size: raster.size, labels, content })
    }
}

/// The labels of an image that was decoded with them.
pub(super) struct Loaded {
    pub(super) size: Size,
    pub(super) labels: LabelMap,
    pub(super) content: Fingerprint,
}

/// Takes the labels of pixels away that `nothing` is true for.
fn leave_out<T>(labels: &mut LabelMap, samples: &[T], bands: usize, nothing: impl Fn(&[T]) -> bool) {
    for (class, pixel) in labels.classes.iter_mut().zip(samples.chunks_exact(bands)) {
        if nothing(pixel) {
            *class = IGNORE;
        }
    }
}
