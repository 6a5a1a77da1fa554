//! The files of a prediction, written some rows at a time.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use super::Outputs;
use super::formats::{Formats, GEOJSON, NAMES, NPY, PROB_NPY, PROB_TIFF, PROBS_NPY, PROBS_TIFF, STYLE, TIFF};
use super::label_file::{NpyType, category_names, label_tiff, qgis_style};
use super::merge::Decision;
use super::model::Strip;
use crate::base::files::{AtomicFile, write_bytes};
use crate::base::label_map::IGNORE;
use crate::base::{Error, Result, Size};
use crate::data::Dataset;
use crate::image::{Georeference, LabelTiffWriter, NpyRows, ProbabilityTiffWriter};
use crate::tools::polygons::{Grid, PolygonOptions, PolygonWriter};

/// The files of one image, which take their names when all rows are there. Dropped before, it leaves nothing.
pub(super) struct StripWriter<'a> {
    dataset: &'a Dataset,
    npy: Option<Npy>,
    tiff: Option<LabelTiffWriter>,
    polygons: Option<Polygons<'a>>,
    /// Of the class of each pixel, and of all classes.
    probability: Probabilities,
    probabilities: Probabilities,
    /// Files besides: their contents.
    beside: Vec<(PathBuf, String)>,
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

/// Probabilities as an array and as a raster.
#[derive(Default)]
struct Probabilities {
    npy: Option<NpyRows>,
    tiff: Option<ProbabilityTiffWriter>,
}

impl Probabilities {
    fn push(&mut self, values: Option<&[f32]>, has_data: &[bool]) -> Result<()> {
        let Some(values) = values else { return Ok(()) };
        self.npy.as_mut().map_or(Ok(()), |npy| npy.push(values))?;
        self.tiff.as_mut().map_or(Ok(()), |tiff| tiff.push(values, has_data))
    }

    fn finish(self) -> Result<()> {
        self.npy.map_or(Ok(()), NpyRows::finish)?;
        self.tiff.map_or(Ok(()), ProbabilityTiffWriter::finish)
    }
}

/// The regions of the classes.
struct Polygons<'a> {
    file: AtomicFile,
    writer: PolygonWriter<'a, BufWriter<File>>,
    width: usize,
}

impl<'a> Polygons<'a> {
    fn new(path: &Path, dataset: &'a Dataset, (input, size): (&Path, Size), options: PolygonOptions) -> Result<Self> {
        let grid = Grid::of(input, size, options.crs)?;
        let mut file = AtomicFile::create(path)?;
        let writer = file
            .file()
            .try_clone()
            .and_then(|out| PolygonWriter::new(BufWriter::new(out), size.width, dataset, grid, options));
        let writer = writer.map_err(|cause| Error::write(path, cause))?;
        Ok(Self { file, writer, width: size.width })
    }

    fn push(&mut self, values: &[u16], probability: Option<&[f32]>) -> Result<()> {
        let width = self.width;
        let mut rows = values.chunks_exact(width).enumerate();
        let pushed = rows.try_for_each(|(y, values)| {
            self.writer.push_row(values, probability.map(|all| &all[y * width..][..width]))
        });
        pushed.map_err(|cause| Error::write(self.file.path(), cause))
    }

    fn finish(self) -> Result<()> {
        self.writer.finish().map_err(|cause| Error::write(self.file.path(), cause))?;
        self.file.commit()
    }
}

impl<'a> StripWriter<'a> {
    /// Files for an image of `size` whose label map has these formats: those of `outputs` that can be written some rows at
    /// a time.
    pub(super) fn new(
        outputs: &Outputs,
        dataset: &'a Dataset,
        (input, formats): (&Path, Formats),
        size: Size,
        folder: &Path,
    ) -> Result<Self> {
        let stem = input.file_stem().unwrap_or_default().to_string_lossy();
        let classes: Vec<&str> = dataset.classes.iter().map(|class| class.name.as_str()).collect();
        let largest = dataset.largest_value();
        let mut files = Self {
            dataset,
            npy: None,
            tiff: None,
            polygons: None,
            probability: Probabilities::default(),
            probabilities: Probabilities::default(),
            beside: Vec::new(),
        };
        let array = |path: &Path, planes| NpyRows::new::<f32>(path, size, planes);
        let raster = |path: &Path, bands: &[&str]| {
            ProbabilityTiffWriter::new(path, size, bands, outputs.prob_type, Georeference::of(input))
        };
        for ending in outputs.endings(formats) {
            let path = folder.join(format!("{stem}{ending}"));
            match ending {
                NPY => files.npy = Some(Npy::new(&path, size, largest, outputs.npy_type)?),
                TIFF => files.tiff = Some(LabelTiffWriter::new(&path, label_tiff(dataset, input, size))?),
                NAMES => files.beside.push((path, category_names(dataset))),
                STYLE => files.beside.push((path, qgis_style(dataset))),
                GEOJSON => files.polygons = Some(Polygons::new(&path, dataset, (input, size), outputs.polygons)?),
                PROB_NPY => files.probability.npy = Some(array(&path, None)?),
                PROBS_NPY => files.probabilities.npy = Some(array(&path, Some(classes.len()))?),
                PROB_TIFF => files.probability.tiff = Some(raster(&path, &["probability"])?),
                PROBS_TIFF => files.probabilities.tiff = Some(raster(&path, &classes)?),
                // Images, which are made of whole label maps.
                _ => {}
            }
        }
        Ok(files)
    }

    /// Adds the next rows.
    pub(super) fn push(&mut self, strip: &Strip) -> Result<()> {
        let Decision { classes, highest, all } = &strip.decision;
        let values: Vec<u16> = classes.iter().map(|&class| self.dataset.value_of(class)).collect();
        self.npy.as_mut().map_or(Ok(()), |npy| npy.push(&values))?;
        self.tiff.as_mut().map_or(Ok(()), |tiff| tiff.push(&values))?;
        self.polygons.as_mut().map_or(Ok(()), |polygons| polygons.push(&values, highest.as_deref()))?;
        let has_data: Vec<bool> = classes.iter().map(|&class| class != IGNORE).collect();
        self.probability.push(highest.as_deref(), &has_data)?;
        self.probabilities.push(all.as_deref(), &has_data)
    }

    /// Gives the files their names, the label map last.
    pub(super) fn finish(self) -> Result<()> {
        self.beside.iter().try_for_each(|(path, text)| write_bytes(path, text.as_bytes()))?;
        self.probability.finish()?;
        self.probabilities.finish()?;
        self.polygons.map_or(Ok(()), Polygons::finish)?;
        self.tiff.map_or(Ok(()), LabelTiffWriter::finish)?;
        self.npy.map_or(Ok(()), Npy::finish)
    }
}
