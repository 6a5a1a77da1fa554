//! Predictions that are written some rows at a time.

use std::path::{Path, PathBuf};

use super::Outputs;
use super::label_file::{Formats, NPY, NpyType, TIFF, category_names, label_tiff};
use super::model::Strip;
use crate::base::files::write_bytes;
use crate::base::{Result, Size};
use crate::data::Dataset;
use crate::image::{LabelTiffWriter, NpyRows};

/// The files of one image, which take their names when all rows are there. Dropped before, it leaves nothing.
pub(super) struct StripWriter<'a> {
    dataset: &'a Dataset,
    npy: Option<Npy>,
    tiff: Option<LabelTiffWriter>,
    probability: Option<NpyRows>,
    probabilities: Option<NpyRows>,
    /// Files besides: their contents.
    beside: Vec<(PathBuf, String)>,
    /// The label map that is listed.
    first: PathBuf,
}

/// Label values in a type.
enum Npy {
    Bytes(NpyRows),
    Words(NpyRows),
    Longs(NpyRows),
}

impl Npy {
    fn new(path: &Path, size: Size, largest: u16, kind: NpyType) -> Result<Self> {
        Ok(match kind {
            NpyType::Int64 => Self::Longs(NpyRows::new::<i64>(path, size, None)?),
            NpyType::Smallest if largest <= u16::from(u8::MAX) => Self::Bytes(NpyRows::new::<u8>(path, size, None)?),
            NpyType::Smallest => Self::Words(NpyRows::new::<u16>(path, size, None)?),
        })
    }

    fn push(&mut self, values: &[u16]) -> Result<()> {
        match self {
            Self::Bytes(npy) => npy.push(&values.iter().map(|&value| value as u8).collect::<Vec<_>>()),
            Self::Words(npy) => npy.push(values),
            Self::Longs(npy) => npy.push(&values.iter().map(|&value| i64::from(value)).collect::<Vec<_>>()),
        }
    }

    fn finish(self) -> Result<()> {
        let (Self::Bytes(npy) | Self::Words(npy) | Self::Longs(npy)) = self;
        npy.finish()
    }
}

impl<'a> StripWriter<'a> {
    /// Files for an image of `size` whose label map has these formats. Of `outputs`, those count that
    /// [can be written so](Outputs::goes_in_strips).
    pub(super) fn new(
        outputs: &Outputs,
        dataset: &'a Dataset,
        (input, formats): (&Path, Formats),
        size: Size,
        folder: &Path,
    ) -> Result<Self> {
        let stem = input.file_stem().unwrap_or_default().to_string_lossy();
        let file = |ending: &str| folder.join(format!("{stem}{ending}"));
        let (mut npy, mut tiff, mut beside) = (None, None, Vec::new());
        for ending in formats.endings() {
            match *ending {
                NPY => npy = Some(Npy::new(&file(NPY), size, dataset.largest_value(), outputs.npy_type)?),
                TIFF => tiff = Some(LabelTiffWriter::new(&file(TIFF), label_tiff(dataset, input, size))?),
                names => beside.push((file(names), category_names(dataset))),
            }
        }
        let array = |wanted: bool, ending: &str, planes| {
            wanted.then(|| NpyRows::new::<f32>(&file(ending), size, planes)).transpose()
        };
        Ok(Self {
            dataset,
            npy,
            tiff,
            probability: array(outputs.prob, "_prob.npy", None)?,
            probabilities: array(outputs.prob_all, "_probs.npy", Some(dataset.class_count()))?,
            beside,
            first: file(formats.endings()[0]),
        })
    }

    /// Adds the next rows.
    pub(super) fn push(&mut self, strip: &Strip) -> Result<()> {
        let values: Vec<u16> = strip.classes.iter().map(|&class| self.dataset.value_of(class)).collect();
        self.npy.as_mut().map_or(Ok(()), |npy| npy.push(&values))?;
        self.tiff.as_mut().map_or(Ok(()), |tiff| tiff.push(&values))?;
        let arrays = [(&mut self.probability, &strip.highest), (&mut self.probabilities, &strip.all)];
        for (array, rows) in arrays {
            if let (Some(array), Some(rows)) = (array, rows) {
                array.push(rows)?;
            }
        }
        Ok(())
    }

    /// Gives the files their names, the label map last; returns it.
    pub(super) fn finish(self) -> Result<PathBuf> {
        self.beside.iter().try_for_each(|(path, text)| write_bytes(path, text.as_bytes()))?;
        self.probability.map_or(Ok(()), NpyRows::finish)?;
        self.probabilities.map_or(Ok(()), NpyRows::finish)?;
        self.tiff.map_or(Ok(()), LabelTiffWriter::finish)?;
        self.npy.map_or(Ok(()), Npy::finish)?;
        Ok(self.first)
    }
}
