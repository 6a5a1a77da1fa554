//! One picture and its label, ready for the network.

use std::path::Path;

use super::{Descriptor, Pair};
use crate::error::{Error, Result, Size};
use crate::image::{Raster, RawLabels, read_image, read_labels};
use crate::label::LabelMap;

/// A normalised picture with its class map.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Network input `[bands, height, width]`.
    pub planes: Vec<f32>,
    /// Classes of the pixels.
    pub labels: LabelMap,
}

impl Sample {
    /// Reads, checks and normalises a pair.
    pub fn load(pair: &Pair, descriptor: &Descriptor) -> Result<Self> {
        let (size, planes) = load_image(&pair.image, descriptor)?;
        let labels = load_labels(&pair.label, descriptor)?;
        if size != labels.size {
            return Err(Error::SizeMismatch {
                first: pair.image.clone(),
                first_size: size,
                second: pair.label.clone(),
                second_size: labels.size,
            });
        }
        Ok(Self { planes, labels })
    }
}

/// Reads a picture as normalised planes `[bands, height, width]`.
pub fn load_image(path: &Path, descriptor: &Descriptor) -> Result<(Size, Vec<f32>)> {
    let raster = read_image(path)?;
    Ok((raster.size, network_input(path, &raster, descriptor)?))
}

/// A picture as normalised planes `[bands, height, width]`; `path` is what errors call it.
pub fn network_input(path: &Path, raster: &Raster, descriptor: &Descriptor) -> Result<Vec<f32>> {
    let mut planes = fit_bands(path, raster, descriptor)?;
    descriptor.normalisation.apply(&mut planes, descriptor.bands);
    Ok(planes)
}

/// Reads a label image as class indices.
pub fn load_labels(path: &Path, descriptor: &Descriptor) -> Result<LabelMap> {
    descriptor.class_map(path, &read_labels(path)?)
}

/// Reads a prediction as class indices.
pub fn load_prediction(path: &Path, descriptor: &Descriptor) -> Result<LabelMap> {
    prediction_map(path, &read_labels(path)?, descriptor)
}

/// Class indices of a prediction. The advice for a label value that is not defined is to correct the label image; a
/// prediction has other causes.
pub fn prediction_map(path: &Path, raw: &RawLabels, descriptor: &Descriptor) -> Result<LabelMap> {
    descriptor.class_map(path, raw).map_err(|error| match error {
        Error::LabelValue { path, value, x, y, expected, .. } => Error::content(
            path,
            format!(
                "predicted value {value} at pixel ({x}, {y}) is not in data set '{}' (it defines {expected}); was it \
                 predicted for another data set, or are the lists exchanged?",
                descriptor.name
            ),
        ),
        other => other,
    })
}

/// Planes with the data set's number of bands: a grey picture fills all of them, and a colour picture whose bands are
/// all equal is grey. Anything else that does not match is an error: which band to drop is not ours to guess.
pub(super) fn fit_bands(path: &Path, raster: &Raster, descriptor: &Descriptor) -> Result<Vec<f32>> {
    let planes = raster.to_planes();
    let pixels = raster.size.width * raster.size.height;
    match (raster.bands, descriptor.bands) {
        (found, wanted) if found == wanted => Ok(planes),
        (1, wanted) => Ok(planes.repeat(wanted)),
        (_, 1) if planes.chunks_exact(pixels).all(|plane| plane == &planes[..pixels]) => Ok(planes[..pixels].to_vec()),
        (found, wanted) => Err(Error::content(
            path,
            format!(
                "has {found} bands, data set '{}' wants {wanted}; convert the picture, or set `bands = {found}` in the data set file",
                descriptor.name
            ),
        )),
    }
}
