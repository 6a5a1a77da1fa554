//! Decoded images in the sample type of their file.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::base::Size;

/// Samples as they are held in memory, interleaved by pixel.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// Unsigned, up to 8 bits.
    U8(Vec<u8>),
    /// Unsigned, 9 to 16 bits.
    U16(Vec<u16>),
    /// Floating point, and signed or wider integers, as numbers.
    F32(Vec<f32>),
}

/// Applies one generic expression to whichever vector of samples there is; the result is of the same kind.
macro_rules! map_samples {
    ($samples:expr, $vector:ident => $result:expr) => {
        match $samples {
            Samples::U8($vector) => Samples::U8($result),
            Samples::U16($vector) => Samples::U16($result),
            Samples::F32($vector) => Samples::F32($result),
        }
    };
}

/// The same for a result that does not depend on the kind of samples.
macro_rules! with_samples {
    ($samples:expr, $vector:ident => $result:expr) => {
        match $samples {
            Samples::U8($vector) => $result,
            Samples::U16($vector) => $result,
            Samples::F32($vector) => $result,
        }
    };
}

impl Samples {
    /// Number of samples.
    pub fn len(&self) -> usize {
        with_samples!(self, v => v.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type in memory.
    fn sample_type(&self) -> SampleType {
        match self {
            Self::U8(_) => SampleType::Uint8,
            Self::U16(_) => SampleType::Uint16,
            Self::F32(_) => SampleType::Float32,
        }
    }

    /// Pixels of `bands` samples, taken from the given positions.
    pub(super) fn pixels_at(&self, bands: usize, positions: impl Iterator<Item = usize>) -> Self {
        map_samples!(self, v => positions.flat_map(|i| &v[i * bands..(i + 1) * bands]).copied().collect())
    }

    /// The samples that lie in one of `bands` bands, and the others.
    pub(super) fn split_band(self, bands: usize, band: usize) -> (Self, Self) {
        match self {
            Self::U8(v) => split_band(&v, bands, band, Self::U8),
            Self::U16(v) => split_band(&v, bands, band, Self::U16),
            Self::F32(v) => split_band(&v, bands, band, Self::F32),
        }
    }

    /// The opposite of [`Self::split_band`]: `one` becomes band `band` among the `bands` that there are then. Samples of
    /// another type are dropped; both come from one file.
    fn with_band(&self, bands: usize, band: usize, one: &Self) -> Self {
        fn join<T: Copy>(rest: &[T], one: &[T], bands: usize, band: usize) -> Vec<T> {
            let pixels = rest.chunks_exact(bands - 1).zip(one);
            pixels.flat_map(|(rest, one)| rest[..band].iter().chain([one]).chain(&rest[band..])).copied().collect()
        }
        match (self, one) {
            (Self::U8(rest), Self::U8(one)) => Self::U8(join(rest, one, bands, band)),
            (Self::U16(rest), Self::U16(one)) => Self::U16(join(rest, one, bands, band)),
            (Self::F32(rest), Self::F32(one)) => Self::F32(join(rest, one, bands, band)),
            (rest, _) => rest.clone(),
        }
    }
}

/// The samples that lie in one of `bands` bands, and the others, each as `kind` makes them.
pub(super) fn split_band<T: Copy, K>(samples: &[T], bands: usize, band: usize, kind: fn(Vec<T>) -> K) -> (K, K) {
    let rest = samples.iter().enumerate().filter(|(i, _)| i % bands != band).map(|(_, sample)| *sample);
    (kind(samples.iter().skip(band).step_by(bands).copied().collect()), kind(rest.collect()))
}

/// The type of a file's samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // the names say it
pub enum SampleType {
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Float16,
    Float32,
    Float64,
}

impl SampleType {
    /// The number that white is, of types whose samples are taken as shares of it: 255 or 65,535. 1 for all others,
    /// whose samples are taken as they are.
    pub fn full_scale(self) -> f32 {
        match self {
            Self::Uint8 => 255.0,
            Self::Uint16 => 65535.0,
            _ => 1.0,
        }
    }
}

impl fmt::Display for SampleType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The opacity of the pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct AlphaBand {
    /// From 0, transparent, to full scale, in the type of the image's other samples.
    pub samples: Samples,
    /// Whether the colours have been multiplied by it already.
    pub associated: bool,
    /// Its place among the file's bands, from 0.
    pub position: usize,
}

/// A decoded image. Palettes are expanded to RGB, YCbCr, CMYK and CIELab converted to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Width and height.
    pub size: Size,
    /// Samples a pixel, without alpha: 1 grey, 3 RGB, or as many as a multi-band file has.
    pub bands: usize,
    /// `height * width * bands` samples, interleaved.
    pub samples: Samples,
    /// Type of the samples in the file.
    pub sample_type: SampleType,
    /// The alpha band, if there is one.
    pub alpha: Option<AlphaBand>,
    /// Pixels that the file itself declares to be without data (GDAL's nodata value or mask); none if left out.
    pub nodata: Option<Vec<bool>>,
}

impl Image {
    /// An image all of whose pixels hold data, without alpha.
    pub fn new(size: Size, bands: usize, samples: Samples) -> Self {
        let sample_type = samples.sample_type();
        Self { size, bands, samples, sample_type, alpha: None, nodata: None }
    }

