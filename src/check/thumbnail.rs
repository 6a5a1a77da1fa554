//! Small images that tell whether two images look the same, whatever their size, coding and brightness.

use crate::base::Size;

/// Side of a thumbnail, and of the blocks whose brightness its hash tells.
const SIDE: usize = 32;
const HASH_SIDE: usize = 8;
/// One standard deviation, in the numbers of a thumbnail.
const UNIT: f32 = 30.0;
/// Smallest standard deviation, as a share of the range of the image, that is a sight at all.
const LEAST_CONTRAST: f32 = 1e-4;

/// Most bits of 64 that differ between images that may look the same.
const MOST_BITS: u32 = 10;
/// Least correlation of two thumbnails of the same sight, and of what is left of them without their soft gradients.
const CORRELATION: f64 = 0.985;
const DETAIL_CORRELATION: f64 = 0.93;
/// Ratio of two aspect ratios that still counts as equal.
const ASPECT: f64 = 1.03;

/// An image of 32x32 blocks, without mean and contrast.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Thumbnail {
    /// Row by row; empty where the image shows nothing.
    pixels: Vec<i8>,
    /// Whether each of 8x8 blocks is brighter than the median.
    hash: u64,
    size: (usize, usize),
}

/// How one image must be turned to look like the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    transposed: bool,
    mirrored: bool,
    flipped: bool,
}

impl Turn {
    /// All eight.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..8).map(|bits| Self { transposed: bits & 4 > 0, mirrored: bits & 1 > 0, flipped: bits & 2 > 0 })
    }

    /// Whether there is nothing to turn.
    pub(super) fn is_none(self) -> bool {
        !self.transposed && !self.mirrored && !self.flipped
    }

    /// Where a pixel of a square of this side comes from.
    fn source(self, side: usize, x: usize, y: usize) -> usize {
        let x = if self.mirrored { side - 1 - x } else { x };
        let y = if self.flipped { side - 1 - y } else { y };
        if self.transposed { x * side + y } else { y * side + x }
    }
}

impl Thumbnail {
    /// Of grey values; NaN holds no data.
    pub(super) fn of(gray: &[f32], size: Size) -> Self {
        let blocks = blocks(gray, size);
        let (mean, std) = mean_and_std(&blocks);
        let (least, largest) =
            blocks.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
        let span = least.abs().max(largest.abs());
        if blocks.iter().any(|block| !block.is_finite()) || std <= LEAST_CONTRAST * span {
            return Self::default();
        }
        let quantised = |block: &f32| ((block - mean) / std * UNIT).round().clamp(-127.0, 127.0) as i8;
        let pixels: Vec<i8> = blocks.iter().map(quantised).collect();
        Self { hash: hash(&pixels), pixels, size: (size.width, size.height) }
    }

    /// Whether the image shows something.
    pub(super) fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// The hash of the turned image.
    pub(super) fn turned_hash(&self, turn: Turn) -> u64 {
        let bit = |i: usize| (self.hash >> turn.source(HASH_SIDE, i % HASH_SIDE, i / HASH_SIDE)) & 1;
        (0..HASH_SIDE * HASH_SIDE).fold(0, |hash, i| hash | (bit(i) << i))
    }

    /// Whether this image may look like another one that has these hashes when it is turned in all ways.
    pub(super) fn has_hash_near(&self, turned: &[u64; 8]) -> bool {
        turned.iter().fold(false, |near, hash| near | ((self.hash ^ hash).count_ones() <= MOST_BITS))
    }

    /// Whether this image looks like the other one turned, whose turned hash is given.
    pub(super) fn looks_like(&self, other: &Self, turn: Turn, turned_hash: u64) -> bool {
        if (self.hash ^ turned_hash).count_ones() > MOST_BITS || self.is_empty() || other.is_empty() {
            return false;
        }
        let (width, height) = if turn.transposed { (other.size.1, other.size.0) } else { other.size };
        let aspect = (self.size.0 * height) as f64 / (self.size.1 * width).max(1) as f64;
        if !(1.0 / ASPECT..=ASPECT).contains(&aspect) {
            return false;
        }
        let turned: Vec<i8> = (0..SIDE * SIDE).map(|i| other.pixels[turn.source(SIDE, i % SIDE, i / SIDE)]).collect();
        let of = |pixels: &[i8]| -> Vec<f32> { pixels.iter().map(|pixel| f32::from(*pixel)).collect() };
        let (mine, theirs) = (of(&self.pixels), of(&turned));
        correlation(&mine, &theirs) >= CORRELATION
            && correlation(&detail(&mine), &detail(&theirs)) >= DETAIL_CORRELATION
    }
}

