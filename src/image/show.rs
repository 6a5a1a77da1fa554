//! Images of any depth as 8-bit colours, for display.

use image::RgbImage;

use super::samples::{Image, Samples};

/// Percentiles that become black and white where samples have no fixed range.
const STRETCH: (f64, f64) = (0.02, 0.98);
/// What an image with a single value is shown as.
const MID_GREY: u8 = 128;

/// What pixels without data are shown as: the paper.
const BLANK: u8 = 255;

impl Image {
    /// The image as 8-bit RGB. 8-bit samples are taken as they are; others are stretched between their 2nd and 98th
    /// percentile, over all bands that are shown. With 2 bands the first is shown, with more than 3 the first three. Pixels
    /// without data, as the file says or as a value of `nodata` says, are blank and take no part in stretching.
    pub fn to_rgb(self, nodata: &[f64]) -> RgbImage {
        let (width, height) = (self.size.width as u32, self.size.height as u32);
        let shown = if self.bands < 3 { 1 } else { 3 };
        let empty = self.pixels_without_data(nodata);
        let with_data = |i: usize| empty.as_ref().is_none_or(|empty| !empty[i]);
        let mut bytes = match self.samples {
            Samples::U8(v) if self.bands == 3 => v,
            Samples::U8(v) => interleave(&v, self.bands, shown, |s| s),
            Samples::U16(v) => {
                let (low, high) = limits_u16(&v, self.bands, shown, with_data);
                let table: Vec<u8> = (0..=u16::MAX).map(|s| stretched(f32::from(s), low, high)).collect();
                interleave(&v, self.bands, shown, |s| table[usize::from(s)])
            }
            Samples::F32(v) => {
                let (low, high) = limits_f32(&v, self.bands, shown, with_data);
                interleave(&v, self.bands, shown, |s| stretched(s, low, high))
            }
        };
        for (pixel, _) in
            bytes.as_chunks_mut::<3>().0.iter_mut().zip(empty.iter().flatten()).filter(|(_, empty)| **empty)
        {
            *pixel = [BLANK; 3];
        }
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

fn stretched(value: f32, low: f32, high: f32) -> u8 {
    if high > low { (255.0 * (value - low) / (high - low)).round() as u8 } else { MID_GREY }
}

fn limits_u16(samples: &[u16], bands: usize, shown: usize, with_data: impl Fn(usize) -> bool) -> (f32, f32) {
    let mut counts = vec![0usize; usize::from(u16::MAX) + 1];
    for (_, pixel) in samples.chunks_exact(bands).enumerate().filter(|(i, _)| with_data(*i)) {
        for &sample in &pixel[..shown] {
            counts[usize::from(sample)] += 1;
        }
    }
    let Some(last) = counts.iter().sum::<usize>().checked_sub(1) else { return (0.0, 0.0) };
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

fn limits_f32(samples: &[f32], bands: usize, shown: usize, with_data: impl Fn(usize) -> bool) -> (f32, f32) {
    let pixels = samples.chunks_exact(bands).enumerate().filter(|(i, _)| with_data(*i));
    let mut finite: Vec<f32> =
        pixels.flat_map(|(_, pixel)| pixel[..shown].iter().copied()).filter(|sample| sample.is_finite()).collect();
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
    use crate::base::Size;

    fn shown(bands: usize, samples: Samples) -> Vec<u8> {
        Image::new(Size { width: samples.len() / bands, height: 1 }, bands, samples).to_rgb(&[]).into_raw()
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
    fn pixels_without_data_are_blank_and_do_not_count() {
        let mut samples: Vec<f32> = (0..=100).map(|v| v as f32 / 100.0).collect();
        samples.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        let grey = shown(1, Samples::F32(samples));
        assert_eq!([grey[0], grey[150], grey[300], grey[303], grey[306], grey[309]], [0, 127, 255, 255, 255, 255]);
        let size = Size { width: 101 + 60, height: 1 };
        let samples = Samples::F32((0..=100).map(|v| v as f32).chain([-9999.0; 60]).collect());
        let scene = Image::new(size, 1, samples).to_rgb(&[-9999.0]).into_raw();
        assert_eq!([scene[0], scene[150], scene[300], scene[303]], [0, 128, 255, 255]);
    }

    #[test]
    fn an_even_image_is_mid_grey_and_a_spot_on_it_is_seen() {
        assert_eq!(shown(1, Samples::U16(vec![7; 4])), [128; 12]);
        assert_eq!(shown(1, Samples::F32(vec![f32::NAN; 2])), [255; 6]);
        let mut spot = vec![0; 100];
        spot[3] = 40;
        assert_eq!(shown(1, Samples::U16(spot))[9..12], [255; 3]);
    }
}