    /// The same with the last band taken as alpha.
    pub(super) fn with_last_band_as_alpha(self) -> Self {
        let position = self.bands - 1;
        let (alpha, samples) = self.samples.split_band(self.bands, position);
        let alpha = Some(AlphaBand { samples: alpha, associated: false, position });
        Self { bands: position, samples, alpha, ..self }
    }

    /// The same with alpha as one of the bands, in its place.
    #[must_use]
    pub fn with_alpha_as_band(&self) -> Self {
        let Some(alpha) = &self.alpha else { return self.clone() };
        let bands = self.bands + 1;
        let samples = self.samples.with_band(bands, alpha.position, &alpha.samples);
        Self { size: self.size, bands, samples, alpha: None, nodata: self.nodata.clone(), ..*self }
    }

    /// The same with these of its bands, by index, in this order; alpha stays as it is.
    #[must_use]
    pub(crate) fn with_bands(&self, bands: impl ExactSizeIterator<Item = usize> + Clone) -> Self {
        fn taken<T: Copy>(samples: &[T], own: usize, bands: impl Iterator<Item = usize> + Clone) -> Vec<T> {
            samples.chunks_exact(own).flat_map(|pixel| bands.clone().map(|band| pixel[band])).collect()
        }
        let samples = map_samples!(&self.samples, v => taken(v, self.bands, bands.clone()));
        Self { bands: bands.len(), samples, alpha: self.alpha.clone(), nodata: self.nodata.clone(), ..*self }
    }

    /// The samples as float32 planes `[bands, height, width]`; 8-bit values divided by 255, 16-bit by 65,535.
    pub fn to_planes(&self) -> Vec<f32> {
        self.to_planes_over(self.samples.sample_type().full_scale())
    }

    /// The samples as float32 planes `[bands, height, width]`, divided by `scale`.
    pub fn to_planes_over(&self, scale: f32) -> Vec<f32> {
        match &self.samples {
            Samples::U8(v) => planes(v, self.bands, |s| f32::from(s) / scale),
            Samples::U16(v) => planes(v, self.bands, |s| f32::from(s) / scale),
            Samples::F32(v) if scale == 1.0 => planes(v, self.bands, |s| s),
            Samples::F32(v) => planes(v, self.bands, |s| s / scale),
        }
    }

    /// A part of the image.
    #[must_use]
    pub fn cropped(&self, rows: Range<usize>, columns: Range<usize>) -> Self {
        let width = self.size.width;
        let size = Size { width: columns.len(), height: rows.len() };
        self.rearranged(size, rows.flat_map(move |row| (row * width + columns.start)..(row * width + columns.end)))
    }

    /// An image of `size` whose pixels are those at the given positions of this one, row by row.
    pub(super) fn rearranged(&self, size: Size, positions: impl Iterator<Item = usize> + Clone) -> Self {
        let alpha = self
            .alpha
            .as_ref()
            .map(|alpha| AlphaBand { samples: alpha.samples.pixels_at(1, positions.clone()), ..*alpha });
        let nodata = self.nodata.as_ref().map(|nodata| positions.clone().map(|i| nodata[i]).collect());
        let samples = self.samples.pixels_at(self.bands, positions);
        Self { size, bands: self.bands, samples, sample_type: self.sample_type, alpha, nodata }
    }

    /// The same with float32 samples, 8-bit values divided by 255, 16-bit by 65,535.
    #[must_use]
    pub fn into_floats(self) -> Self {
        let floats = |samples: Samples| match samples {
            Samples::U8(v) => Samples::F32(v.into_iter().map(|s| f32::from(s) / 255.0).collect()),
            Samples::U16(v) => Samples::F32(v.into_iter().map(|s| f32::from(s) / 65535.0).collect()),
            floats @ Samples::F32(_) => floats,
        };
        let alpha = self.alpha.map(|alpha| AlphaBand { samples: floats(alpha.samples), ..alpha });
        Self { samples: floats(self.samples), alpha, ..self }
    }

