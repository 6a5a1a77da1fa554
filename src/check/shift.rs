//! Detects shifted labels, by the contrast of the image along the edges of the labels, for all shifts up to a maximum.

use super::gray::Gray;
use super::marked::each_marked;
use crate::base::Size;
use crate::base::label_map::{IGNORE, LabelMap};
use crate::base::vectorised;

/// Largest shift that is searched, in pixels.
pub(super) const REACH: usize = 16;
/// Shifts along one axis.
pub(super) const SIDE: usize = 2 * REACH + 1;
/// Minimum and maximum number of pixels used along the edges of labels.
const POINTS: [usize; 2] = [100, 1024];
/// Radius, in pixels of shift, of what belongs to a peak.
const PEAK: i32 = 4;
/// Contrasts are clipped at this multiple of their mean.
const MAX_CONTRAST: f64 = 4.0;
/// Number of points whose 8-bit contrasts are summed in 16 bits.
const ADDED: usize = 256;
/// One standard deviation of contrast, in the fixed-point sums of profiles.
const UNIT: f32 = 65536.0;

/// The mean contrast in an image at the edges of its labels, shifted by every vector of up to [`REACH`] pixels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Profile(Vec<f32>);

/// Where the contrast is highest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Peak {
    /// The shift, in columns and rows, by which the labels would have to be moved.
    pub(super) shift: (i32, i32),
    /// The contrast there, in standard deviations of the image's contrast.
    pub(super) contrast: f32,
    /// The contrast without a shift.
    pub(super) unshifted: f32,
    /// The standard deviation of the contrasts beyond the peak, and the highest of them.
    pub(super) noise: f32,
    pub(super) beyond: f32,
}

/// The sum of the profiles of many images, in integers so that it does not depend on their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProfileSum {
    count: i64,
    /// For each shift, the sums of the contrast, of its gain over the contrast without a shift, and of the gain
    /// squared.
    contrast: Vec<i64>,
    gain: Vec<i64>,
    squares: Vec<i128>,
}

/// The peak of the mean of many profiles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct CommonPeak {
    pub(super) peak: Peak,
    /// How many standard errors the contrast at the peak is above that without a shift.
    pub(super) significance: f64,
}

fn shift_of(i: usize) -> (i32, i32) {
    ((i % SIDE) as i32 - REACH as i32, (i / SIDE) as i32 - REACH as i32)
}

const UNSHIFTED: usize = REACH * SIDE + REACH;

impl Profile {
    /// The profile of an image and its labels; `None` if there are too few edges, or if the image is constant or too
    /// small.
    pub(super) fn of(gray: &Gray, labels: &LabelMap) -> Option<Self> {
        let points = edge_points(labels);
        if points.len() < POINTS[0] {
            return None;
        }
        let contrast = Contrast::of(gray)?;
        let mut sums = vec![0u32; SIDE * SIDE];
        add_around(&contrast, &points, &mut sums);
        let mean = |sum: u32| (f64::from(sum) / points.len() as f64 - contrast.mean) / contrast.std;
        Some(Self(sums.into_iter().map(|sum| mean(sum) as f32).collect()))
    }

    pub(super) fn peak(&self) -> Peak {
        let best = (0..self.0.len()).max_by(|a, b| self.0[*a].total_cmp(&self.0[*b])).unwrap_or(UNSHIFTED);
        let shift = shift_of(best);
        let beyond: Vec<f32> = (0..self.0.len())
            .filter(|i| {
                let (x, y) = shift_of(*i);
                (x - shift.0).abs() > PEAK || (y - shift.1).abs() > PEAK
            })
            .map(|i| self.0[i])
            .collect();
        let mean = beyond.iter().sum::<f32>() / beyond.len().max(1) as f32;
        let variance = beyond.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / beyond.len().max(1) as f32;
        let highest = beyond.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        Peak { shift, contrast: self.0[best], unshifted: self.0[UNSHIFTED], noise: variance.sqrt(), beyond: highest }
    }
}

impl Default for ProfileSum {
    fn default() -> Self {
        let (contrast, gain, squares) = (vec![0; SIDE * SIDE], vec![0; SIDE * SIDE], vec![0; SIDE * SIDE]);
        Self { count: 0, contrast, gain, squares }
    }
}

impl ProfileSum {
    pub(super) fn add(&mut self, profile: &Profile) {
        self.count += 1;
        let whole = |value: f32| (value * UNIT) as i64;
        let unshifted = whole(profile.0[UNSHIFTED]);
        for (i, value) in profile.0.iter().enumerate() {
            let gain = whole(*value) - unshifted;
            self.contrast[i] += whole(*value);
            self.gain[i] += gain;
            self.squares[i] += i128::from(gain) * i128::from(gain);
        }
    }

