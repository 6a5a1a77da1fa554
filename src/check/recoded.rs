//! Crops of one scene that were saved with a lossy format since: their pixels differ a little everywhere. Images with some
//! [landmarks](super::landmarks) in common, all shifted alike, are read again and compared where they overlap.

use std::collections::HashSet;
use std::path::Path;

use rayon::prelude::*;

use super::content::{Link, LinkKind};
use super::landmarks::Landmark;
use super::measure::gray;
use super::summary::ImageSummary;
use crate::base::Size;
use crate::image::read_image;

/// Most bits in which the codes of one landmark differ, and fewest landmarks that two crops share.
const MOST_BITS: u32 = 8;
const FEWEST_SHARED: usize = 4;
/// How many bits of a code must be the same for two to be compared: of a few codes, and of many.
const KEY_BITS: [(usize, u32); 3] = [(50_000, 16), (250_000, 20), (usize::MAX, 24)];
/// Bits between the beginnings of such parts of a code.
const STEP: u32 = 16;
/// Codes with an equal part that are compared; more of them tell nothing.
const COMPARED: usize = 64;
/// Most pairs that are read again, of all and of one image.
const MOST_READ: usize = 10_000;
const MOST_OF_ONE: usize = 16;

/// How far the shift may be from that of the landmarks, in pixels.
const NEAR: i64 = 2;
/// Side of the smallest overlap that is compared, and of the blocks in it.
const LEAST_SIDE: i64 = 32;
const BLOCK: usize = 16;
/// Least correlation of the fine structure in the overlap, and of most blocks of it that have some. JPEG of quality 50
/// leaves 0.95 to 0.99; frames of a camera that stands still have 0.88 at most, radar images of one coast 0.85, neighbouring
/// slices of a seismic volume 0.69.
const CORRELATION: f64 = 0.95;
const BLOCK_CORRELATION: f64 = 0.85;
const SHARE_OF_BLOCKS: f64 = 0.8;

/// Whether a file may have been changed by compression.
pub(super) fn is_lossy(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    ["jpg", "jpeg", "jpe", "jfif", "webp"].iter().any(|lossy| ending == *lossy)
}

/// Images that show parts of one scene, but for those that are `known` to belong together.
pub(super) fn recoded<'a>(
    images: &[(usize, &ImageSummary)],
    known: &HashSet<(usize, usize)>,
    path: impl Fn(usize) -> &'a Path + Sync,
) -> Vec<Link> {
    let mut candidates = candidates(images);
    candidates.retain(|found| !known.contains(&(images[found.first].0, images[found.second].0)));
    let compare = |found: &Candidate| {
        let (first, second) = (images[found.first].0, images[found.second].0);
        let (one, other) = (Fine::of(path(first))?, Fine::of(path(second))?);
        let (x, y) = one.place_of(&other, found.shift)?;
        let (w, h) = one.overlap(&other, (x, y))?;
        let smaller = (one.size.width * one.size.height).min(other.size.width * other.size.height).max(1);
        let share = (1000.0 * (w * h) as f64 / smaller as f64).round() as u32;
        Some(Link { first, second, kind: LinkKind::Overlap(x, y, share) })
    };
    candidates.par_iter().filter_map(compare).collect()
}

/// Two images with landmarks in common, by their places in a list.
struct Candidate {
    first: usize,
    second: usize,
    /// Where the second begins in the first.
    shift: (i64, i64),
    landmarks: usize,
}

/// The pairs that may belong together, those with most landmarks in common first.
fn candidates(images: &[(usize, &ImageSummary)]) -> Vec<Candidate> {
    let mut shared = shared_landmarks(images);
    shared.par_sort_unstable();
    shared.dedup();
    let mut found = Vec::new();
    for both in shared.chunk_by(|a, b| a.images == b.images).filter(|both| both.len() >= FEWEST_SHARED) {
        let near = |one: &Shared| both.iter().filter(|other| one.is_near(other)).count();
        let Some((most, landmarks)) = both.iter().map(|one| (one, near(one))).max_by_key(|(_, count)| *count) else {
            continue;
        };
        if landmarks >= FEWEST_SHARED {
            let (first, second) = (most.images.0 as usize, most.images.1 as usize);
            found.push(Candidate { first, second, shift: most.shift, landmarks });
        }
    }
    found.sort_by_key(|candidate| std::cmp::Reverse(candidate.landmarks));
    let mut read = vec![0; images.len()];
    found.retain(|candidate| {
        read[candidate.first] += 1;
        read[candidate.second] += 1;
        read[candidate.first].min(read[candidate.second]) <= MOST_OF_ONE
    });
    found.truncate(MOST_READ);
    found
}

/// A landmark that two images have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Shared {
    images: (u32, u32),
    landmarks: (u32, u32),
    shift: (i64, i64),
}