    /// Pixels without data, `height * width`; none if there is no such pixel. They are those that the file declares,
    /// transparent ones, those with a band that is not finite, and those that hold a `declared` nodata value (a number as
    /// stored, or NaN): in any band where the value cannot be a measurement by its type, in all bands where it can, as 0
    /// or a value of unsigned samples can.
    pub fn pixels_without_data(&self, declared: &[f64]) -> Option<Vec<bool>> {
        let mut found = self.nodata.clone();
        let mut mark = |pixels: &mut dyn Iterator<Item = bool>| {
            let all = found.get_or_insert_with(|| vec![false; self.size.width * self.size.height]);
            all.iter_mut().zip(pixels).for_each(|(all, pixel)| *all |= pixel);
        };
        if let Some(alpha) = &self.alpha {
            with_samples!(&alpha.samples, v => mark(&mut v.iter().map(|&sample| f64::from(sample) == 0.0)));
        }
        if let Samples::F32(v) = &self.samples {
            mark(&mut v.chunks_exact(self.bands).map(|pixel| pixel.iter().any(|sample| !sample.is_finite())));
        }
        for &value in declared.iter().filter(|value| !value.is_nan()) {
            mark(&mut matching(&self.samples, self.bands, value).into_iter());
        }
        found.filter(|pixels| pixels.contains(&true))
    }
}

/// Pixels that hold a nodata value that is a number.
pub(crate) fn matching(samples: &Samples, bands: usize, value: f64) -> Vec<bool> {
    match samples {
        Samples::U8(v) => v.chunks_exact(bands).map(|pixel| pixel.iter().all(|&s| f64::from(s) == value)).collect(),
        Samples::U16(v) => v.chunks_exact(bands).map(|pixel| pixel.iter().all(|&s| f64::from(s) == value)).collect(),
        Samples::F32(v) if value == 0.0 => v.chunks_exact(bands).map(|pixel| pixel.iter().all(|&s| s == 0.0)).collect(),
        // Written with more digits than a float32 has, or for a float64 file.
        Samples::F32(v) => v.chunks_exact(bands).map(|pixel| pixel.contains(&(value as f32))).collect(),
    }
}

fn planes<T: Copy>(samples: &[T], bands: usize, value: impl Fn(T) -> f32) -> Vec<f32> {
    let mut out = Vec::with_capacity(samples.len());
    for band in 0..bands {
        out.extend(samples[band..].iter().step_by(bands).map(|&s| value(s)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 2, height: 1 };

    #[test]
    fn alpha_goes_out_and_back_in_at_its_place() {
        let four = Image::new(SIZE, 4, Samples::U8(vec![1, 2, 3, 4, 5, 6, 7, 8]));
        let three = four.clone().with_last_band_as_alpha();
        assert_eq!((three.bands, &three.samples), (3, &Samples::U8(vec![1, 2, 3, 5, 6, 7])));
        assert_eq!(three.with_alpha_as_band(), four);
    }

    #[test]
    fn a_value_that_can_be_a_measurement_is_nodata_only_in_all_bands() {
        let bytes = Image::new(SIZE, 2, Samples::U8(vec![0, 9, 0, 0]));
        assert_eq!(bytes.pixels_without_data(&[0.0]), Some(vec![false, true]));
        let floats = Image::new(SIZE, 2, Samples::F32(vec![0.0, 0.5, -9999.0, 0.5]));
        assert_eq!(floats.pixels_without_data(&[0.0]), None);
        assert_eq!(floats.pixels_without_data(&[-9999.0]), Some(vec![false, true]));
        let holes = Image::new(SIZE, 1, Samples::F32(vec![f32::NAN, 1.0]));
        assert_eq!(holes.pixels_without_data(&[]), Some(vec![true, false]));
    }

    #[test]
    fn transparent_pixels_and_those_the_file_names_hold_no_data() {
        let alpha = AlphaBand { samples: Samples::U8(vec![0, 1]), associated: false, position: 1 };
        let plain = Image::new(SIZE, 1, Samples::U8(vec![7, 7]));
        assert_eq!(plain.pixels_without_data(&[]), None);
        let transparent = Image { alpha: Some(alpha), ..plain.clone() };
        assert_eq!(transparent.pixels_without_data(&[]), Some(vec![true, false]));
        let masked = Image { nodata: Some(vec![false, true]), ..plain };
        assert_eq!(masked.pixels_without_data(&[]), Some(vec![false, true]));
    }
}
