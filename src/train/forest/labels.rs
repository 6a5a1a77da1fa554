//! Where labels of single pixels come from.

use std::path::{Path, PathBuf};

use crate::base::event::Sink;
use crate::base::files::absolute;
use crate::base::label_map::LabelMap;
use crate::base::{Error, Result};
use crate::data::{
    CsvLabels, Dataset, Fingerprint, Labels, Pair, ValidPixels, check_size, load_pair_labels, load_raster,
    load_sparse_labels, read_label_csv, refuse_exchanged, settled,
};
use crate::image::{Image, matching};
use crate::train::source::Source;

const NO_MASKS: &str =
    "must be label images, strokes or a table of points and rectangles for a forest, not folders of masks";

/// What says which pixels of an image are what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelSource {
    /// A label image, or strokes on a transparent one.
    Image(PathBuf),
    /// Shapes in a file of an annotation tool, and what that calls the image.
    Annotated(PathBuf, String),
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
    /// The labelled images of a source; `fields` is what to exchange where images and labels are swapped.
    pub(in crate::train) fn of(source: &Source, dataset: &Dataset, fields: &str, sink: &dyn Sink) -> Result<Vec<Self>> {
        if let (Source::Table { table, .. }, Some(rows)) = (source, source.table(dataset)?) {
            return Ok(Self::of_rows(table, rows));
        }
        if let Source::MaskFolders(_) = source {
            return Err(Error::conflict("mask_folders", NO_MASKS));
        }
        let pairs = source.pairs(sink)?;
        refuse_exchanged(&pairs, dataset, fields)?;
        Self::from_pairs(pairs)
    }

    /// Images with their label images; an error for masks, which say nothing of pixels without a label.
    pub fn from_pairs(pairs: Vec<Pair>) -> Result<Vec<Self>> {
        let image = |pair: Pair| match pair.label {
            Labels::File(file) => Ok(Self { image: pair.image, labels: LabelSource::Image(file) }),
            Labels::Annotated { annotations, image } => {
                Ok(Self { image: pair.image, labels: LabelSource::Annotated(annotations, image) })
            }
            Labels::Masks(_) => Err(Error::conflict("labels", NO_MASKS)),
        };
        pairs.into_iter().map(image).collect()
    }

    /// The images of a table, looked for beside it and in `folder`.
    pub fn from_table(table: &Path, dataset: &Dataset, folder: Option<&Path>) -> Result<Vec<Self>> {
        Ok(Self::of_rows(table, read_label_csv(table, dataset, folder)?))
    }

    fn of_rows(table: &Path, rows: Vec<CsvLabels>) -> Vec<Self> {
        let image =
            |labels: CsvLabels| Self { image: labels.image.clone(), labels: LabelSource::Table(table.into(), labels) };
        rows.into_iter().map(image).collect()
    }

    /// For the run's record.
    pub(in crate::train) fn pair(&self) -> Pair {
        let label = match &self.labels {
            LabelSource::Image(file) | LabelSource::Table(file, _) => absolute(file).into(),
            LabelSource::Annotated(file, image) => {
                Labels::Annotated { annotations: absolute(file), image: image.clone() }
            }
        };
        Pair { image: absolute(&self.image), label }
    }

    /// The classes of the image's pixels, of which those without a measurement have none. Both files are decoded, so that what
    /// is wrong with them is known before anything is computed.
    pub(super) fn load(&self, dataset: &Dataset) -> Result<Loaded> {
        let raster = load_raster(&self.image, dataset)?;
        let mut labels = match &self.labels {
            LabelSource::Table(table, labels) => labels.paint(table, raster.size)?,
            LabelSource::Annotated(..) => load_pair_labels(&self.pair(), raster.size, dataset)?,
            LabelSource::Image(file) => {
                let labels = load_sparse_labels(file, dataset)?;
                check_size((&self.image, raster.size), (file, labels.size))?;
                labels
            }
        };
        settled(&self.image, &raster, dataset)?;
        leave_out_unmeasured(&mut labels, &raster, dataset);
        let content = Fingerprint { image: Fingerprint::image(&raster), labels: Fingerprint::labels(&labels) };
        Ok(Loaded { image: raster, labels, content })
    }
}

/// Takes the labels of pixels away that carry no measurement.
pub(crate) fn leave_out_unmeasured(labels: &mut LabelMap, raster: &Image, dataset: &Dataset) {
    if dataset.normalisation.valid() == ValidPixels::Nonzero {
        labels.leave_out(&matching(&raster.samples, raster.bands, 0.0));
    }
    raster.nodata.iter().for_each(|nodata| labels.leave_out(nodata));
}

/// An image with its labels.
pub(super) struct Loaded {
    pub(super) image: Image,
    pub(super) labels: LabelMap,
    pub(super) content: Fingerprint,
}