impl Shared {
    fn is_near(&self, other: &Self) -> bool {
        (self.shift.0 - other.shift.0).abs() <= 1 && (self.shift.1 - other.shift.1).abs() <= 1
    }
}

fn shared_landmarks(images: &[(usize, &ImageSummary)]) -> Vec<Shared> {
    let count: usize = images.iter().map(|(_, image)| image.landmarks.len()).sum();
    let bits = KEY_BITS.iter().find(|(most, _)| count <= *most).map_or(0, |(_, bits)| *bits);
    let mut shared = Vec::new();
    for begin in (0..u64::BITS).step_by(STEP as usize) {
        let key = |landmark: &Landmark| landmark.code.rotate_right(begin) & ((1 << bits) - 1);
        let mut keys: Vec<(u64, u32, u32)> = Vec::with_capacity(count);
        for (i, (_, image)) in images.iter().enumerate() {
            keys.extend((0..).zip(&image.landmarks).map(|(k, landmark)| (key(landmark), i as u32, k)));
        }
        keys.par_sort_unstable();
        for same in keys.chunk_by(|a, b| a.0 == b.0).filter(|same| (2..=COMPARED).contains(&same.len())) {
            for (at, (_, a, k)) in same.iter().enumerate() {
                let one = images[*a as usize].1.landmarks[*k as usize];
                for (_, b, m) in same[at + 1..].iter().filter(|(_, b, _)| b != a) {
                    let other = images[*b as usize].1.landmarks[*m as usize];
                    if (one.code ^ other.code).count_ones() <= MOST_BITS {
                        let shift = |a: u32, b: u32| i64::from(a) - i64::from(b);
                        let shift = (shift(one.x, other.x), shift(one.y, other.y));
                        shared.push(Shared { images: (*a, *b), landmarks: (*k, *m), shift });
                    }
                }
            }
        }
    }
    shared
}

/// The fine structure of an image: what differs between its surroundings near by and further away.
struct Fine {
    values: Vec<f32>,
    size: Size,
}

impl Fine {
    fn of(path: &Path) -> Option<Self> {
        let image = read_image(path).ok()?;
        let (size, gray) = (image.size, gray(&image));
        let (near, far) = (blurred(&gray, size, 1), blurred(&gray, size, 4));
        let values = near.into_iter().zip(far).map(|(near, far)| near - far).collect();
        Some(Self { values, size })
    }

    /// Columns and rows that both have, of another one that begins at a place in this one.
    fn overlap(&self, other: &Self, (x, y): (i64, i64)) -> Option<(i64, i64)> {
        let along = |shift: i64, own: usize, other: usize| (shift + other as i64).min(own as i64) - shift.max(0);
        let (w, h) = (along(x, self.size.width, other.size.width), along(y, self.size.height, other.size.height));
        (w >= LEAST_SIDE && h >= LEAST_SIDE).then_some((w, h))
    }

    /// Where another one begins in this one, near a place, if both show the same there.
    fn place_of(&self, other: &Self, (x, y): (i64, i64)) -> Option<(i64, i64)> {
        let near = (-NEAR..=NEAR).flat_map(|dy| (-NEAR..=NEAR).map(move |dx| (x + dx, y + dy)));
        let correlated = near.filter_map(|place| Some((self.parts(other, place)?, place)));
        let measured = correlated
            .map(|((mine, theirs, width), place)| (correlation(&mine, &theirs), place, (mine, theirs, width)));
        let (correlation, place, (mine, theirs, width)) = measured.max_by(|a, b| a.0.total_cmp(&b.0))?;
        (correlation >= CORRELATION && blocks_agree(&mine, &theirs, width)).then_some(place)
    }

    /// What both have of the overlap, row by row, and its width.
    fn parts(&self, other: &Self, (x, y): (i64, i64)) -> Option<(Vec<f32>, Vec<f32>, usize)> {
        let (width, height) = self.overlap(other, (x, y))?;
        let part = |of: &Self, left: i64, top: i64| -> Vec<f32> {
            let row = |row: i64| {
                let start = (top + row) as usize * of.size.width + left as usize;
                &of.values[start..start + width as usize]
            };
            (0..height).flat_map(row).copied().collect()
        };
        Some((part(self, x.max(0), y.max(0)), part(other, (-x).max(0), (-y).max(0)), width as usize))
    }
}

/// Whether most blocks are alike of those with more structure than others: a frame or a logo that images share is not enough.
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

/// The correlation; 0 where one of the two is even or has gaps.
fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let (mean_a, mean_b) = (mean(a), mean(b));
    let products = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - mean_a) * (f64::from(*b) - mean_b)).sum::<f64>();
    let found = products / (a.len().max(1) as f64 * deviation(a) * deviation(b));
    if found.is_finite() { found } else { 0.0 }
}

/// The mean of the pixels around each, as far as a radius and the border.
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
