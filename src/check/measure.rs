//! Numbers of an image: statistics of its bands, grey values, words that tell pixels apart.

use super::summary::BandStatistics;
use crate::image::{Image, Samples};

/// Percentiles that are kept.
const PERCENTILES: [f64; 3] = [0.01, 0.5, 0.99];
/// Most samples of a floating-point band that percentiles are taken from.
const MAX_SAMPLED: usize = 1 << 14;

/// Statistics of each band, without the pixels that hold no data.
pub(super) fn statistics(image: &Image) -> Vec<BandStatistics> {
    let nodata = image.nodata.as_deref();
    let bands = 0..image.bands;
    match &image.samples {
        Samples::U8(v) => bands.map(|band| counted(v, (image.bands, band), nodata, 1 << 8)).collect(),
        Samples::U16(v) => bands.map(|band| counted(v, (image.bands, band), nodata, 1 << 16)).collect(),
        Samples::F32(v) => bands.map(|band| summed(v, (image.bands, band), nodata)).collect(),
    }
}

/// The samples of one band that hold data.
fn of_band<'a, T: Copy>(
    samples: &'a [T],
    (bands, band): (usize, usize),
    nodata: Option<&'a [bool]>,
) -> impl Iterator<Item = T> + 'a {
    let samples = samples[band..].iter().step_by(bands).enumerate();
    samples.filter(move |(i, _)| nodata.is_none_or(|nodata| !nodata[*i])).map(|(_, sample)| *sample)
}

/// Of samples with few possible values, by counting each.
fn counted<T: Copy + Into<u32>>(
    samples: &[T],
    band: (usize, usize),
    nodata: Option<&[bool]>,
    values: usize,
) -> BandStatistics {
    let mut counts = vec![0u32; values];
    of_band(samples, band, nodata).for_each(|sample| counts[sample.into() as usize] += 1);
    let found = || counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let count: u64 = found().map(|(_, count)| u64::from(*count)).sum();
    let total = |of: fn(f64) -> f64| found().map(|(value, count)| of(value as f64) * f64::from(*count)).sum();
    let percentile = |share: f64| {
        let (wanted, mut seen) = ((share * count.saturating_sub(1) as f64) as u64, 0);
        let reached = found().find(|(_, count)| {
            seen += u64::from(**count);
            seen > wanted
        });
        reached.map_or(0.0, |(value, _)| value as f64)
    };
    BandStatistics {
        count,
        least: found().next().map_or(0.0, |(value, _)| value as f64),
        largest: found().next_back().map_or(0.0, |(value, _)| value as f64),
        sum: total(|value| value),
        squares: total(|value| value * value),
        percentiles: PERCENTILES.map(percentile),
    }
}

/// Of floating-point samples; those that are not finite hold no data.
fn summed(samples: &[f32], band: (usize, usize), nodata: Option<&[bool]>) -> BandStatistics {
    let mut found = BandStatistics { least: f64::INFINITY, largest: f64::NEG_INFINITY, ..BandStatistics::default() };
    let step = (samples.len() / band.0).div_ceil(MAX_SAMPLED).max(1);
    let mut sampled = Vec::with_capacity(MAX_SAMPLED);
    for (i, sample) in of_band(samples, band, nodata).filter(|sample| sample.is_finite()).enumerate() {
        let number = f64::from(sample);
        found.count += 1;
        found.sum += number;
        found.squares += number * number;
        found.least = found.least.min(number);
        found.largest = found.largest.max(number);
        if i % step == 0 {
            sampled.push(sample);
        }
    }
    if sampled.is_empty() {
        return BandStatistics::default();
    }
    sampled.sort_by(f32::total_cmp);
    let percentile = |share: f64| f64::from(sampled[(share * (sampled.len() - 1) as f64) as usize]);
    BandStatistics { percentiles: PERCENTILES.map(percentile), ..found }
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

/// A number for each pixel that is the same for the same samples.
pub(super) fn words(image: &Image) -> Vec<u32> {
    fn folded<T: Copy>(samples: &[T], bands: usize, bits: impl Fn(T) -> u32) -> Vec<u32> {
        match bands {
            1 => samples.iter().map(|sample| bits(*sample)).collect(),
            _ => samples
                .chunks_exact(bands)
                .map(|pixel| pixel.iter().fold(0u32, |word, sample| word.wrapping_mul(0x0100_0193) ^ bits(*sample)))
                .collect(),
        }
    }
    match &image.samples {
        Samples::U8(v) => folded(v, image.bands, u32::from),
        Samples::U16(v) => folded(v, image.bands, u32::from),
        Samples::F32(v) => folded(v, image.bands, f32::to_bits),
    }
}

/// Whether all bands of every pixel are equal, and how many pixels are 0 in all of them and hold data.
pub(super) fn gray_and_zeros(image: &Image) -> (bool, u64) {
    fn of<T: Copy + PartialEq + Default>(samples: &[T], bands: usize, nodata: Option<&[bool]>) -> (bool, u64) {
        let (mut gray, mut zeros) = (true, 0);
        for (i, pixel) in samples.chunks_exact(bands).enumerate() {
            gray &= pixel.iter().all(|sample| *sample == pixel[0]);
            let empty = pixel[0] == T::default() && pixel.iter().all(|sample| *sample == T::default());
            zeros += u64::from(empty && nodata.is_none_or(|nodata| !nodata[i]));
        }
        (gray, zeros)
    }
    let nodata = image.nodata.as_deref();
    match &image.samples {
        Samples::U8(v) => of(v, image.bands, nodata),
        Samples::U16(v) => of(v, image.bands, nodata),
        Samples::F32(v) => of(v, image.bands, nodata),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Size;

    #[test]
    fn statistics_leave_out_what_holds_no_data() {
        let size = Size { width: 4, height: 1 };
        let bytes = Image {
            nodata: Some(vec![false, false, false, true]),
            ..Image::new(size, 1, Samples::U8(vec![2, 4, 9, 255]))
        };
        let found = statistics(&bytes)[0];
        assert_eq!(
            (found.count, found.least, found.largest, found.sum, found.percentiles[1]),
            (3, 2.0, 9.0, 15.0, 4.0)
        );
        let floats = Image::new(size, 2, Samples::F32(vec![1.0, 5.0, f32::NAN, 6.0, 3.0, 7.0, 8.0, 8.0]));
        let found = statistics(&floats);
        assert_eq!([found[0].count, found[1].count], [3, 4]);
        assert_eq!((found[0].sum, found[1].squares), (12.0, 25.0 + 36.0 + 49.0 + 64.0));
        assert_eq!(gray(&floats)[0], 3.0);
    }
}
