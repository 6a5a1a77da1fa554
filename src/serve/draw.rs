//! What a browser shows of an image: the image itself, classes and probabilities, reduced where they are too large.

use std::path::Path;

use image::RgbImage;
use image::imageops::{FilterType, resize};

use super::finished::Finished;
use crate::base::{Error, Result, Size};
use crate::data::displayed;
use crate::draw::encode_jpeg;
use crate::image::{Image, Samples, nearest};

/// JPEG quality of images and of small ones.
const QUALITY: u8 = 92;
const SMALL: u8 = 85;
/// Side of a small image.
const THUMBNAIL: usize = 256;
/// What a pixel without data is in classes and probabilities.
const NO_DATA: u16 = u16::MAX;

/// An image as it is shown, at most `most` pixels a side, as JPEG; and by what factor it is reduced.
pub(super) fn image_jpeg(path: &Path, bands: &[usize], nodata: &[f64], most: usize) -> Result<(Vec<u8>, f64)> {
    let image = shown(Image::read(path)?, bands, nodata)?;
    let (size, scale) = reduced(image.dimensions().into(), most);
    Ok((encode_jpeg(&at_size(image, size), QUALITY)?, scale))
}

/// A small image of a file.
pub(super) fn thumbnail(path: &Path, bands: usize, nodata: &[f64]) -> Result<Vec<u8>> {
    let image = displayed(Image::read(path)?, bands, nodata);
    let (size, _) = reduced(image.dimensions().into(), THUMBNAIL);
    encode_jpeg(&at_size(image, size), SMALL)
}

/// The bands of an image, by number from 1, in 8 bits: stretched between percentiles, unless they are grey or colours of 8
/// bits already.
fn shown(image: Image, bands: &[usize], nodata: &[f64]) -> Result<RgbImage> {
    let blank = image.pixels_without_data(nodata);
    let is_many = image.bands > 3;
    let image = image.with_alpha_as_band();
    if !matches!(bands.len(), 1 | 3) || bands.iter().any(|band| !(1..=image.bands).contains(band)) {
        let expected = format!("one or three numbers from 1 to {}, the bands of the image", image.bands);
        return Err(Error::invalid("bands", words(bands), expected));
    }
    let picked = image.with_bands(bands.iter().map(|band| band - 1));
    let samples = match picked.samples {
        Samples::U8(samples) if is_many => Samples::F32(samples.into_iter().map(f32::from).collect()),
        samples => samples,
    };
    Ok(Image { nodata: blank, ..Image::new(picked.size, bands.len(), samples) }.to_rgb(&[]))
}

fn words(bands: &[usize]) -> String {
    bands.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The size of an image whose longer side is at most `most`, and the factor to it.
pub(super) fn reduced(size: Size, most: usize) -> (Size, f64) {
    let longer = size.width.max(size.height).max(1);
    if longer <= most {
        return (size, 1.0);
    }
    let scale = most as f64 / longer as f64;
    let side = |side: usize| ((side as f64 * scale).round() as usize).max(1);
    (Size { width: side(size.width), height: side(size.height) }, scale)
}

fn at_size(image: RgbImage, size: Size) -> RgbImage {
    if Size::from(image.dimensions()) == size {
        return image;
    }
    resize(&image, size.width as u32, size.height as u32, FilterType::Triangle)
}

/// The class of each pixel in 16 bits, the lower byte first.
pub(super) fn classes(finished: &Finished, most: usize) -> (Vec<u8>, f64) {
    let map = &finished.prediction.labels;
    let (size, scale) = reduced(map.size, most);
    let count = finished.prediction.dataset.classes.len();
    let bytes = |class: u16| if usize::from(class) < count { class } else { NO_DATA }.to_le_bytes();
    (nearest(&map.classes, map.size, size).into_iter().flat_map(bytes).collect(), scale)
}

/// The probability of the class of each pixel in 8 bits.
pub(super) fn probabilities(finished: &Finished, most: usize) -> (Vec<u8>, f64) {
    let whole = finished.prediction.size();
    let (size, scale) = reduced(whole, most);
    let all = finished.prediction.probability.as_deref().unwrap_or_default();
    let byte = |p: f32| (255.0 * p.clamp(0.0, 1.0)).round() as u8;
    (nearest(all, whole, size).into_iter().map(byte).collect(), scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_chosen_and_stretched_unless_they_are_colours() {
        let size = Size { width: 2, height: 1 };
        let colours = Image::new(size, 3, Samples::U8(vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(shown(colours.clone(), &[3, 2, 1], &[]).unwrap().into_raw(), [3, 2, 1, 6, 5, 4]);
        assert_eq!(shown(colours.clone(), &[2], &[]).unwrap().into_raw(), [2, 2, 2, 5, 5, 5]);
        let many = Image::new(size, 4, Samples::U8(vec![0, 9, 1, 7, 2, 9, 3, 7]));
        assert_eq!(shown(many, &[1], &[]).unwrap().into_raw(), [0, 0, 0, 255, 255, 255]);
        for bands in [&[][..], &[0], &[4], &[1, 2], &[1, 2, 3, 1]] {
            assert!(shown(colours.clone(), bands, &[]).is_err(), "{bands:?}");
        }
    }

    #[test]
    fn large_images_are_reduced_by_one_factor() {
        let size = |width, height| Size { width, height };
        assert_eq!(reduced(size(4096, 10), 4096), (size(4096, 10), 1.0));
        assert_eq!(reduced(size(1000, 8000), 4000), (size(500, 4000), 0.5));
        assert_eq!(reduced(size(1, 8000), 80), (size(1, 80), 0.01));
    }
}
