//! Confirms that two images show the same scene in their overlap although compression has changed the pixels: by the
//! correlation of their fine structure.

use std::path::Path;

use super::gray::gray;
use crate::base::Size;
use crate::image::read_image;

/// Maximum correction to the offset given by the landmarks, in pixels.
const NEAR: i64 = 2;
/// Side of the window used to refine the offset, and the correlation in it below which a pair is rejected early.
const WINDOW: i64 = 256;
const PROMISING: f64 = 0.8;
/// Minimum side of an overlap, and the side of the blocks in it: there are at least 16, of which the more structured
/// half is judged.
const MIN_SIDE: i64 = 64;
const BLOCK: usize = 16;
/// Minimum correlation of the fine structure over the whole overlap, and in most of its more structured blocks. JPEG at
/// quality 50 leaves 0.95 to 0.99; frames of a static camera reach at most 0.88, radar images of the same coast 0.85,
/// adjacent slices of a seismic volume 0.69.
const CORRELATION: f64 = 0.95;
const BLOCK_CORRELATION: f64 = 0.85;
const SHARE_OF_BLOCKS: f64 = 0.8;

/// The fine structure of an image: the difference between a narrow and a wide box blur.
pub(super) struct Fine {
    values: Vec<f32>,
    size: Size,
}

impl Fine {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let image = read_image(path).ok()?;
        let (size, gray) = (image.size, gray(&image));
        let (near, far) = (blurred(&gray, size, 1), blurred(&gray, size, 4));
        // Pixels near missing data count as flat.
        let difference = |(near, far): (f32, f32)| if (near - far).is_finite() { near - far } else { 0.0 };
        let values = near.into_iter().zip(far).map(difference).collect();
        Some(Self { values, size })
    }

    /// Width and height of the overlap with another image whose origin is at `(x, y)` in this one.
    fn overlap(&self, other: &Self, (x, y): (i64, i64)) -> Option<(i64, i64)> {
        let along = |shift: i64, own: usize, other: usize| (shift + other as i64).min(own as i64) - shift.max(0);
        let (w, h) = (along(x, self.size.width, other.size.width), along(y, self.size.height, other.size.height));
        (w >= MIN_SIDE && h >= MIN_SIDE).then_some((w, h))
    }

    /// The overlap with another image whose origin is at `place` in this one, in thousandths of the smaller image.
    pub(super) fn share(&self, other: &Self, place: (i64, i64)) -> Option<u32> {
        let (w, h) = self.overlap(other, place)?;
        let smaller = (self.size.width * self.size.height).min(other.size.width * other.size.height).max(1);
        Some((1000.0 * (w * h) as f64 / smaller as f64).round() as u32)
    }

    /// The exact origin of another image in this one, near `(x, y)`, if both show the same in their overlap. It is
    /// refined in a window around `centre`, a point in this image.
    pub(super) fn place_of(&self, other: &Self, (x, y): (i64, i64), centre: (i64, i64)) -> Option<(i64, i64)> {
        let (w, h) = self.overlap(other, (x, y))?;
        let columns = window(x.max(0), w, centre.0);
        let rows = window(y.max(0), h, centre.1);
        let mine = self.part((columns.0, rows.0), (columns.1, rows.1));
        let near = (-NEAR..=NEAR).flat_map(|dy| (-NEAR..=NEAR).map(move |dx| (x + dx, y + dy)));
        let measured = near.map(|(x, y)| {
            let theirs = other.part((columns.0 - x, rows.0 - y), (columns.1, rows.1));
            (correlation(&mine, &theirs), (x, y))
        });
        let (found, (x, y)) = measured.max_by(|a, b| a.0.total_cmp(&b.0))?;
        if found < PROMISING {
            return None;
        }
        let (width, height) = self.overlap(other, (x, y))?;
        let mine = self.part((x.max(0), y.max(0)), (width, height));
        let theirs = other.part(((-x).max(0), (-y).max(0)), (width, height));
        (correlation(&mine, &theirs) >= CORRELATION && blocks_agree(&mine, &theirs, width as usize)).then_some((x, y))
    }

    /// A rectangle of the values, row by row.
    fn part(&self, (left, top): (i64, i64), (width, height): (i64, i64)) -> Vec<f32> {
        let row = |row: i64| {
            let start = (top + row) as usize * self.size.width + left as usize;
            &self.values[start..start + width as usize]
        };
        (0..height).flat_map(row).copied().collect()
    }
}