    /// `None` without any profile.
    pub(super) fn peak(&self) -> Option<CommonPeak> {
        if self.count == 0 {
            return None;
        }
        let n = self.count as f64;
        let mean = Profile(self.contrast.iter().map(|sum| (*sum as f64 / n / f64::from(UNIT)) as f32).collect());
        let peak = mean.peak();
        let best = (peak.shift.1 + REACH as i32) as usize * SIDE + (peak.shift.0 + REACH as i32) as usize;
        let gain = self.gain[best] as f64 / n;
        let variance = (self.squares[best] as f64 / n - gain * gain).max(0.0);
        let significance = if best == UNSHIFTED { 0.0 } else { gain / (variance / n).sqrt().max(1e-9) };
        Some(CommonPeak { peak, significance })
    }
}

vectorised! {
    /// Indices of the pixels whose right or lower neighbour has another class, far enough from the border for every
    /// shift to stay in the image; an evenly spaced subset if there are many.
    fn edge_points(labels: &LabelMap) -> Vec<usize> {
        let Size { width, height } = labels.size;
        let Some(inside) = width.checked_sub(2 * REACH + 1) else { return Vec::new() };
        // Whole rows, beginning with the first one that is searched.
        let begin = REACH * width;
        let mut marks = vec![0u8; width * height.saturating_sub(2 * REACH + 1)];
        for (y, marks) in (REACH..).zip(marks.chunks_exact_mut(width)) {
            let row = |start: usize| &labels.classes[start..start + inside];
            let start = y * width + REACH;
            let beside = row(start + 1).iter().zip(row(start + width));
            for (mark, (own, (right, below))) in marks[REACH..].iter_mut().zip(row(start).iter().zip(beside)) {
                let differs = |other: &u16| (other != own) & (*other != IGNORE);
                *mark = u8::from((*own != IGNORE) & (differs(right) | differs(below)));
            }
        }
        let rows = marks.chunks_exact(width);
        let count: usize = rows.map(|row| row.iter().map(|mark| u32::from(*mark)).sum::<u32>() as usize).sum();
        let mut points = Vec::with_capacity(POINTS[1]);
        each_marked(&marks, count.div_ceil(POINTS[1]).max(1), |i| points.push(begin + i));
        points
    }
}

/// Gradient magnitudes: the absolute differences of each pixel from its right and its lower neighbour, after a 3x3 box
/// blur that suppresses noise such as speckle. Quantised to 8 bits; 0 at the border.
struct Contrast {
    values: Vec<u8>,
    width: usize,
    mean: f64,
    std: f64,
}

impl Contrast {
    /// `None` if the image is constant or too small.
    fn of(gray: &Gray) -> Option<Self> {
        let Size { width, height } = gray.size;
        if width < 4 || height < 4 {
            return None;
        }
        let mut differences = vec![0u16; width * height];
        difference(gray, &mut differences);
        for (at, _) in gray.gaps.iter().flatten().enumerate().filter(|(_, gap)| **gap) {
            leave_out(&mut differences, gray.size, (at % width, at / width));
        }
        let mut values = vec![0u8; width * height];
        let [sum, squares] = quantise(&differences, &mut values);
        let n = values.len() as f64;
        let mean = sum as f64 / n;
        let std = (squares as f64 / n - mean * mean).max(0.0).sqrt();
        (std > 0.0).then_some(Self { values, width, mean, std })
    }
}

vectorised! {
    /// Adds the contrasts around points to the sums of all shifts.
    fn add_around(contrast: &Contrast, points: &[usize], sums: &mut [u32]) -> () {
        for (dy, sums) in sums.chunks_exact_mut(SIDE).enumerate() {
            for points in points.chunks(ADDED) {
                // A row of sums stays in registers over many points.
                let mut row = [0u16; SIDE];
                for point in points {
                    let start = point + dy * contrast.width - REACH * contrast.width - REACH;
                    if let Some(values) = contrast.values[start..].first_chunk::<SIDE>() {
                        row.iter_mut().zip(values).for_each(|(sum, value)| *sum += u16::from(*value));
                    }
                }
                sums.iter_mut().zip(row).for_each(|(sum, row)| *sum += u32::from(row));
            }
        }
    }
}

