//! Images as a data set means them: its bands, its nodata values, its sample type.

use super::trained_samples::TrainedSamples;
use std::path::Path;

use image::RgbImage;

use super::dataset::Dataset;
use super::normalise::Normalisation;
use crate::base::{Error, Result};
use crate::image::{Image, SampleType, Samples, note_file, read_image};

/// Reads an image as the data set means it; see [`prepared`].
pub fn load_raster(path: &Path, dataset: &Dataset) -> Result<Image> {
    load_bands(path, dataset, None)
}

/// [`load_raster`] with [chosen bands](chosen_bands).
pub fn load_bands(path: &Path, dataset: &Dataset, bands: Option<&[usize]>) -> Result<Image> {
    prepared(path, chosen_bands(path, read_image(path)?, bands)?, dataset)
}

/// An image with some of its bands, by number from 1, in this order; all of them if none are chosen. Alpha counts as the
/// last band, and still says which pixels hold no data.
///
/// # Errors
///
/// If the image does not have a band of that number.
pub fn chosen_bands(path: &Path, image: Image, bands: Option<&[usize]>) -> Result<Image> {
    let Some(bands) = bands else { return Ok(image) };
    let nodata = image.pixels_without_data(&[]);
    let image = image.with_alpha_as_band();
    if let Some(band) = bands.iter().find(|band| !(1..=image.bands).contains(*band)) {
        let expected = format!("numbers from 1 to {}, the bands of {}", image.bands, path.display());
        return Err(Error::invalid("bands", band, expected));
    }
    Ok(Image { nodata, ..image.with_bands(bands.iter().map(|band| band - 1)) })
}

/// An image as the data set means it: alpha is a band if the data set has one band more than the image has colours, and
/// says which pixels hold no data otherwise; [`Image::nodata`] are all pixels without data, those that the data set's
/// `nodata` names among them; samples of another type than those of training become comparable to these.
pub fn prepared(path: &Path, raster: Image, dataset: &Dataset) -> Result<Image> {
    let raster = with_nodata(raster, dataset);
    let scale = scale(path, raster.sample_type, || range(&raster), dataset.samples.as_ref());
    check_normalisation(&dataset.normalisation, raster.sample_type, scale)
        .map_err(|reason| Error::content(path, reason))?;
    Ok(scaled(raster, scale, dataset))
}

/// An image with the bands that the data set has, as far as alpha is one, and all pixels without data known.
pub(super) fn with_nodata(raster: Image, dataset: &Dataset) -> Image {
    let raster = match &raster.alpha {
        Some(_) if raster.bands + 1 == dataset.bands => raster.with_alpha_as_band(),
        _ => raster,
    };
    Image { alpha: None, nodata: raster.pixels_without_data(&dataset.nodata_numbers()), ..raster }
}

/// An image whose samples are comparable to those of training, of which 1 was `scale`.
pub(super) fn scaled(raster: Image, scale: f32, dataset: &Dataset) -> Image {
    match &dataset.samples {
        Some(trained) if scale != raster.sample_type.full_scale() => rescaled(raster, scale, trained.sample_type),
        _ => raster,
    }
}

/// An image as 8-bit RGB for display, blank where a data set of `bands` bands and these nodata values sees no data.
pub fn displayed(raster: Image, bands: usize, nodata: &[f64]) -> RgbImage {
    Image { alpha: raster.alpha.clone().filter(|_| raster.bands + 1 != bands), ..raster }.to_rgb(nodata)
}

/// Means and deviations that were written for samples from 0 to 255 (or 65,535) are refused, with the right ones.
pub(super) fn check_normalisation(normalisation: &Normalisation, sample_type: SampleType, scale: f32) -> Result<()> {
    let Normalisation::Fixed { mean, std, .. } = normalisation else { return Ok(()) };
    let of_unit = |value: &f64| value.abs() <= 1.0;
    if scale == 1.0 || (mean.iter().all(of_unit) && std.iter().all(of_unit)) {
        return Ok(());
    }
    // Images of 16 bits may have been described in 8-bit numbers.
    let largest = mean.iter().chain(std).fold(0.0_f64, |a, b| a.max(b.abs()));
    let divisor = if largest <= 255.0 { 255.0 } else { f64::from(scale) };
    let shares = |values: &[f64]| values.iter().map(|v| format!("{:.4}", v / divisor)).collect::<Vec<_>>().join(", ");
    let reason = format!(
        "of the data set has mean {mean:?} and std {std:?}, but samples of type {sample_type} are divided by {scale} first and then \
         lie between 0 and 1; write mean = [{}], std = [{}]",
        shares(mean),
        shares(std)
    );
    Err(Error::conflict("normalisation", reason))
}

/// What the stored numbers are divided by: what 1 was in training. `range` is the smallest and the largest number.
pub(super) fn scale(
    path: &Path,
    sample_type: SampleType,
    range: impl FnOnce() -> (f64, f64),
    trained: Option<&TrainedSamples>,
) -> f32 {
    let own = sample_type.full_scale();
    let Some(trained) = trained.filter(|trained| trained.sample_type != sample_type) else { return own };
    let theirs = trained.sample_type.full_scale();
    if own == theirs {
        return own;
    }
    let (smallest, largest) = range();
    let shares = |smallest: f64, largest: f64| smallest >= 0.0 && largest <= 1.0;
    let same_numbers = match (trained.sample_type, sample_type) {
        // 16-bit files often hold 8-bit numbers; stretched to 16 bits, they are larger.
        (SampleType::Uint8, SampleType::Uint16) => largest <= 255.0,
        (SampleType::Uint16, SampleType::Uint8) => trained.largest <= 255.0,
        (SampleType::Uint8 | SampleType::Uint16, _) => !shares(smallest, largest) || trained.largest <= 1.0,
        _ => !shares(trained.smallest, trained.largest),
    };
    note_file(
        path,
        &format!(
            "a {} image, but the training images were {}: {}",
            sample_type,
            trained.sample_type,
            if same_numbers {
                "its values are used unchanged, on the scale of the training images"
            } else {
                "its values are rescaled so that each type's full range becomes 0 to 1"
            }
        ),
    );
    if same_numbers { theirs } else { own }
}

