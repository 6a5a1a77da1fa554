//! Images at another size, as the libraries do it that published networks were tested with, bit for bit on 8 bits.

use std::ops::Range;

use rayon::prelude::*;

use super::samples::{Image, Samples};
use crate::base::Size;

/// The library whose bilinear resizing is reproduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scaling {
    /// Pillow's `BILINEAR`: reduced images are averaged over all their pixels. Across, then down, with rounding to the
    /// type of the samples in between.
    #[default]
    Pillow,
    /// OpenCV's `INTER_LINEAR`: the four neighbours count, however far the new pixels lie apart.
    OpenCv,
}

impl Image {
    /// The image at another size, without its alpha. Pixels without data have no share in those beside them; a pixel that
    /// lies on such for more than half has no data.
    #[must_use]
    pub fn resized(self, size: Size, how: Scaling) -> Self {
        if self.size == size {
            return self;
        }
        let (from, bands) = (self.size, self.bands);
        let (samples, nodata) = match self.nodata {
            None => (resized(self.samples, bands, (from, size), how), None),
            Some(nodata) => {
                let (samples, nodata) = resized_around(self.samples, &nodata, bands, (from, size), how);
                (samples, Some(nodata))
            }
        };
        Self { size, bands, samples, sample_type: self.sample_type, alpha: None, nodata }
    }
}

fn resized(samples: Samples, bands: usize, (from, to): (Size, Size), how: Scaling) -> Samples {
    match (samples, how) {
        (Samples::U8(v), Scaling::Pillow) => Samples::U8(pillow(v, bands, from, to)),
        (Samples::U16(v), Scaling::Pillow) => Samples::U16(pillow(v, bands, from, to)),
        (Samples::F32(v), how) => Samples::F32(resize_floats(v, bands, (from, to), how)),
        (Samples::U8(v), Scaling::OpenCv) => Samples::U8(opencv_bytes(&v, bands, from, to)),
        (Samples::U16(v), Scaling::OpenCv) => {
            let floats: Vec<f32> = v.into_iter().map(f32::from).collect();
            let whole = |value: f32| value.round_ties_even() as u16;
            Samples::U16(opencv_floats(&floats, bands, from, to).into_iter().map(whole).collect())
        }
    }
}

/// The same without the pixels that `nodata` marks, and the marks: sums over the others are divided by the share of these.
fn resized_around(
    samples: Samples,
    nodata: &[bool],
    bands: usize,
    sizes: (Size, Size),
    how: Scaling,
) -> (Samples, Vec<bool>) {
    let known: Vec<f32> = nodata.iter().map(|nodata| if *nodata { 0.0 } else { 1.0 }).collect();
    let shares = resize_floats(known, 1, sizes, how);
    let mean = |samples: Vec<f32>| {
        let kept = samples.into_iter().enumerate().map(|(i, sample)| if nodata[i / bands] { 0.0 } else { sample });
        let sums = resize_floats(kept.collect(), bands, sizes, how);
        sums.into_iter().enumerate().map(|(i, sum)| sum / shares[i / bands].max(f32::MIN_POSITIVE)).collect::<Vec<_>>()
    };
    let samples = match samples {
        Samples::U8(v) => {
            let means = mean(v.into_iter().map(f32::from).collect());
            Samples::U8(means.into_iter().map(|value| value.round_ties_even() as u8).collect())
        }
        Samples::U16(v) => {
            let means = mean(v.into_iter().map(f32::from).collect());
            Samples::U16(means.into_iter().map(|value| value.round_ties_even() as u16).collect())
        }
        Samples::F32(v) => Samples::F32(mean(v)),
    };
    (samples, shares.into_iter().map(|share| share < 0.5).collect())
}

/// Floats, interleaved by pixel, from one size to another.
pub fn resize_floats(samples: Vec<f32>, bands: usize, (from, to): (Size, Size), how: Scaling) -> Vec<f32> {
    match how {
        Scaling::Pillow => pillow(samples, bands, from, to),
        Scaling::OpenCv => opencv_floats(&samples, bands, from, to),
    }
}

/// A sample in Pillow's arithmetic: weighted sums of bytes in whole numbers of 22 binary places, of others in float64.
trait Sample: Copy + Default + Send + Sync {
    type Weight: Copy + Send + Sync;
    type Sum: Copy;
    const START: Self::Sum;
    fn weight(weight: f64) -> Self::Weight;
    fn add(self, sum: Self::Sum, weight: Self::Weight) -> Self::Sum;
    fn round(sum: Self::Sum) -> Self;
}

const PLACES: u32 = 22;

impl Sample for u8 {
    type Weight = i32;
    type Sum = i32;
    const START: i32 = 1 << (PLACES - 1);

