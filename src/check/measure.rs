//! Statistics of an image: of its bands, and of grey and zero pixels.

use super::summary::BandStatistics;
use crate::base::vectorised;
use crate::image::{Image, Samples};

/// Percentiles that are computed.
const PERCENTILES: [f64; 3] = [0.01, 0.5, 0.99];
/// Maximum number of samples used for the percentiles of a floating-point band, and of an 8-bit band.
const MAX_SAMPLED: usize = 1 << 14;
const MAX_SAMPLED_BYTES: usize = 1 << 13;
/// Number of lanes in which bytes are summed, a whole number of pixels of 1, 2, 3, 4, 6 or 8 bands; and how many bytes
/// per lane are summed in 32 bits.
const LANES: usize = 48;
const ADDED: usize = 1 << 16;

/// Statistics of each band, without the pixels that hold no data.
pub(super) fn statistics(image: &Image) -> Vec<BandStatistics> {
    let nodata = image.nodata.as_deref();
    let bands = 0..image.bands;
    match &image.samples {
        Samples::U8(v) if nodata.is_none() && LANES.is_multiple_of(image.bands) => {
            let total = add_up(v);
            bands.map(|band| total.band(v, (image.bands, band))).collect()
        }
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

/// Statistics of samples with few possible values, from their histogram.
fn counted<T: Copy + Into<u32>>(
    samples: &[T],
    band: (usize, usize),
    nodata: Option<&[bool]>,
    values: usize,
) -> BandStatistics {
    let mut counts = vec![0u32; values];
    of_band(samples, band, nodata).for_each(|sample| counts[sample.into() as usize] += 1);
    let found = || counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let total = |of: fn(f64) -> f64| found().map(|(value, count)| of(value as f64) * f64::from(*count)).sum();
    BandStatistics {
        count: found().map(|(_, count)| u64::from(*count)).sum(),
        least: found().next().map_or(0.0, |(value, _)| value as f64),
        largest: found().next_back().map_or(0.0, |(value, _)| value as f64),
        sum: total(|value| value),
        squares: total(|value| value * value),
        percentiles: percentiles(&counts),
    }
}

/// The percentiles of a histogram.
fn percentiles(counts: &[u32]) -> [f64; 3] {
    let count: u64 = counts.iter().map(|count| u64::from(*count)).sum();
    PERCENTILES.map(|share| {
        let (wanted, mut seen) = ((share * count.saturating_sub(1) as f64) as u64, 0);
        let reached = counts.iter().position(|count| {
            seen += u64::from(*count);
            seen > wanted
        });
        reached.unwrap_or(0) as f64
    })
}

/// Statistics of interleaved bytes, per lane.
struct Total {
    least: [u8; LANES],
    largest: [u8; LANES],
    sums: [u64; LANES],
    squares: [u64; LANES],
}

impl Total {
    /// The statistics of one band; percentiles are estimated from a sample of the pixels.
    fn band(&self, samples: &[u8], (bands, band): (usize, usize)) -> BandStatistics {
        let count = samples.len() / bands;
        if count == 0 {
            return BandStatistics::default();
        }
        // Odd, so that the samples are not confined to a few columns.
        let step = count.div_ceil(MAX_SAMPLED_BYTES) | 1;
        let mut counts = vec![0; 1 << 8];
        samples[band..].iter().step_by(step * bands).for_each(|sample| counts[usize::from(*sample)] += 1);
        let add = |sums: &[u64; LANES]| sums[band..].iter().step_by(bands).sum::<u64>() as f64;
        let of = |bytes: &[u8; LANES]| bytes[band..].iter().step_by(bands).copied().collect::<Vec<u8>>();
        BandStatistics {
            count: count as u64,
            least: of(&self.least).into_iter().min().unwrap_or_default().into(),
            largest: of(&self.largest).into_iter().max().unwrap_or_default().into(),
            sum: add(&self.sums),
            squares: add(&self.squares),
            percentiles: percentiles(&counts),
        }
    }
}

vectorised! {
    /// Adds bytes up.
    fn add_up(samples: &[u8]) -> Total {
        let mut found =
            Total { least: [u8::MAX; LANES], largest: [0; LANES], sums: [0; LANES], squares: [0; LANES] };
        let (chunks, rest) = samples.as_chunks::<LANES>();
        for chunks in chunks.chunks(ADDED) {
            let (mut sums, mut squares) = ([0u32; LANES], [0u32; LANES]);
            let (mut least, mut largest) = (found.least, found.largest);
            for chunk in chunks {
                for i in 0..LANES {
                    least[i] = least[i].min(chunk[i]);
                    largest[i] = largest[i].max(chunk[i]);
                    sums[i] += u32::from(chunk[i]);
                    squares[i] += u32::from(u16::from(chunk[i]) * u16::from(chunk[i]));
                }
            }
            (found.least, found.largest) = (least, largest);
            found.sums.iter_mut().zip(sums).for_each(|(all, sum)| *all += u64::from(sum));
            found.squares.iter_mut().zip(squares).for_each(|(all, sum)| *all += u64::from(sum));
        }
        for (i, sample) in rest.iter().enumerate() {
            found.least[i] = found.least[i].min(*sample);
            found.largest[i] = found.largest[i].max(*sample);
            found.sums[i] += u64::from(*sample);
            found.squares[i] += u64::from(*sample).pow(2);
        }
        found
    }
}

/// Statistics of floating-point samples; non-finite samples are nodata.
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

/// Whether all bands of every pixel are equal.
pub(super) fn is_gray(image: &Image) -> bool {
    fn of<T: PartialEq>(samples: &[T], bands: usize) -> bool {
        samples.chunks_exact(bands).all(|pixel| pixel.iter().all(|sample| *sample == pixel[0]))
    }
    match &image.samples {
        Samples::U8(v) => of(v, image.bands),
        Samples::U16(v) => of(v, image.bands),
        Samples::F32(v) => of(v, image.bands),
    }
}

/// How many pixels are 0 in all bands and hold data; `statistics` are those of the image.
pub(super) fn zeros(image: &Image, statistics: &[BandStatistics]) -> u64 {
    fn of<T: PartialEq + Default>(samples: &[T], bands: usize, nodata: Option<&[bool]>) -> u64 {
        let empty = |pixel: &[T]| pixel.iter().all(|sample| *sample == T::default());
        let pixels = samples.chunks_exact(bands).enumerate();
        pixels.filter(|(i, pixel)| empty(pixel) && nodata.is_none_or(|nodata| !nodata[*i])).count() as u64
    }
    if statistics.iter().any(|band| band.least > 0.0 || band.largest < 0.0) {
        return 0;
    }
    let nodata = image.nodata.as_deref();
    match (&image.samples, image.bands, nodata) {
        (Samples::U8(v), 3, None) => black(v.as_chunks().0),
        (Samples::U8(v), bands, _) => of(v, bands, nodata),
        (Samples::U16(v), bands, _) => of(v, bands, nodata),
        (Samples::F32(v), bands, _) => of(v, bands, nodata),
    }
}

vectorised! {
    /// The number of black pixels, without a branch for each.
    fn black(pixels: &[[u8; 3]]) -> u64 {
        let parts = pixels.chunks(1 << 16);
        parts.map(|part| u64::from(part.iter().map(|[r, g, b]| u32::from(r | g | b == 0)).sum::<u32>())).sum()
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
        assert_eq!(crate::check::gray::gray(&floats)[0], 3.0);
    }

    #[test]
    fn bytes_are_added_up_as_they_are_counted() {
        let size = Size { width: 37, height: 53 };
        let samples: Vec<u8> = (0..37 * 53 * 3).map(|i| (i * i % 251) as u8).collect();
        let image = Image::new(size, 3, Samples::U8(samples.clone()));
        let one_by_one = (0..3).map(|band| counted(&samples, (3, band), None, 256)).collect::<Vec<_>>();
        assert_eq!(statistics(&image), one_by_one);
        let black = samples.chunks_exact(3).filter(|pixel| *pixel == [0; 3]).count() as u64;
        assert_eq!(zeros(&image, &one_by_one), black);
    }
}