/// The mean of each block's pixels with data; that of the whole image where a block has none.
fn blocks(gray: &[f32], Size { width, height }: Size) -> Vec<f32> {
    let mut sums = vec![(0.0f64, 0u32); SIDE * SIDE];
    let edges = |length: usize| -> Vec<std::ops::Range<usize>> {
        (0..SIDE).map(|i| i * length / SIDE..((i + 1) * length / SIDE).max(i * length / SIDE + 1)).collect()
    };
    let columns = edges(width);
    for (block_row, rows) in edges(height).into_iter().enumerate() {
        for row in rows.map(|y| &gray[y * width..(y + 1) * width]) {
            for (sum, columns) in sums[block_row * SIDE..].iter_mut().zip(&columns) {
                for value in row[columns.clone()].iter().filter(|value| value.is_finite()) {
                    *sum = (sum.0 + f64::from(*value), sum.1 + 1);
                }
            }
        }
    }
    let all = sums.iter().fold((0.0, 0), |all, sum| (all.0 + sum.0, all.1 + sum.1));
    let mean = |(sum, count): (f64, u32)| if count == 0 { f64::NAN } else { sum / f64::from(count) };
    sums.into_iter().map(|sum| if sum.1 == 0 { mean(all) } else { mean(sum) } as f32).collect()
}

fn mean_and_std(values: &[f32]) -> (f32, f32) {
    let n = values.len() as f32;
    let mean = values.iter().sum::<f32>() / n;
    (mean, (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / n).sqrt())
}

fn hash(pixels: &[i8]) -> u64 {
    const STEP: usize = SIDE / HASH_SIDE;
    let block = |i: usize| -> i32 {
        let (left, top) = (i % HASH_SIDE * STEP, i / HASH_SIDE * STEP);
        (top..top + STEP).flat_map(|y| &pixels[y * SIDE + left..y * SIDE + left + STEP]).map(|p| i32::from(*p)).sum()
    };
    let blocks: Vec<i32> = (0..HASH_SIDE * HASH_SIDE).map(block).collect();
    let mut sorted = blocks.clone();
    sorted.sort_unstable();
    let median = sorted[sorted.len() / 2];
    blocks.iter().enumerate().fold(0, |hash, (i, block)| hash | (u64::from(*block > median) << i))
}

/// What differs from the mean of the surroundings.
fn detail(pixels: &[f32]) -> Vec<f32> {
    let at = |x: usize, y: usize| pixels[y * SIDE + x];
    let pixel = |i: usize| {
        let (x, y) = (i % SIDE, i / SIDE);
        let (left, right) = (x.saturating_sub(1), (x + 1).min(SIDE - 1));
        let (above, below) = (y.saturating_sub(1), (y + 1).min(SIDE - 1));
        at(x, y) - (at(left, y) + at(right, y) + at(x, above) + at(x, below)) / 4.0
    };
    (0..SIDE * SIDE).map(pixel).collect()
}

fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let ((mean_a, std_a), (mean_b, std_b)) = (mean_and_std(a), mean_and_std(b));
    let sum: f32 = a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum();
    f64::from(sum) / (a.len() as f64 * f64::from(std_a * std_b).max(1e-9))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const SIZE: Size = Size { width: 96, height: 64 };

    /// Soft blobs: what photographs are like when they are small.
    fn sight(seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let blobs: Vec<[f32; 4]> = (0..60)
            .map(|_| {
                [
                    rng.random_range(0.0..96.0),
                    rng.random_range(0.0..64.0),
                    rng.random_range(2.0..12.0),
                    rng.random_range(-80.0..80.0),
                ]
            })
            .collect();
        let value = |x: f32, y: f32| {
            blobs.iter().map(|[cx, cy, r, v]| v * (-((x - cx).powi(2) + (y - cy).powi(2)) / (r * r)).exp()).sum::<f32>()
        };
        (0..96 * 64).map(|i| 128.0 + value((i % 96) as f32, (i / 96) as f32)).collect()
    }

    fn found(a: &Thumbnail, b: &Thumbnail) -> Option<Turn> {
        Turn::all().find(|turn| a.looks_like(b, *turn, b.turned_hash(*turn)))
    }

    #[test]
    fn brightness_noise_and_turns_do_not_matter_but_the_sight_does() {
        let sight_one = sight(1);
        let one = Thumbnail::of(&sight_one, SIZE);
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let changed: Vec<f32> = sight_one.iter().map(|v| 20.0 + 0.6 * v + rng.random_range(-1.0..1.0)).collect();
        assert!(found(&one, &Thumbnail::of(&changed, SIZE)).is_some_and(Turn::is_none));
        let mirrored: Vec<f32> = (0..96 * 64).map(|i| sight_one[i / 96 * 96 + 95 - i % 96]).collect();
        assert!(found(&one, &Thumbnail::of(&mirrored, SIZE)).is_some_and(|turn| !turn.is_none()));
        for seed in 2..40 {
            assert_eq!(found(&one, &Thumbnail::of(&sight(seed), SIZE)), None, "{seed}");
        }
    }

    #[test]
    fn gradients_alone_are_no_sight() {
        let ramp = |seed: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let values: Vec<f32> = (0..96 * 64).map(|i| (i % 96) as f32 + rng.random_range(-20.0..20.0)).collect();
            Thumbnail::of(&values, SIZE)
        };
        assert_eq!(found(&ramp(1), &ramp(2)), None);
        assert!(Thumbnail::of(&[5.0; 96 * 64], SIZE).is_empty());
        assert!(Thumbnail::of(&[f32::NAN; 96 * 64], SIZE).is_empty());
    }
}
