//! Thumbnails and perceptual hashes, by which near-duplicates are found whatever their size, encoding and brightness.

use super::gray::Gray;
use crate::base::Size;
use crate::base::vectorised;

/// Side of a thumbnail, and of the grid of blocks that its hash describes.
const SIDE: usize = 32;
const HASH_SIDE: usize = 8;
/// One standard deviation, in the values of a thumbnail.
const UNIT: f32 = 30.0;
/// Images count as blank if the standard deviation of their blocks is at most this share of the largest absolute value.
const MIN_CONTRAST: f32 = 1e-4;

/// Maximum Hamming distance between the 64-bit hashes of images that may look the same.
const MAX_DISTANCE: u32 = 10;
/// Number of hashes compared at a time, and of the rotations and reflections of an image.
const LANES: usize = 32;
const TURNS: usize = 8;
/// Minimum correlation of the thumbnails of near-duplicates, and of the same thumbnails after high-pass filtering.
const CORRELATION: f64 = 0.985;
const DETAIL_CORRELATION: f64 = 0.93;
/// Maximum ratio of two aspect ratios that count as equal.
const ASPECT: f64 = 1.03;

/// The mean brightness of 32x32 blocks of an image, normalised to a common mean and contrast.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Thumbnail {
    /// Row by row; empty if the image is blank.
    pixels: Vec<i8>,
    /// Perceptual hash: one bit for each of 8x8 blocks, set if it is brighter than the median.
    hash: u64,
    size: (usize, usize),
}

/// A rotation or reflection that makes one image look like another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    transposed: bool,
    mirrored: bool,
    flipped: bool,
}

impl Turn {
    /// All eight.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..TURNS).map(|bits| Self { transposed: bits & 4 > 0, mirrored: bits & 1 > 0, flipped: bits & 2 > 0 })
    }

    /// Whether this is the identity.
    pub(super) fn is_none(self) -> bool {
        !self.transposed && !self.mirrored && !self.flipped
    }

    /// Index of the pixel of a square of this side that moves to `(x, y)`.
    fn source(self, side: usize, x: usize, y: usize) -> usize {
        let x = if self.mirrored { side - 1 - x } else { x };
        let y = if self.flipped { side - 1 - y } else { y };
        if self.transposed { x * side + y } else { y * side + x }
    }
}

impl Thumbnail {
    /// Of grey values.
    pub(super) fn of(gray: &Gray) -> Self {
        let size = gray.size;
        let blocks = blocks(gray);
        let (mean, std) = mean_and_std(&blocks);
        let (least, largest) =
            blocks.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
        let span = least.abs().max(largest.abs());
        if blocks.iter().any(|block| !block.is_finite()) || std <= MIN_CONTRAST * span {
            return Self::default();
        }
        let quantised = |block: &f32| ((block - mean) / std * UNIT).round().clamp(-127.0, 127.0) as i8;
        let pixels: Vec<i8> = blocks.iter().map(quantised).collect();
        Self { hash: hash(&pixels), pixels, size: (size.width, size.height) }
    }

    /// Whether the image is blank.
    pub(super) fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// The hash of the turned image.
    fn turned_hash(&self, turn: Turn) -> u64 {
        let bit = |i: usize| (self.hash >> turn.source(HASH_SIDE, i % HASH_SIDE, i / HASH_SIDE)) & 1;
        (0..HASH_SIDE * HASH_SIDE).fold(0, |hash, i| hash | (bit(i) << i))
    }

