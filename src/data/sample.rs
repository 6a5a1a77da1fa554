//! One image and its label, ready for the network.

use std::path::{Path, PathBuf};

use super::dataset::Dataset;
use super::label_maps::load_pair_labels;
use super::normalise::{Normalisation, Normaliser, Statistics};
use super::pair::Pair;
use super::prepare::{load_raster, range};
use super::trained_samples::TrainedSamples;
use crate::base::label_map::{IGNORE, LabelMap};
use crate::base::{Error, Result, Size};
use crate::image::{Image, Samples};

/// Rows that are measured at a time.
const SETTLED_ROWS: usize = 256;

/// An image with its class map.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Network input `[bands, height, width]`; before normalisation, samples between 0 and 1, NaN where a pixel carries
    /// no measurement, in all bands.
    pub planes: Vec<f32>,
    /// Classes of the pixels.
    pub labels: LabelMap,
}

impl Sample {
    /// Reads, checks and normalises a pair.
    pub fn load(pair: &Pair, dataset: &Dataset) -> Result<Self> {
        let (mut sample, normaliser) = Decoded::load(pair, dataset)?.sample(pair, dataset)?;
        normaliser.apply(&mut sample.planes);
        Ok(sample)
    }

    /// Bands of the image.
    pub(super) fn bands(&self) -> usize {
        self.planes.len() / self.labels.classes.len()
    }
}

/// A pair as its files hold it, before anything is computed: 8-bit samples take a byte, and so do labels of less than
/// 255 classes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decoded {
    raster: Image,
    labels: CompactLabels,
}

/// Class indices as small as they come.
#[derive(Debug, Clone, PartialEq)]
enum CompactLabels {
    /// `u8::MAX` stands for [`IGNORE`].
    Bytes(Vec<u8>),
    Words(Vec<u16>),
}

impl Decoded {
    /// Reads and checks a pair.
    pub(super) fn load(pair: &Pair, dataset: &Dataset) -> Result<Self> {
        let raster = load_raster(&pair.image, dataset)?;
        let mut labels = load_pair_labels(pair, raster.size, dataset)?;
        raster.nodata.iter().for_each(|nodata| labels.leave_out(nodata));
        Ok(Self { raster, labels: CompactLabels::new(labels.classes) })
    }

    /// Bytes that it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let image = match &self.raster.samples {
            Samples::U8(v) => v.capacity(),
            Samples::U16(v) => 2 * v.capacity(),
            Samples::F32(v) => 4 * v.capacity(),
        };
        let labels = match &self.labels {
            CompactLabels::Bytes(v) => v.capacity(),
            CompactLabels::Words(v) => 2 * v.capacity(),
        };
        size_of::<Self>() + image + labels + self.raster.nodata.as_ref().map_or(0, Vec::capacity)
    }

    /// Whether its samples are bytes, which can be looked at as they are.
    pub(super) fn has_bytes(&self) -> bool {
        matches!(self.raster.samples, Samples::U8(_))
    }

    /// The sample before normalisation, and what it is to be normalised with.
    pub(super) fn sample(&self, pair: &Pair, dataset: &Dataset) -> Result<(Sample, Normaliser)> {
        let mut planes = fit_bands(&pair.image, &self.raster, dataset)?;
        let normaliser = dataset.normalisation.prepare(&mut planes, dataset.bands);
        let labels = LabelMap { size: self.raster.size, classes: self.labels.to_classes() };
        Ok((Sample { planes, labels }, normaliser))
    }
}

impl CompactLabels {
    fn new(classes: Vec<u16>) -> Self {
        if classes.iter().all(|class| *class == IGNORE || *class < u16::from(u8::MAX)) {
            // IGNORE is all ones in either width.
            return Self::Bytes(classes.into_iter().map(|class| class as u8).collect());
        }
        Self::Words(classes)
    }

    fn to_classes(&self) -> Vec<u16> {
        let wide = |class: &u8| if *class == u8::MAX { IGNORE } else { u16::from(*class) };
        match self {
            Self::Bytes(classes) => classes.iter().map(wide).collect(),
            Self::Words(classes) => classes.clone(),
        }
    }
}