    fn weight(weight: f64) -> i32 {
        (weight * f64::from(1 << PLACES) + 0.5) as i32
    }

    fn add(self, sum: i32, weight: i32) -> i32 {
        sum + i32::from(self) * weight
    }

    fn round(sum: i32) -> Self {
        (sum >> PLACES).clamp(0, 255) as Self
    }
}

macro_rules! float_sums {
    ($type:ty, $start:literal) => {
        impl Sample for $type {
            type Weight = f64;
            type Sum = f64;
            const START: f64 = $start;

            fn weight(weight: f64) -> f64 {
                weight
            }

            fn add(self, sum: f64, weight: f64) -> f64 {
                sum + f64::from(self) * weight
            }

            fn round(sum: f64) -> Self {
                sum as Self
            }
        }
    };
}

float_sums!(u16, 0.5);
float_sums!(f32, 0.0);

/// For every new position, the old ones that it is mixed from, and their weights.
type Mixture<W> = Vec<(Range<usize>, Vec<W>)>;

/// Pillow's triangle filter, as wide as the pixels that fall together.
fn triangle<T: Sample>(from: usize, to: usize) -> Mixture<T::Weight> {
    let scale = from as f64 / to as f64;
    let support = scale.max(1.0);
    let position = |i: usize| {
        let center = (i as f64 + 0.5) * scale;
        let first = (center - support + 0.5).max(0.0) as usize;
        let last = ((center + support + 0.5) as usize).min(from);
        let weight = |i: usize| (1.0 - ((i as f64 - center + 0.5) / support).abs()).max(0.0);
        let weights: Vec<f64> = (first..last).map(weight).collect();
        let total: f64 = weights.iter().sum();
        (first..last, weights.into_iter().map(|weight| T::weight(weight / total)).collect())
    };
    (0..to).map(position).collect()
}

fn pillow<T: Sample>(samples: Vec<T>, bands: usize, from: Size, to: Size) -> Vec<T> {
    let across = if from.width == to.width {
        samples
    } else {
        let mixture = triangle::<T>(from.width, to.width);
        let mut out = vec![T::default(); to.width * from.height * bands];
        let rows = out.par_chunks_exact_mut(to.width * bands).zip(samples.par_chunks_exact(from.width * bands));
        rows.for_each(|(out, row)| {
            for (pixel, (range, weights)) in out.chunks_exact_mut(bands).zip(&mixture) {
                for (band, value) in pixel.iter_mut().enumerate() {
                    let values = row[range.start * bands + band..].iter().step_by(bands);
                    *value = T::round(weights.iter().zip(values).fold(T::START, |sum, (w, v)| v.add(sum, *w)));
                }
            }
        });
        out
    };
    if from.height == to.height {
        return across;
    }
    let row_length = to.width * bands;
    let mut out = vec![T::default(); row_length * to.height];
    out.par_chunks_exact_mut(row_length).zip(triangle::<T>(from.height, to.height)).for_each_init(
        || vec![T::START; row_length],
        |sums, (out, (range, weights))| {
            sums.fill(T::START);
            for (row, weight) in across[range.start * row_length..].chunks_exact(row_length).zip(weights) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum = value.add(*sum, weight));
            }
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = T::round(*sum));
        },
    );
    out
}

/// The two old positions of every new one, and the second's share. Across, what lies beyond an edge is the edge.
fn neighbours(from: usize, to: usize, clamp: bool) -> Vec<([usize; 2], f32)> {
    let scale = 1.0 / (to as f64 / from as f64);
    let last = from as i64 - 1;
    let neighbour = |i: usize| {
        let position = ((i as f64 + 0.5) * scale - 0.5) as f32;
        let first = position.floor();
        let share = position - first;
        let first = first as i64;
        let share = if clamp && (first < 0 || first >= last) { 0.0 } else { share };
        ([first, first + 1].map(|i| i.clamp(0, last) as usize), share)
    };
    (0..to).map(neighbour).collect()
}

/// Whether both sides are halved, which OpenCV does by averaging.
fn is_half(from: Size, to: Size) -> bool {
    (from.width, from.height) == (2 * to.width, 2 * to.height)
}

/// The four pixels that fall together, band by band.
fn quarters<T: Copy>(samples: &[T], bands: usize, from: Size) -> impl Fn(usize, usize, usize) -> [T; 4] {
    move |x, y, band| {
        let at = |dx, dy| samples[((2 * y + dy) * from.width + 2 * x + dx) * bands + band];
        [at(0, 0), at(1, 0), at(0, 1), at(1, 1)]
    }
}

