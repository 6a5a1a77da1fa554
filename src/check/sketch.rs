//! Places of an image that are found again in every other crop of the same scene, wherever it begins.
//!
//! Every window of 8x8 pixels has a number, by a rolling hash of its samples (R. M. Karp and M. O. Rabin, 1987). The windows with
//! the smallest numbers are kept: in whatever crop a window lies, it is kept or not for the same reason, so that two crops
//! keep the same windows of what they share (bottom-k sketches; A. Z. Broder, 1997). Windows without texture, such as
//! borders, saturated areas and clear water, are the same in images that have nothing in common, and are left out.

use std::collections::{BinaryHeap, HashSet};

use crate::base::Size;

/// Side of a window.
pub(super) const SIDE: usize = 8;
/// Pixels for each window that is kept, and the least and the most windows of an image.
const PIXELS_A_WINDOW: usize = 256;
const WINDOWS: [usize; 2] = [64, 512];
/// Fewest different values of a window with texture, of 64.
const DISTINCT: usize = 16;

/// Multipliers of the rolling hash, along rows and along columns.
const ALONG: u64 = 0x9E37_79B9_7F4A_7C15;
const ACROSS: u64 = 0xC2B2_AE3D_27D4_EB4F;

/// A window that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Window {
    pub(super) hash: u64,
    /// Its last column and row.
    pub(super) x: u32,
    pub(super) y: u32,
}

/// The windows of an image with the smallest numbers, in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sketch {
    pub(super) windows: Vec<Window>,
    /// All windows with a number up to this were kept.
    pub(super) limit: u64,
}

impl Sketch {
    /// Of an image, given a number for each pixel.
    pub(super) fn of(words: &[u32], size: Size, nodata: Option<&[bool]>) -> Self {
        let Size { width, height } = size;
        let most = (width * height / PIXELS_A_WINDOW).clamp(WINDOWS[0], WINDOWS[1]);
        let mut kept = Kept { heap: BinaryHeap::with_capacity(most + 1), limit: u64::MAX, known: HashSet::new(), most };
        let powers = [ALONG, ACROSS].map(|base| base.wrapping_pow(SIDE as u32));
        let mut rows = vec![vec![0u64; width]; SIDE];
        let mut columns = vec![0u64; width];
        let mut along = vec![0u64; width];
        for (y, row) in words.chunks_exact(width).enumerate() {
            roll(row, powers[0], &mut along);
            let slot = &mut rows[y % SIDE];
            for ((sum, slot), new) in columns.iter_mut().zip(slot).zip(&along) {
                *sum = sum.wrapping_mul(ACROSS).wrapping_add(*new).wrapping_sub(slot.wrapping_mul(powers[1]));
                *slot = *new;
            }
            if y + 1 < SIDE {
                continue;
            }
            for (x, sum) in columns.iter().enumerate().skip(SIDE - 1) {
                let hash = mixed(*sum);
                if hash <= kept.limit
                    && kept.wants(hash)
                    && has_texture(words, width, (x, y))
                    && has_data(nodata, width, (x, y))
                {
                    kept.add(Window { hash, x: x as u32, y: y as u32 });
                }
            }
        }
        kept.into_sketch()
    }
}

/// The number of the last [`SIDE`] samples of a row, at each of them.
fn roll(row: &[u32], power: u64, out: &mut [u64]) {
    let mut rolling = 0u64;
    let mut next = |new: u32, old: u64| {
        rolling = rolling.wrapping_mul(ALONG).wrapping_add((u64::from(new) + 1).wrapping_sub(old));
        rolling
    };
    let (first, rest) = out.split_at_mut(SIDE.min(row.len()));
    first.iter_mut().zip(row).for_each(|(out, new)| *out = next(*new, 0));
    for ((out, new), old) in rest.iter_mut().zip(row.iter().skip(SIDE)).zip(row) {
        *out = next(*new, (u64::from(*old) + 1).wrapping_mul(power));
    }
}

