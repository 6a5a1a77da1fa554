//! Images that are read in parts, each of which is prepared and normalised as the whole would be.

use std::path::Path;

use super::dataset::Dataset;
use super::normalise::{Normalisation, Statistics};
use super::prepare::{check_normalisation, range, scale, scaled, with_nodata};
use super::sample::{network_input, statistics};
use crate::base::{Error, Result};
use crate::image::{Image, SampleType};

/// How the parts of an image become network input.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// What the stored numbers are divided by.
    scale: f32,
    /// With the normalisation of this image.
    dataset: Dataset,
}

/// Reads all parts of an image, one after the other, and hands each on.
pub(crate) type ReadAll<'a> = dyn FnMut(&mut dyn FnMut(Image) -> Result<()>) -> Result<()> + 'a;

impl Parts {
    /// What has to be known of the whole image: nothing but the type of its samples, unless
    /// the image is normalised by its own mean, or has samples of another type than the training images. Then all parts
    /// are read, once for each.
    ///
    /// # Errors
    ///
    /// If a part cannot be read, or bands or sample types do not fit the data set.
    pub(crate) fn settle(
        path: &Path,
        sample_type: SampleType,
        dataset: &Dataset,
        read_all: &mut ReadAll<'_>,
    ) -> Result<Self> {
        let trained = dataset.samples.as_ref();
        let differs = trained.is_some_and(|trained| trained.sample_type.full_scale() != sample_type.full_scale());
        let mut limits = (f64::INFINITY, f64::NEG_INFINITY);
        if differs {
            read_all(&mut |part| {
                let part = with_nodata(part, dataset);
                if part.nodata.as_ref().is_none_or(|nodata| nodata.contains(&false)) {
                    let own = range(&part);
                    limits = (limits.0.min(own.0), limits.1.max(own.1));
                }
                Ok(())
            })?;
        }
        let limits = if limits.0 > limits.1 { (0.0, 0.0) } else { limits };
        let scale = scale(path, sample_type, || limits, trained);
        check_normalisation(&dataset.normalisation, sample_type, scale)
            .map_err(|reason| Error::content(path, reason))?;
        let mut parts = Self { scale, dataset: dataset.clone() };
        if !matches!(dataset.normalisation, Normalisation::Fixed { .. }) {
            let mut all = Statistics::new(dataset.bands);
            read_all(&mut |part| {
                all.merge(&statistics(path, &parts.prepared(part), dataset)?);
                Ok(())
            })?;
            let (mean, std) = all.mean_and_std();
            parts.dataset.normalisation = Normalisation::Fixed { mean, std, valid: dataset.normalisation.valid() };
        }
        Ok(parts)
    }

    fn prepared(&self, part: Image) -> Image {
        scaled(with_nodata(part, &self.dataset), self.scale, &self.dataset)
    }

    /// A part as normalised planes `[bands, height, width]`, and its pixels without data, if there are any.
    pub(crate) fn input(&self, path: &Path, part: Image) -> Result<(Vec<f32>, Option<Vec<bool>>)> {
        let part = self.prepared(part);
        Ok((network_input(path, &part, &self.dataset)?, part.nodata))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Size;
    use crate::data::trained_samples::TrainedSamples;
    use crate::data::{ValidPixels, prepared};
    use crate::image::Samples;

    const SIZE: Size = Size { width: 3, height: 6 };

    /// Rows of one value each, in two bands.
    fn image(rows: std::ops::Range<usize>) -> Image {
        let samples = rows.clone().flat_map(|y| (0..6).map(move |x| (900 * y + 7 * x) as u16)).collect();
        Image::new(Size { height: rows.len(), ..SIZE }, 2, Samples::U16(samples))
    }

    #[test]
    fn parts_become_what_the_whole_becomes() {
        let seeps = Dataset::find("seeps").unwrap();
        let valid = ValidPixels::Nonzero;
        let normalisations =
            [Normalisation::PerImage { valid }, Normalisation::Fixed { mean: vec![0.1; 2], std: vec![0.3; 2], valid }];
        let bytes = TrainedSamples { sample_type: SampleType::Uint8, smallest: 0.0, largest: 255.0 };
        for (normalisation, samples) in
            normalisations.into_iter().flat_map(|n| [(n.clone(), None), (n, Some(bytes.clone()))])
        {
            let dataset = Dataset { bands: 2, normalisation, samples, nodata: vec![], ..seeps.clone() };
            let path = Path::new("a.tif");
            let whole = network_input(path, &prepared(path, image(0..6), &dataset).unwrap(), &dataset).unwrap();
            let mut read_all = |take: &mut dyn FnMut(Image) -> Result<()>| {
                [0..2, 2..3, 3..6].into_iter().try_for_each(|rows| take(image(rows)))
            };
            let parts = Parts::settle(path, SampleType::Uint16, &dataset, &mut read_all).unwrap();
            for rows in [0..2, 2..3, 3..6] {
                let (part, nodata) = parts.input(path, image(rows.clone())).unwrap();
                let of_whole: Vec<f32> =
                    whole.chunks(18).flat_map(|plane| plane[rows.start * 3..rows.end * 3].to_vec()).collect();
                let close = part.iter().zip(&of_whole).all(|(a, b)| (a - b).abs() < 1e-5);
                assert!(close && nodata.is_none(), "{part:?} {of_whole:?}");
            }
        }
    }
}