    /// Whether this image looks like the other one after `turn`, whose hash is then `turned_hash`.
    pub(super) fn looks_like(&self, other: &Self, turn: Turn, turned_hash: u64) -> bool {
        if (self.hash ^ turned_hash).count_ones() > MAX_DISTANCE || self.is_empty() || other.is_empty() {
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

/// The hashes of images in all eight orientations, in blocks of consecutive images: those with the same orientation are
/// adjacent, so that several are compared at a time.
#[derive(Default)]
pub(super) struct TurnedHashes {
    blocks: Vec<[[u64; LANES]; TURNS]>,
    count: usize,
}

impl TurnedHashes {
    /// The hashes of an image.
    pub(super) fn get(&self, image: usize) -> [u64; TURNS] {
        self.blocks[image / LANES].map(|hashes| hashes[image % LANES])
    }

    /// The images before the given one that may look like it.
    pub(super) fn near(&self, thumbnail: &Thumbnail, image: usize) -> Vec<usize> {
        let mut found = near(&self.blocks[..image.div_ceil(LANES)], thumbnail.hash);
        found.retain(|other| *other < image);
        found
    }
}

impl<'a> FromIterator<&'a Thumbnail> for TurnedHashes {
    fn from_iter<I: IntoIterator<Item = &'a Thumbnail>>(thumbnails: I) -> Self {
        let mut found = Self::default();
        for thumbnail in thumbnails {
            let place = found.count % LANES;
            if place == 0 {
                found.blocks.push([[0; LANES]; TURNS]);
            }
            if let Some(block) = found.blocks.last_mut() {
                block
                    .iter_mut()
                    .zip(Turn::all())
                    .for_each(|(hashes, turn)| hashes[place] = thumbnail.turned_hash(turn));
            }
            found.count += 1;
        }
        found
    }
}

vectorised! {
    fn near(blocks: &[[[u64; LANES]; TURNS]], own: u64) -> Vec<usize> {
        let mut found = Vec::new();
        for (i, block) in blocks.iter().enumerate() {
            let mut least = [u64::MAX; LANES];
            for hashes in block {
                let both = least.iter_mut().zip(hashes);
                both.for_each(|(least, hash)| *least = (*least).min(u64::from((own ^ hash).count_ones())));
            }
            if least.iter().fold(false, |any, bits| any | (*bits <= MAX_DISTANCE.into())) {
                let some = (i * LANES..).zip(least).filter(|(_, bits)| *bits <= MAX_DISTANCE.into());
                found.extend(some.map(|(image, _)| image));
            }
        }
        found
    }
}

vectorised! {
    /// The mean of each block's pixels with data; that of the whole image where a block has none.
    fn blocks(gray: &Gray) -> Vec<f32> {
        let Size { width, height } = gray.size;
        let edges = |length: usize| -> Vec<std::ops::Range<usize>> {
            (0..SIDE).map(|i| i * length / SIDE..((i + 1) * length / SIDE).max(i * length / SIDE + 1)).collect()
        };
        let columns = edges(width);
        let mut blocks: Vec<(u64, u64)> = Vec::with_capacity(SIDE * SIDE);
        let (mut sums, mut gaps) = (vec![0u32; width], vec![0u32; width]);
        for rows in edges(height) {
            sums.fill(0);
            gaps.fill(0);
            for y in rows.clone() {
                sums.iter_mut().zip(gray.row(y)).for_each(|(sum, value)| *sum += u32::from(*value));
                let without = gray.gaps.iter().flat_map(|all| &all[y * width..(y + 1) * width]);
                gaps.iter_mut().zip(without).for_each(|(sum, gap)| *sum += u32::from(*gap));
            }
            blocks.extend(columns.iter().map(|columns| {
                let of = |sums: &[u32]| sums[columns.clone()].iter().copied().map(u64::from).sum::<u64>();
                (of(&sums), (rows.len() * columns.len()) as u64 - of(&gaps))
            }));
        }
        let all = blocks.iter().fold((0, 0), |all, block| (all.0 + block.0, all.1 + block.1));
        let mean = |(sum, count): (u64, u64)| (sum as f64 / count as f64) as f32;
        blocks.into_iter().map(|block| if block.1 == 0 { mean(all) } else { mean(block) }).collect()
    }
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

/// High-pass filter: each pixel minus the mean of its four neighbours.
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

    /// Soft blobs, which resemble downscaled photographs.
    fn scene(seed: u64) -> Vec<f32> {
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
    fn brightness_noise_and_orientation_do_not_matter_but_content_does() {
        let scene_one = scene(1);
        let of = |numbers: &[f32]| Thumbnail::of(&Gray::scaled(numbers, SIZE));
        let one = of(&scene_one);
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let changed: Vec<f32> = scene_one.iter().map(|v| 20.0 + 0.6 * v + rng.random_range(-1.0..1.0)).collect();
        assert!(found(&one, &of(&changed)).is_some_and(Turn::is_none));
        let mirrored: Vec<f32> = (0..96 * 64).map(|i| scene_one[i / 96 * 96 + 95 - i % 96]).collect();
        assert!(found(&one, &of(&mirrored)).is_some_and(|turn| !turn.is_none()));
        for seed in 2..40 {
            assert_eq!(found(&one, &of(&scene(seed))), None, "{seed}");
        }
    }

    #[test]
    fn gradients_alone_do_not_match() {
        let ramp = |seed: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let values: Vec<f32> = (0..96 * 64).map(|i| (i % 96) as f32 + rng.random_range(-20.0..20.0)).collect();
            Thumbnail::of(&Gray::scaled(&values, SIZE))
        };
        assert_eq!(found(&ramp(1), &ramp(2)), None);
        for nothing in [5.0, f32::NAN] {
            assert!(Thumbnail::of(&Gray::scaled(&[nothing; 96 * 64], SIZE)).is_empty());
        }
    }
}