/// Start and length of a window around a centre, along one axis of an overlap. It stays inside the overlap for every
/// offset that is tried.
fn window(begin: i64, length: i64, centre: i64) -> (i64, i64) {
    let long = (length - 2 * NEAR).min(WINDOW);
    ((centre - long / 2).clamp(begin + NEAR, begin + length - NEAR - long), long)
}

/// Whether most of the more structured half of the blocks correlate: a shared frame or logo is not enough.
fn blocks_agree(mine: &[f32], theirs: &[f32], width: usize) -> bool {
    let height = mine.len() / width;
    let block = |values: &[f32], left: usize, top: usize| -> Vec<f32> {
        (top..top + BLOCK).flat_map(|y| &values[y * width + left..y * width + left + BLOCK]).copied().collect()
    };
    let mut blocks: Vec<(f64, f64)> = Vec::new();
    for top in (0..=height - BLOCK).step_by(BLOCK) {
        for left in (0..=width - BLOCK).step_by(BLOCK) {
            let (a, b) = (block(mine, left, top), block(theirs, left, top));
            blocks.push((deviation(&a).min(deviation(&b)), correlation(&a, &b)));
        }
    }
    blocks.sort_by(|a, b| b.0.total_cmp(&a.0));
    blocks.truncate(blocks.len().div_ceil(2));
    let alike = blocks.iter().filter(|(_, correlation)| *correlation >= BLOCK_CORRELATION).count();
    alike as f64 >= SHARE_OF_BLOCKS * blocks.len() as f64
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len().max(1) as f64
}

fn deviation(values: &[f32]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

/// The correlation coefficient; 0 if either side is constant or contains NaN.
fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let (mean_a, mean_b) = (mean(a), mean(b));
    let products = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - mean_a) * (f64::from(*b) - mean_b)).sum::<f64>();
    let found = products / (a.len().max(1) as f64 * deviation(a) * deviation(b));
    if found.is_finite() { found } else { 0.0 }
}

/// Box blur: the mean of the pixels within a radius along both axes, clipped at the border.
fn blurred(gray: &[f32], Size { width, height }: Size, radius: usize) -> Vec<f32> {
    let mut rows = vec![0.0f32; gray.len()];
    for (out, row) in rows.chunks_exact_mut(width).zip(gray.chunks_exact(width)) {
        for (x, out) in out.iter_mut().enumerate() {
            let around = &row[x.saturating_sub(radius)..(x + radius + 1).min(width)];
            *out = around.iter().sum::<f32>() / around.len() as f32;
        }
    }
    let mut found = vec![0.0f32; gray.len()];
    for (y, out) in found.chunks_exact_mut(width).enumerate() {
        let around = y.saturating_sub(radius)..(y + radius + 1).min(height);
        let share = 1.0 / around.len() as f32;
        for row in around.map(|y| &rows[y * width..(y + 1) * width]) {
            out.iter_mut().zip(row).for_each(|(out, value)| *out += value * share);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_stay_in_the_overlap_however_it_is_shifted() {
        for (begin, length, centre) in [(0, 64, 3), (10, 64, 74), (100, 900, 101), (0, 1000, 500), (5, 260, 999)] {
            let (at, long) = window(begin, length, centre);
            assert!(at >= begin + NEAR && at + long <= begin + length - NEAR, "{begin} {length} {centre}");
            assert_eq!(long, (length - 2 * NEAR).min(WINDOW));
        }
    }
}
