//! Whether labels lie beside what they label: where the edges in the image are, seen from the edges of the labels.

use crate::base::Size;
use crate::base::label_map::{IGNORE, LabelMap};

/// Largest shift that is looked for, in pixels.
pub(super) const REACH: usize = 16;
/// Shifts along one axis.
pub(super) const SIDE: usize = 2 * REACH + 1;
/// Most and fewest pixels at edges of labels that are looked from.
const POINTS: [usize; 2] = [100, 1024];
/// Shifts around a peak that belong to it.
const PEAK: i32 = 4;
/// Contrasts above this many times the mean count like it.
const MOST_CONTRAST: f32 = 4.0;
/// One standard deviation of contrast, in the sums of a profile.
const UNIT: f32 = 65536.0;

/// The mean contrast in an image at the edges of its labels, shifted by every vector of up to [`REACH`] pixels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Profile(Vec<f32>);

/// Where the contrast is highest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Peak {
    /// The shift, in columns and rows: by as much the labels would have to be moved.
    pub(super) shift: (i32, i32),
    /// The contrast there, in standard deviations of the image's contrast.
    pub(super) contrast: f32,
    /// That without a shift.
    pub(super) unshifted: f32,
    /// The standard deviation of the contrasts beyond the peak, and the highest of them.
    pub(super) noise: f32,
    pub(super) beyond: f32,
}

/// Profiles of many images. Whole numbers, so that the sum does not depend on the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProfileSum {
    count: i64,
    /// Of each shift the contrast, and the sum and the squares of what it has more than none.
    contrast: Vec<i64>,
    gain: Vec<i64>,
    squares: Vec<i128>,
}

/// What many profiles have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct CommonPeak {
    pub(super) peak: Peak,
    /// How many standard errors the contrast at the peak is above that without a shift.
    pub(super) significance: f64,
    /// Images.
    pub(super) count: i64,
}

fn shift_of(i: usize) -> (i32, i32) {
    ((i % SIDE) as i32 - REACH as i32, (i / SIDE) as i32 - REACH as i32)
}

const UNSHIFTED: usize = REACH * SIDE + REACH;

impl Profile {
    /// Of an image's grey values (NaN without data) and its labels; `None` where there are too few edges to tell.
    pub(super) fn of(gray: &[f32], labels: &LabelMap) -> Option<Self> {
        let points = edge_points(labels);
        if points.len() < POINTS[0] {
            return None;
        }
        let contrast = contrast(gray, labels.size)?;
        let mut sums = Vec::with_capacity(SIDE * SIDE);
        for dy in 0..SIDE {
            // A row of sums stays in registers while all points are gone through.
            let mut row = [0.0f32; SIDE];
            for &(x, y) in &points {
                let start = (y + dy - REACH) * labels.size.width + x - REACH;
                if let Some(values) = contrast[start..].first_chunk::<SIDE>() {
                    row.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                }
            }
            sums.extend(row.map(|sum| sum / points.len() as f32));
        }
        Some(Self(sums))
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
        Some(CommonPeak { peak, significance, count: self.count })
    }
}

/// Pixels whose right or lower neighbour has another class, so far inside that every shift stays in the image; some of them
/// where there are many.
fn edge_points(labels: &LabelMap) -> Vec<(usize, usize)> {
    let Size { width, height } = labels.size;
    let mut points = Vec::new();
    for y in REACH..height.saturating_sub(REACH + 1) {
        let row = &labels.classes[y * width..(y + 1) * width];
        let below = &labels.classes[(y + 1) * width..(y + 2) * width];
        for x in REACH..width.saturating_sub(REACH + 1) {
            let differs = |other: u16| other != row[x] && other != IGNORE;
            if row[x] != IGNORE && (differs(row[x + 1]) || differs(below[x])) {
                points.push((x, y));
            }
        }
    }
    let step = points.len().div_ceil(POINTS[1]).max(1);
    points.into_iter().step_by(step).collect()
}

/// The mean of each pixel and those around it: single pixels are noise, as speckle is. Those at the border stay as they are.
fn smoothed(gray: &[f32], Size { width, height }: Size) -> Vec<f32> {
    let mut rows = gray.to_vec();
    for (out, row) in rows.chunks_exact_mut(width).zip(gray.chunks_exact(width)) {
        out.iter_mut().skip(1).zip(row.windows(3)).for_each(|(out, three)| *out = three.iter().sum::<f32>() / 3.0);
    }
    let mut found = rows.clone();
    for y in 1..height.saturating_sub(1) {
        let [above, here, below] = [y - 1, y, y + 1].map(|y| &rows[y * width..(y + 1) * width]);
        let three = above.iter().zip(here).zip(below);
        let out = &mut found[y * width..(y + 1) * width];
        out.iter_mut().zip(three).for_each(|(out, ((a, b), c))| *out = (a + b + c) / 3.0);
    }
    found
}

/// How much each pixel of the smoothed image differs from its right and its lower neighbour, less the mean, in standard
/// deviations; `None` where all is the same.
fn contrast(gray: &[f32], size: Size) -> Option<Vec<f32>> {
    let (gray, Size { width, height }) = (smoothed(gray, size), size);
    let mut found = vec![0.0f32; gray.len()];
    for y in 0..height - 1 {
        let (row, below) = (&gray[y * width..(y + 1) * width], &gray[(y + 1) * width..(y + 2) * width]);
        let out = &mut found[y * width..(y + 1) * width];
        for x in 0..width - 1 {
            let value = (row[x + 1] - row[x]).abs() + (below[x] - row[x]).abs();
            out[x] = if value.is_finite() { value } else { 0.0 };
        }
    }
    let n = found.len() as f32;
    let most = MOST_CONTRAST * found.iter().sum::<f32>() / n;
    found.iter_mut().for_each(|value| *value = value.min(most));
    let mean = found.iter().sum::<f32>() / n;
    let std = (found.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / n).sqrt();
    if std <= 0.0 || !std.is_finite() {
        return None;
    }
    found.iter_mut().for_each(|value| *value = (*value - mean) / std);
    Some(found)
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
                sum.add(&Profile::of(&gray, &labels).unwrap());
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
        assert_eq!(Profile::of(&vec![0.5; 64 * 64], &labels), None);
    }
}