vectorised! {
    /// The gradient magnitudes of the 3x3 sums.
    fn difference(gray: &Gray, out: &mut [u16]) -> () {
        let Size { width, height } = gray.size;
        let (mut columns, mut rows) = (vec![0u16; width], [vec![0u16; width - 2], vec![0u16; width - 2]]);
        for y in 1..height - 1 {
            let [above, own, below] = [y - 1, y, y + 1].map(|y| gray.row(y));
            for (sum, ((a, b), c)) in columns.iter_mut().zip(above.iter().zip(own).zip(below)) {
                *sum = u16::from(*a) + u16::from(*b) + u16::from(*c);
            }
            rows.swap(0, 1);
            let [previous, row] = &mut rows;
            let beside = columns.iter().zip(&columns[1..]).zip(&columns[2..]);
            row.iter_mut().zip(beside).for_each(|(sum, ((a, b), c))| *sum = a + b + c);
            if y > 1 {
                let out = &mut out[(y - 1) * width + 1..y * width - 2];
                let beside = previous[1..].iter().zip(row.iter());
                for (out, (own, (right, below))) in out.iter_mut().zip(previous.iter().zip(beside)) {
                    *out = own.abs_diff(*right) + own.abs_diff(*below);
                }
            }
        }
    }
}

/// Zeroes the differences that a pixel without data contributes to.
fn leave_out(differences: &mut [u16], Size { width, height }: Size, (x, y): (usize, usize)) {
    let columns = x.saturating_sub(2)..(x + 2).min(width);
    for y in y.saturating_sub(2)..(y + 2).min(height) {
        differences[y * width + columns.start..y * width + columns.end].fill(0);
    }
}

vectorised! {
    /// Quantises differences to 8 bits, with the clipping limit at 255. Returns the sum of the values, and that of
    /// their squares.
    fn quantise(differences: &[u16], out: &mut [u8]) -> [u64; 2] {
        /// Number of pixels whose squares are summed in 32 bits.
        const PART: usize = 1 << 15;
        let parts = differences.chunks(PART).map(|part| part.iter().map(|value| u32::from(*value)).sum::<u32>());
        let sum: u64 = parts.map(u64::from).sum();
        let most = (MAX_CONTRAST * sum as f64 / differences.len() as f64).ceil().clamp(1.0, f64::from(u16::MAX)) as u16;
        // Fixed-point, with 16 fractional bits.
        let scale = (u32::from(u8::MAX) << 16) / u32::from(most);
        let mut sums = [0; 2];
        for (out, part) in out.chunks_mut(PART).zip(differences.chunks(PART)) {
            let (mut sum, mut squares) = (0u32, 0u32);
            for (out, value) in out.iter_mut().zip(part) {
                let value = (u32::from(*value.min(&most)) * scale) >> 16;
                *out = value as u8;
                sum += value;
                squares += value * value;
            }
            sums = [sums[0] + u64::from(sum), sums[1] + u64::from(squares)];
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::synthetic::section;

    #[test]
    fn a_shift_is_found_where_there_is_one() {
        let size = Size { width: 128, height: 128 };
        for (by, index) in [((0, 0), 0), ((5, -7), 1), ((-9, 3), 2)] {
            let (mut sum, mut gray) = (ProfileSum::default(), Vec::new());
            for index in index * 20..index * 20 + 20 {
                let made = section(3, index, size);
                gray.clear();
                gray.extend(
                    made.labels
                        .classes
                        .iter()
                        .zip(&made.pixels)
                        .map(|(c, v)| f32::from(*v) / 10.0 + 60.0 * f32::from(*c)),
                );
                let at = |i: usize| {
                    let (x, y) = ((i % 128) as i32 + by.0, (i / 128) as i32 + by.1);
                    made.labels.classes[y.clamp(0, 127) as usize * 128 + x.clamp(0, 127) as usize]
                };
                let labels = LabelMap { size, classes: (0..128 * 128).map(at).collect() };
                sum.add(&Profile::of(&Gray::scaled(&gray, size), &labels).unwrap());
            }
            let found = sum.peak().unwrap();
            let (x, y) = found.peak.shift;
            assert!((x - by.0).abs() <= 2 && (y - by.1).abs() <= 2, "{by:?}: {found:?}");
            assert!(by == (0, 0) || found.significance > 6.0, "{by:?}: {found:?}");
        }
    }

    #[test]
    fn labels_without_edges_tell_nothing() {
        let size = Size { width: 64, height: 64 };
        let labels = LabelMap { size, classes: vec![0; 64 * 64] };
        assert_eq!(Profile::of(&Gray::scaled(&vec![0.5; 64 * 64], size), &labels), None);
    }
}
