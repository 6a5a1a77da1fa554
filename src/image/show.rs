//! Pictures of any depth as 8-bit colours, to look at.

use image::RgbImage;

use super::{Raster, Samples};

/// Percentiles that become black and white where samples have no fixed range.
const STRETCH: (f64, f64) = (0.02, 0.98);
/// What a picture with a single value is shown as.
const MID_GREY: u8 = 128;

impl Raster {
    /// The picture as 8-bit RGB. 8-bit samples are taken as they are; 16-bit and float samples are stretched between
    /// their 2nd and 98th percentile, over all bands that are shown. With 2 bands the first is shown, with more than 3
    /// the first three. NaN is black.
    pub fn to_rgb(self) -> RgbImage {
        let (width, height) = (self.size.width as u32, self.size.height as u32);
        let shown = if self.bands < 3 { 1 } else { 3 };
        let bytes = match self.samples {
            Samples::U8(v) if self.bands == 3 => v,
            Samples::U8(v) => interleave(&v, self.bands, shown, |s| s),
            Samples::U16(v) => {
                let (low, high) = limits_u16(&v, self.bands, shown);
                let table: Vec<u8> = (0..=u16::MAX).map(|s| stretched(f32::from(s), low, high)).collect();
                interleave(&v, self.bands, shown, |s| table[usize::from(s)])
            }
            Samples::F32(v) => {
                let (low, high) = limits_f32(&v, self.bands, shown);
                interleave(&v, self.bands, shown, |s| stretched(s, low, high))
            }
        };
        RgbImage::from_raw(width, height, bytes).unwrap_or_else(|| RgbImage::new(width, height))
    }
}

/// The first `shown` of `bands` samples a pixel (1 or 3) as three.
fn interleave<T: Copy>(samples: &[T], bands: usize, shown: usize, byte: impl Fn(T) -> u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(samples.len() / bands * 3);
    for pixel in samples.chunks_exact(bands) {
        match shown {
            1 => out.extend([byte(pixel[0]); 3]),
            _ => out.extend([byte(pixel[0]), byte(pixel[1]), byte(pixel[2])]),
        }
    }
    out
}

/// NaN becomes 0, the infinities the ends.
fn stretched(value: f32, low: f32, high: f32) -> u8 {
    if high > low { (255.0 * (value - low) / (high - low)).round() as u8 } else { MID_GREY }
}

fn limits_u16(samples: &[u16], bands: usize, shown: usize) -> (f32, f32) {
    let mut counts = vec![0usize; usize::from(u16::MAX) + 1];
    for pixel in samples.chunks_exact(bands) {
        for &sample in &pixel[..shown] {
            counts[usize::from(sample)] += 1;
        }
    }
    let last = samples.len() / bands * shown - 1;
    let at = |share: f64| {
        let rank = (share * last as f64).round() as usize;
        let mut below = 0;
        let passed = |&count: &usize| {
            below += count;
            below > rank
        };
        counts.iter().position(passed).unwrap_or(0) as f32
    };
    whole_range_if_equal((at(STRETCH.0), at(STRETCH.1)), (at(0.0), at(1.0)))
}

fn limits_f32(samples: &[f32], bands: usize, shown: usize) -> (f32, f32) {
    let mut finite: Vec<f32> = samples
        .chunks_exact(bands)
        .flat_map(|pixel| pixel[..shown].iter().copied())
        .filter(|sample| sample.is_finite())
        .collect();
    let Some(last) = finite.len().checked_sub(1) else { return (0.0, 0.0) };
    let mut at = |share: f64| *finite.select_nth_unstable_by((share * last as f64).round() as usize, f32::total_cmp).1;
    whole_range_if_equal((at(STRETCH.0), at(STRETCH.1)), (at(0.0), at(1.0)))
}

/// A few bright spots on an even ground would vanish between equal percentiles.
fn whole_range_if_equal(inner: (f32, f32), whole: (f32, f32)) -> (f32, f32) {
    if inner.0 < inner.1 { inner } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Size;

    fn shown(bands: usize, samples: Samples) -> Vec<u8> {
        let size = Size { width: samples.len() / bands, height: 1 };
        Raster { size, bands, samples }.to_rgb().into_raw()
    }

    #[test]
    fn eight_bits_stay_as_they_are() {
        assert_eq!(shown(1, Samples::U8(vec![1, 200])), [1, 1, 1, 200, 200, 200]);
        assert_eq!(shown(3, Samples::U8(vec![1, 2, 3])), [1, 2, 3]);
        assert_eq!(shown(2, Samples::U8(vec![9, 2])), [9, 9, 9]);
        assert_eq!(shown(4, Samples::U8(vec![1, 2, 3, 4])), [1, 2, 3]);
    }

    #[test]
    fn sixteen_bits_are_stretched_between_percentiles() {
        // 1000..=1100 once each: the percentiles are 1002 and 1098.
        let grey = shown(1, Samples::U16((1000..=1100).collect()));
        assert_eq!([grey[0], grey[6], grey[9], grey[3 * 50], grey[3 * 98], grey[300]], [0, 0, 3, 128, 255, 255]);
    }

    #[test]
    fn floats_that_are_no_numbers_do_not_count() {
        let mut samples: Vec<f32> = (0..=100).map(|v| v as f32 / 100.0).collect();
        samples.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        let grey = shown(1, Samples::F32(samples));
        assert_eq!([grey[0], grey[150], grey[300], grey[303], grey[306], grey[309]], [0, 127, 255, 0, 255, 0]);
    }

    #[test]
    fn an_even_picture_is_mid_grey_and_a_spot_on_it_is_seen() {
        assert_eq!(shown(1, Samples::U16(vec![7; 4])), [128; 12]);
        assert_eq!(shown(1, Samples::F32(vec![f32::NAN; 2])), [128; 6]);
        let mut spot = vec![0; 100];
        spot[3] = 40;
        assert_eq!(shown(1, Samples::U16(spot))[9..12], [255; 3]);
    }
}