/// The smallest and the largest number among pixels with data; 0 if there is none.
pub(super) fn range(raster: &Image) -> (f64, f64) {
    fn range_of<T: Copy + Into<f64>>(samples: &[T], bands: usize, nodata: Option<&[bool]>) -> (f64, f64) {
        let mut range = (f64::INFINITY, f64::NEG_INFINITY);
        for (i, pixel) in samples.chunks_exact(bands).enumerate() {
            if nodata.is_some_and(|nodata| nodata[i]) {
                continue;
            }
            for &sample in pixel {
                let number: f64 = sample.into();
                range = (range.0.min(number), range.1.max(number));
            }
        }
        if range.0 > range.1 { (0.0, 0.0) } else { range }
    }
    let nodata = raster.nodata.as_deref();
    match &raster.samples {
        Samples::U8(v) => range_of(v, raster.bands, nodata),
        Samples::U16(v) => range_of(v, raster.bands, nodata),
        Samples::F32(v) => range_of(v, raster.bands, nodata),
    }
}

/// The samples divided by `scale`, as `sample_type`: nothing is divided again when the same image is prepared twice.
fn rescaled(raster: Image, scale: f32, sample_type: SampleType) -> Image {
    let samples = Samples::F32(match raster.samples {
        Samples::U8(v) => v.into_iter().map(|s| f32::from(s) / scale).collect(),
        Samples::U16(v) => v.into_iter().map(|s| f32::from(s) / scale).collect(),
        Samples::F32(v) => v.into_iter().map(|s| s / scale).collect(),
    });
    Image { samples, sample_type, ..raster }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Size;
    use crate::data::ValidPixels;

    fn dataset(trained: Option<(SampleType, f64, f64)>) -> Dataset {
        let samples = trained.map(|(sample_type, smallest, largest)| TrainedSamples { sample_type, smallest, largest });
        Dataset { bands: 1, samples, ..Dataset::find("seeps").unwrap() }
    }

    fn planes(trained: (SampleType, f64, f64), sample_type: SampleType, samples: Samples) -> Vec<f32> {
        let raster = Image { sample_type, ..Image::new(Size { width: samples.len(), height: 1 }, 1, samples) };
        prepared(Path::new("a.tif"), raster, &dataset(Some(trained))).unwrap().to_planes()
    }

    #[test]
    fn the_same_numbers_in_another_type_are_the_same_input() {
        let trained = (SampleType::Uint16, 0.0, 4000.0);
        let expected = planes(trained, SampleType::Uint16, Samples::U16(vec![0, 655, 4000]));
        for sample_type in [SampleType::Int16, SampleType::Int32, SampleType::Float32, SampleType::Float64] {
            let found = planes(trained, sample_type, Samples::F32(vec![0.0, 655.0, 4000.0]));
            assert_eq!(found, expected, "{sample_type}");
        }
        let bytes = planes((SampleType::Uint8, 0.0, 255.0), SampleType::Uint16, Samples::U16(vec![0, 51, 255]));
        assert_eq!(bytes, [0.0, 0.2, 1.0]);
    }

    #[test]
    fn an_image_that_was_prepared_stays_as_it_is() {
        let dataset = dataset(Some((SampleType::Uint16, 0.0, 4000.0)));
        for samples in [Samples::U8(vec![7, 200]), Samples::F32(vec![7.0, 200.0])] {
            let raster = Image::new(Size { width: 2, height: 1 }, 1, samples);
            let once = prepared(Path::new("a.tif"), raster, &dataset).unwrap();
            assert_eq!(prepared(Path::new("a.tif"), once.clone(), &dataset).unwrap(), once);
        }
    }

    #[test]
    fn shares_of_the_full_range_stay_shares() {
        let stretched = planes((SampleType::Uint8, 0.0, 255.0), SampleType::Uint16, Samples::U16(vec![0, 65535]));
        assert_eq!(stretched, [0.0, 1.0]);
        let unit = planes((SampleType::Uint8, 0.0, 255.0), SampleType::Float32, Samples::F32(vec![0.25, 1.0]));
        assert_eq!(unit, [0.25, 1.0]);
        let numbers = planes((SampleType::Float32, -20.0, 900.0), SampleType::Uint8, Samples::U8(vec![3, 200]));
        assert_eq!(numbers, [3.0, 200.0]);
    }

    #[test]
    fn a_normalisation_for_numbers_up_to_255_is_refused_with_the_right_one() {
        let imagenet = Normalisation::Fixed {
            mean: vec![123.675, 116.28, 103.53],
            std: vec![58.395, 57.12, 57.375],
            valid: ValidPixels::All,
        };
        assert_refused!(
            check_normalisation(&imagenet, SampleType::Uint8, 255.0),
            "mean = [0.4850, 0.4560, 0.4060], std = [0.2290, 0.2240, 0.2250]"
        );
        check_normalisation(&imagenet, SampleType::Float32, 1.0).unwrap();
        let right = Normalisation::Fixed { mean: vec![0.485; 3], std: vec![0.229; 3], valid: ValidPixels::All };
        check_normalisation(&right, SampleType::Uint8, 255.0).unwrap();
    }
}
