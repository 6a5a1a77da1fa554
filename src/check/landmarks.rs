//! Places of an image that are found again in another crop of the same scene even if both were saved as JPEG since.
//!
//! Landmarks are extrema of the difference between two blurred copies of an image; of these, the strongest are kept: like
//! the windows of a [sketch](super::sketch), they are kept in every crop for the same reason. Each has a code of 64 bits, which
//! tells of as many pairs of blurred places around it which one is brighter (BRIEF; M. Calonder et al., 2010). Compression
//! changes few of them.

use std::sync::LazyLock;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::base::Size;

/// Radii of the two blurs.
const FINE: usize = 2;
const COARSE: usize = 6;
/// How far away what is compared may be, along one axis; and how far from the border a landmark must be for it.
const AROUND: i32 = 12;
const MARGIN: usize = AROUND as usize + FINE + 1;
/// How far around it a landmark is the extremum.
const REACH: usize = 4;
/// Pixels for each landmark that is kept, and the least and the most of an image.
const PIXELS_A_LANDMARK: usize = 1024;
const LANDMARKS: [usize; 2] = [32, 256];

/// What each bit of a code compares: two places, as columns and rows from the landmark.
static COMPARED: LazyLock<[[i32; 4]; 64]> = LazyLock::new(|| {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut along = || rng.random_range(-AROUND / 2..=AROUND / 2) + rng.random_range(-AROUND / 2..=AROUND / 2);
    std::array::from_fn(|_| std::array::from_fn(|_| along()))
});

/// A landmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Landmark {
    pub(super) code: u64,
    pub(super) x: u32,
    pub(super) y: u32,
}

/// The strongest landmarks of an image, by its grey values; none near a pixel without data.
pub(super) fn landmarks(gray: &[f32], size: Size) -> Vec<Landmark> {
    let Size { width, height } = size;
    if width <= 2 * MARGIN || height <= 2 * MARGIN {
        return Vec::new();
    }
    let has_gaps = gray.iter().any(|value| !value.is_finite());
    let gaps = has_gaps.then(|| Sums::of(gray, size, |value| if value.is_finite() { 0.0 } else { 1.0 }));
    let sums = Sums::of(gray, size, |value| if value.is_finite() { value } else { 0.0 });
    let mut contrast = vec![0.0f32; gray.len()];
    for y in COARSE..height - COARSE {
        for x in COARSE..width - COARSE {
            contrast[y * width + x] = (sums.mean(x, y, FINE) - sums.mean(x, y, COARSE)).abs();
        }
    }
    let mut found: Vec<(f32, usize)> = Vec::new();
    for y in MARGIN..height - MARGIN {
        let inside = y * width + MARGIN..(y + 1) * width - MARGIN;
        let is_whole = |at: usize| gaps.as_ref().is_none_or(|gaps| gaps.mean(at % width, y, MARGIN) == 0.0);
        let extrema = inside.filter(|at| is_extremum(&contrast, width, *at) && is_whole(*at));
        found.extend(extrema.map(|at| (contrast[at], at)));
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    found.truncate((width * height / PIXELS_A_LANDMARK).clamp(LANDMARKS[0], LANDMARKS[1]));
    let landmark = |(_, at): (f32, usize)| {
        let (x, y) = (at % width, at / width);
        Landmark { code: sums.code(x, y), x: x as u32, y: y as u32 }
    };
    found.into_iter().map(landmark).collect()
}

/// Whether a value is larger than all around it; of equal ones, the first is.
fn is_extremum(contrast: &[f32], width: usize, at: usize) -> bool {
    let own = contrast[at];
    if own <= contrast[at - 1] || own < contrast[at + 1] || own <= contrast[at - width] || own < contrast[at + width] {
        return false;
    }
    let first = at - REACH * width - REACH;
    (0..=2 * REACH).all(|row| {
        let start = first + row * width;
        (start..=start + 2 * REACH).all(|other| own > contrast[other] || (own == contrast[other] && other >= at))
    })
}

/// Sums of all values above and to the left of each pixel.
struct Sums {
    sums: Vec<f64>,
    width: usize,
}

impl Sums {
    fn of(gray: &[f32], size: Size, value: impl Fn(f32) -> f32) -> Self {
        let width = size.width + 1;
        let mut sums = vec![0.0f64; width * (size.height + 1)];
        for (y, row) in gray.chunks_exact(size.width).enumerate() {
            let (above, below) = sums.split_at_mut((y + 1) * width);
            let above = &above[y * width + 1..];
            let mut along = 0.0;
            for ((sum, above), pixel) in below[1..width].iter_mut().zip(above).zip(row) {
                along += f64::from(value(*pixel));
                *sum = along + above;
            }
        }
        Self { sums, width }
    }

    /// The mean of the pixels around one, as far as a radius.
    fn mean(&self, x: usize, y: usize, radius: usize) -> f32 {
        let side = 2 * radius + 1;
        let above = (y - radius) * self.width + x - radius;
        let below = above + side * self.width;
        let sum = self.sums[below + side] - self.sums[below] - self.sums[above + side] + self.sums[above];
        (sum / (side * side) as f64) as f32
    }

    fn code(&self, x: usize, y: usize) -> u64 {
        let mean = |dx: i32, dy: i32| {
            self.mean(x.saturating_add_signed(dx as isize), y.saturating_add_signed(dy as isize), FINE)
        };
        let bit = |(i, [ax, ay, bx, by]): (usize, &[i32; 4])| u64::from(mean(*ax, *ay) > mean(*bx, *by)) << i;
        COMPARED.iter().enumerate().map(bit).fold(0, |code, bit| code | bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_have_the_same_landmarks_in_spite_of_noise() {
        let (size, mut rng) = (Size { width: 200, height: 160 }, ChaCha8Rng::seed_from_u64(3));
        let noise: Vec<f32> = (0..200 * 160).map(|_| rng.random_range(0.0..255.0)).collect();
        let sums = Sums::of(&noise, size, |value| value);
        let at = |x: usize, y: usize| sums.mean(x.clamp(3, 196), y.clamp(3, 156), 3);
        let mut crop = |left: usize, top: usize| -> Vec<Landmark> {
            let values: Vec<f32> =
                (0..150 * 120).map(|i| at(left + i % 150, top + i / 150) + rng.random_range(-1.0..1.0)).collect();
            landmarks(&values, Size { width: 150, height: 120 })
        };
        let (a, b) = (crop(0, 0), crop(31, 22));
        let same = |one: &&Landmark| {
            b.iter().any(|other| {
                (other.x + 31).abs_diff(one.x) <= 1
                    && (other.y + 22).abs_diff(one.y) <= 1
                    && (other.code ^ one.code).count_ones() <= 8
            })
        };
        let found = a.iter().filter(same).count();
        assert!(found * 3 > a.len() && a.len() >= 20, "{found} of {}", a.len());
        assert!(landmarks(&[1.0; 64 * 64], Size { width: 64, height: 64 }).is_empty());
    }

    #[test]
    fn landmarks_keep_away_from_pixels_without_data() {
        let (size, mut rng) = (Size { width: 160, height: 120 }, ChaCha8Rng::seed_from_u64(4));
        let whole: Vec<f32> = (0..160 * 120).map(|_| rng.random_range(0.0..255.0)).collect();
        let gaps: Vec<f32> = whole.iter().enumerate().map(|(i, v)| if i % 160 < 40 { f32::NAN } else { *v }).collect();
        let found = landmarks(&gaps, size);
        assert!(!found.is_empty() && found.iter().all(|landmark| landmark.x as usize >= 40 + MARGIN), "{found:?}");
    }
}