/// Weights in 11 binary places; the sums across lose 4 of them, the products down 16, the total the last 2.
fn opencv_bytes(samples: &[u8], bands: usize, from: Size, to: Size) -> Vec<u8> {
    let mut out = vec![0; to.width * to.height * bands];
    let rows = out.par_chunks_exact_mut(to.width * bands).enumerate();
    if is_half(from, to) {
        let quarters = quarters(samples, bands, from);
        rows.for_each(|(y, row)| {
            for (i, value) in row.iter_mut().enumerate() {
                let sum: u16 = quarters(i / bands, y, i % bands).into_iter().map(u16::from).sum();
                *value = ((sum + 2) >> 2) as u8;
            }
        });
        return out;
    }
    let fixed = |share: f32| [(1.0 - share) * 2048.0, share * 2048.0].map(|weight| weight.round_ties_even() as i32);
    let columns: Vec<_> =
        neighbours(from.width, to.width, true).into_iter().map(|(at, share)| (at, fixed(share))).collect();
    let lines = neighbours(from.height, to.height, false);
    rows.for_each(|(y, row)| {
        let (at, share) = lines[y];
        let weights = fixed(share);
        for (pixel, (columns, [left, right])) in row.chunks_exact_mut(bands).zip(&columns) {
            for (band, value) in pixel.iter_mut().enumerate() {
                let down = |i: usize| {
                    let sample = |x: usize| i32::from(samples[(at[i] * from.width + x) * bands + band]);
                    let across = sample(columns[0]) * left + sample(columns[1]) * right;
                    (weights[i] * (across >> 4)) >> 16
                };
                *value = ((down(0) + down(1) + 2) >> 2).clamp(0, 255) as u8;
            }
        }
    });
    out
}

fn opencv_floats(samples: &[f32], bands: usize, from: Size, to: Size) -> Vec<f32> {
    let mut out = vec![0.0; to.width * to.height * bands];
    let rows = out.par_chunks_exact_mut(to.width * bands).enumerate();
    if is_half(from, to) {
        let quarters = quarters(samples, bands, from);
        rows.for_each(|(y, row)| {
            for (i, value) in row.iter_mut().enumerate() {
                let [a, b, c, d] = quarters(i / bands, y, i % bands);
                *value = if bands == 1 { ((a + b) + (c + d)) * 0.25 } else { (a + b + c + d) * 0.25 };
            }
        });
        return out;
    }
    let columns = neighbours(from.width, to.width, true);
    let lines = neighbours(from.height, to.height, false);
    rows.for_each(|(y, row)| {
        let (at, down) = lines[y];
        for (pixel, (columns, across)) in row.chunks_exact_mut(bands).zip(&columns) {
            for (band, value) in pixel.iter_mut().enumerate() {
                let line = |i: usize| {
                    let sample = |x: usize| samples[(at[i] * from.width + x) * bands + band];
                    sample(columns[0]) * (1.0 - across) + sample(columns[1]) * across
                };
                *value = line(0) * (1.0 - down) + line(1) * down;
            }
        }
    });
    out
}

/// A plane at another size, by the nearest pixel, where pixels are squares: position `i` lies at `i + 1/2`.
pub(crate) fn nearest<T: Copy>(plane: &[T], from: Size, to: Size) -> Vec<T> {
    let old = |i: usize, from: usize, to: usize| (2 * i + 1) * from / (2 * to);
    let columns: Vec<usize> = (0..to.width).map(|x| old(x, from.width, to.width)).collect();
    let mut out = Vec::with_capacity(to.width * to.height);
    for y in 0..to.height {
        let row = &plane[old(y, from.height, to.height) * from.width..][..from.width];
        out.extend(columns.iter().map(|&x| row[x]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_without_data_have_no_share_in_their_neighbours() {
        let from = Size { width: 4, height: 1 };
        let to = Size { width: 2, height: 1 };
        let scene = Image {
            nodata: Some(vec![false, false, true, true]),
            ..Image::new(from, 1, Samples::F32(vec![2.0, 2.0, -9999.0, f32::NAN]))
        };
        for how in [Scaling::Pillow, Scaling::OpenCv] {
            let small = scene.clone().resized(to, how);
            let Samples::F32(values) = small.samples else { panic!("floats stay floats") };
            assert!((values[0] - 2.0).abs() < 1e-6, "{how:?}: {values:?}");
            assert_eq!(small.nodata, Some(vec![false, true]), "{how:?}");
        }
    }

    #[test]
    fn the_nearest_pixel_is_taken() {
        let size = |width, height| Size { width, height };
        assert_eq!(nearest(&[1, 2, 3, 4], size(2, 2), size(4, 2)), [1, 1, 2, 2, 3, 3, 4, 4]);
        assert_eq!(nearest(&[1, 2, 3, 4, 5, 6, 7, 8, 9], size(3, 3), size(1, 1)), [5]);
    }
}