/// The windows with the smallest numbers so far.
struct Kept {
    heap: BinaryHeap<Window>,
    /// None with a number above this is kept any more.
    limit: u64,
    known: HashSet<u64>,
    most: usize,
}

impl Kept {
    fn wants(&self, hash: u64) -> bool {
        let below = self.heap.len() < self.most || self.heap.peek().is_some_and(|largest| hash < largest.hash);
        below && !self.known.contains(&hash)
    }

    fn add(&mut self, window: Window) {
        self.known.insert(window.hash);
        self.heap.push(window);
        if self.heap.len() > self.most
            && let Some(largest) = self.heap.pop()
        {
            self.known.remove(&largest.hash);
        }
        if self.heap.len() >= self.most {
            self.limit = self.heap.peek().map_or(u64::MAX, |largest| largest.hash);
        }
    }

    fn into_sketch(self) -> Sketch {
        let full = self.heap.len() >= self.most;
        let windows = self.heap.into_sorted_vec();
        let limit = windows.last().filter(|_| full).map_or(u64::MAX, |largest| largest.hash);
        Sketch { windows, limit }
    }
}

/// All bits of a sum from all its bits (the finaliser of SplitMix64).
fn mixed(sum: u64) -> u64 {
    let sum = (sum ^ (sum >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let sum = (sum ^ (sum >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    sum ^ (sum >> 31)
}

/// The rows of a window that ends at a pixel.
fn rows_of<T>(pixels: &[T], width: usize, (x, y): (usize, usize)) -> impl Iterator<Item = &[T]> {
    (y + 1 - SIDE..=y).map(move |y| &pixels[y * width + x + 1 - SIDE..=y * width + x])
}

fn has_texture(words: &[u32], width: usize, end: (usize, usize)) -> bool {
    let mut seen = [0u32; DISTINCT];
    let mut count = 0;
    for value in rows_of(words, width, end).flatten() {
        if !seen[..count].contains(value) {
            seen[count] = *value;
            count += 1;
        }
        if count == DISTINCT {
            return true;
        }
    }
    false
}

fn has_data(nodata: Option<&[bool]>, width: usize, end: (usize, usize)) -> bool {
    nodata.is_none_or(|nodata| !rows_of(nodata, width, end).any(|row| row.contains(&true)))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn scene(seed: u64, side: usize) -> Vec<u32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..side * side).map(|_| rng.random_range(0..200)).collect()
    }

    fn crop(scene: &[u32], side: usize, left: usize, top: usize, crop: usize) -> Sketch {
        let words: Vec<u32> =
            (top..top + crop).flat_map(|y| scene[y * side + left..y * side + left + crop].to_vec()).collect();
        Sketch::of(&words, Size { width: crop, height: crop }, None)
    }

    #[test]
    fn crops_keep_the_same_windows_of_what_they_share() {
        let whole = scene(1, 300);
        let (a, b) = (crop(&whole, 300, 0, 0, 200), crop(&whole, 300, 97, 33, 200));
        let shared: Vec<(i64, i64)> = a
            .windows
            .iter()
            .filter_map(|window| {
                let other = b.windows.iter().find(|other| other.hash == window.hash)?;
                Some((i64::from(window.x) - i64::from(other.x), i64::from(window.y) - i64::from(other.y)))
            })
            .collect();
        assert!(shared.len() > 30 && shared.iter().all(|offset| *offset == (97, 33)), "{shared:?}");
        let other = crop(&scene(2, 300), 300, 0, 0, 200);
        assert!(!other.windows.iter().any(|window| a.windows.iter().any(|known| known.hash == window.hash)));
    }

    #[test]
    fn windows_without_texture_or_data_are_left_out() {
        let size = Size { width: 64, height: 64 };
        assert!(Sketch::of(&vec![7; 64 * 64], size, None).windows.is_empty());
        let words = scene(3, 64);
        let nodata: Vec<bool> = (0..64 * 64).map(|i| i % 64 < 32).collect();
        let found = Sketch::of(&words, size, Some(&nodata));
        assert!(!found.windows.is_empty() && found.windows.iter().all(|window| window.x >= 39));
    }
}
