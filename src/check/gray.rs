//! 8-bit greyscale images, from which thumbnails, landmarks and image edges are computed.

use crate::base::Size;
use crate::base::vectorised;
use crate::image::{Image, Samples};

/// Maximum number of pixels sampled for the range of non-8-bit data, and the share clipped at either end.
const MAX_SAMPLED: usize = 1 << 14;
const OUTSIDE: f64 = 0.01;
/// Ranges below this share of the largest absolute value count as constant.
const MIN_RANGE: f32 = 1e-4;

/// The mean of the bands of each pixel, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gray {
    /// 0 where there is no data.
    pub(super) values: Vec<u8>,
    pub(super) size: Size,
    /// Pixels without data, if there are any.
    pub(super) gaps: Option<Vec<bool>>,
}

impl Gray {
    /// 8-bit samples keep their scale; the range of other types, without outliers, is stretched to 8 bits.
    pub(super) fn of(image: &Image) -> Self {
        let Samples::U8(samples) = &image.samples else { return Self::scaled(&gray(image), image.size) };
        let mut values = vec![0; image.size.width * image.size.height];
        average(samples, image.bands, &mut values);
        for (value, _) in values.iter_mut().zip(image.nodata.iter().flatten()).filter(|(_, nodata)| **nodata) {
            *value = 0;
        }
        Self { values, size: image.size, gaps: image.nodata.clone() }
    }

    /// From values of any range; non-finite values are nodata.
    pub(super) fn scaled(numbers: &[f32], size: Size) -> Self {
        let gaps = numbers.iter().any(|number| !number.is_finite());
        let gaps = gaps.then(|| numbers.iter().map(|number| !number.is_finite()).collect());
        let (low, high) = range(numbers);
        let shows = high - low > MIN_RANGE * low.abs().max(high.abs());
        let scale = if shows { f32::from(u8::MAX) / (high - low) } else { 0.0 };
        // The cast saturates to 8 bits, and turns NaN into 0.
        let values = numbers.iter().map(|number| ((number - low) * scale + 0.5) as u8).collect();
        Self { values, size, gaps }
    }

    pub(super) fn row(&self, y: usize) -> &[u8] {
        &self.values[y * self.size.width..(y + 1) * self.size.width]
    }
}

/// The range of the values without outliers; the full range if that is empty.
fn range(numbers: &[f32]) -> (f32, f32) {
    let step = numbers.len().div_ceil(MAX_SAMPLED).max(1) | 1;
    let mut sampled: Vec<f32> = numbers.iter().step_by(step).copied().filter(|number| number.is_finite()).collect();
    sampled.sort_unstable_by(f32::total_cmp);
    let Some(last) = sampled.len().checked_sub(1) else { return (0.0, 0.0) };
    let outside = (OUTSIDE * last as f64) as usize;
    if sampled[outside] < sampled[last - outside] {
        return (sampled[outside], sampled[last - outside]);
    }
    let finite = numbers.iter().filter(|number| number.is_finite());
    finite.fold((sampled[0], sampled[0]), |(low, high), number| (low.min(*number), high.max(*number)))
}

vectorised! {
    fn average(samples: &[u8], bands: usize, out: &mut [u8]) -> () {
        match bands {
            1 => out.copy_from_slice(samples),
            3 => {
                for (out, [r, g, b]) in out.iter_mut().zip(samples.as_chunks::<3>().0) {
                    let sum = u16::from(*r) + u16::from(*g) + u16::from(*b);
                    // A third, rounded.
                    *out = ((u32::from(sum) * 21_846 + 32_768) >> 16) as u8;
                }
            }
            bands => {
                for (out, pixel) in out.iter_mut().zip(samples.chunks_exact(bands)) {
                    let sum: usize = pixel.iter().map(|sample| usize::from(*sample)).sum();
                    *out = ((sum + bands / 2) / bands) as u8;
                }
            }
        }
    }
}

/// The mean of the bands of each pixel, as stored; NaN where there is no data.
pub(super) fn gray(image: &Image) -> Vec<f32> {
    fn mean<T: Copy + Into<f32>>(samples: &[T], bands: usize) -> Vec<f32> {
        if bands == 1 {
            return samples.iter().map(|sample| (*sample).into()).collect();
        }
        let pixel = |pixel: &[T]| pixel.iter().map(|sample| (*sample).into()).sum::<f32>() / bands as f32;
        samples.chunks_exact(bands).map(pixel).collect()
    }
    let mut gray = match &image.samples {
        Samples::U8(v) => mean(v, image.bands),
        Samples::U16(v) => mean(v, image.bands),
        Samples::F32(v) => mean(v, image.bands),
    };
    let without = image.nodata.iter().flatten();
    gray.iter_mut().zip(without).filter(|(_, nodata)| **nodata).for_each(|(gray, _)| *gray = f32::NAN);
    gray
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_averaged_and_other_ranges_are_spread() {
        let size = Size { width: 3, height: 1 };
        let color = Image::new(size, 3, Samples::U8(vec![255, 255, 255, 0, 1, 1, 10, 20, 31]));
        assert_eq!(Gray::of(&color).values, [255, 1, 20]);
        let deep = Image::new(size, 1, Samples::U16(vec![1000, 1500, 2000]));
        assert_eq!(Gray::of(&deep).values, [0, 128, 255]);
        let gaps = Gray::scaled(&[f32::NAN, -2.0, 2.0], size);
        assert_eq!((gaps.values, gaps.gaps), (vec![0, 0, 255], Some(vec![true, false, false])));
        assert_eq!(Gray::scaled(&[7.0; 3], size).values, [0; 3]);
    }
}