/// An image that was [prepared](super::prepare::prepared), or a part of it, as normalised planes `[bands, height, width]`; `path` is
/// what errors call it.
pub fn network_input(path: &Path, raster: &Image, dataset: &Dataset) -> Result<Vec<f32>> {
    let mut planes = fit_bands(path, raster, dataset)?;
    dataset.normalisation.apply(&mut planes, dataset.bands);
    Ok(planes)
}

/// The data set as it is for one image, of which parts are to be normalised like the whole: a normalisation by the
/// image's own statistics becomes a fixed one. An error if its bands do not fit.
pub fn settled(path: &Path, raster: &Image, dataset: &Dataset) -> Result<Dataset> {
    let fits = raster.bands == 1 || raster.bands == dataset.bands;
    let is_fixed = matches!(dataset.normalisation, Normalisation::Fixed { .. });
    if fits && is_fixed {
        return Ok(dataset.clone());
    }
    let (mean, std) = statistics(path, raster, dataset)?.mean_and_std();
    let measured = Normalisation::Fixed { mean, std, valid: dataset.normalisation.valid() };
    let normalisation = if is_fixed { dataset.normalisation.clone() } else { measured };
    Ok(Dataset { normalisation, ..dataset.clone() })
}

/// The data set with what its images have in common: the normalisation, where it is by all of them, the sample type, and
/// what was done with declared orientations.
pub fn measured(paths: &[PathBuf], dataset: &Dataset) -> Result<Dataset> {
    let ranges = |path: &PathBuf| load_raster(path, dataset).map(|raster| (raster.sample_type, range(&raster)));
    let seen: Vec<_> = paths.iter().map(ranges).collect::<Result<_>>()?;
    // What samples of another type mean is known from here on.
    let mut dataset = dataset.trained_on(TrainedSamples::most_frequent(seen));
    if let Normalisation::PerDataset { valid } = dataset.normalisation {
        let mut all = Statistics::new(dataset.bands);
        for path in paths {
            all.merge(&statistics(path, &load_raster(path, &dataset)?, &dataset)?);
        }
        let (mean, std) = all.mean_and_std();
        dataset.normalisation = Normalisation::Fixed { mean, std, valid };
    }
    Ok(dataset)
}

/// Sums over the valid pixels of an image, some rows at a time.
pub(super) fn statistics(path: &Path, raster: &Image, dataset: &Dataset) -> Result<Statistics> {
    let Size { width, height } = raster.size;
    let mut statistics = Statistics::new(dataset.bands);
    for top in (0..height).step_by(SETTLED_ROWS) {
        let part = raster.cropped(top..height.min(top + SETTLED_ROWS), 0..width);
        statistics.add(&fit_bands(path, &part, dataset)?, dataset.normalisation.valid());
    }
    Ok(statistics)
}

/// Planes with the data set's number of bands: a grey image fills all of them, and a colour image whose bands are
/// all equal is grey. Anything else that does not match is an error: which band to drop is not ours to guess.
pub(super) fn fit_bands(path: &Path, raster: &Image, dataset: &Dataset) -> Result<Vec<f32>> {
    let mut planes = raster.to_planes();
    let pixels = raster.size.width * raster.size.height;
    if let Some(nodata) = &raster.nodata {
        for plane in planes.chunks_exact_mut(pixels) {
            plane.iter_mut().zip(nodata).filter(|(_, nodata)| **nodata).for_each(|(sample, _)| *sample = f32::NAN);
        }
    }
    let equal = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
    match (raster.bands, dataset.bands) {
        (found, wanted) if found == wanted => Ok(planes),
        (1, wanted) => Ok(planes.repeat(wanted)),
        (_, 1) if planes.chunks_exact(pixels).all(|plane| equal(plane, &planes[..pixels])) => {
            Ok(planes[..pixels].to_vec())
        }
        (found, wanted) => Err(Error::content(
            path,
            format!(
                "has {found} bands, but data set '{}' expects {wanted}; convert the image, or set `bands = {found}` in the data set file",
                dataset.name
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_take_a_byte_where_they_fit() {
        for (classes, bytes) in [(vec![0, 254, IGNORE], true), (vec![255, 0, IGNORE], false), (vec![7; 4], true)] {
            let compact = CompactLabels::new(classes.clone());
            assert_eq!(matches!(compact, CompactLabels::Bytes(_)), bytes);
            assert_eq!(compact.to_classes(), classes);
        }
    }
}
