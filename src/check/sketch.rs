//! Places of an image that are found again in every other crop of the same scene, wherever it begins.
//!
//! Every window of 8x8 pixels has a number, by a polynomial of its samples that is taken along rows and then rolled along
//! columns (R. M. Karp and M. O. Rabin, 1987). The windows with the smallest numbers are kept: in whatever crop a window lies,
//! it is kept or not for the same reason, so that two crops keep the same windows of what they share (bottom-k sketches;
//! A. Z. Broder, 1997). Windows without texture, such as borders, saturated areas and clear water, are the same in images that
//! have nothing in common, and are left out.

use super::vectorised::vectorised;
use super::words::{SIDE, window_words, write_words};
use crate::base::Size;
use crate::image::Image;

/// Pixels for each window that is kept, and the least and the most windows of an image.
const PIXELS_A_WINDOW: usize = 256;
const WINDOWS: [usize; 2] = [64, 512];
/// Fewest different values of a window with texture, of 64.
const DISTINCT: usize = 16;
/// Windows for each that is kept that are looked at first, and how many times as many are where these have too little texture.
const LOOKED_AT: u64 = 2;
const MORE: u64 = 8;
/// Pixels that are multiplied at once.
const AT_ONCE: usize = 1 << 12;
/// Windows beside each other that are compared at once.
const BESIDE: usize = 32;

/// Multipliers of the polynomial, along rows and along columns.
const ALONG: u32 = 0x9E37_79B1;
const ACROSS: u32 = 0xC2B2_AE3D;

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
    /// Of an image and its pixels without data.
    pub(super) fn of(image: &Image) -> Self {
        let Size { width, height } = image.size;
        if width < SIDE || height < SIDE {
            return Self { windows: Vec::new(), limit: u64::MAX };
        }
        let most = (width * height / PIXELS_A_WINDOW).clamp(WINDOWS[0], WINDOWS[1]);
        let mut looked_at = LOOKED_AT * most as u64;
        loop {
            let limit = (u64::from(u32::MAX) * looked_at / (width * height) as u64).min(u32::MAX.into()) as u32;
            let windows = Self::up_to(limit, image, most);
            if windows.len() == most || limit == u32::MAX {
                let limit = windows.last().filter(|_| windows.len() == most).map_or(u64::MAX, |largest| largest.hash);
                return Self { windows, limit };
            }
            looked_at *= MORE;
        }
    }

    /// The windows to keep, of those with a number up to a limit.
    fn up_to(limit: u32, image: &Image, most: usize) -> Vec<Window> {
        let mut found = candidates(image, limit);
        found.sort_unstable();
        // The same windows, but for coincidence.
        found.dedup_by_key(|candidate| candidate.0);
        let window = |(number, y, x): Candidate| {
            let (x, y) = (x as usize, y as usize);
            let words = window_words(image, (x, y));
            (has_texture(&words) && has_data(image, (x, y))).then(|| Window {
                hash: u64::from(number) << 32 | u64::from(hash(&words)),
                x: (x + SIDE - 1) as u32,
                y: (y + SIDE - 1) as u32,
            })
        };
        found.into_iter().filter_map(window).take(most).collect()
    }
}

/// The number of a window, and the first row and column of it.
type Candidate = (u32, u32, u32);

vectorised! {
    /// The windows with numbers up to a limit.
    fn candidates(image: &Image, limit: u32) -> Vec<Candidate> {
        let mut found = Vec::new();
        let Size { width, height } = image.size;
        let windows = width + 1 - SIDE;
        let at_once = (AT_ONCE / width).max(1);
        let mut words = vec![0u32; at_once * width];
        let mut rows = vec![0u32; SIDE * width];
        let [mut columns, mut numbers] = std::array::from_fn(|_| vec![0u32; width]);
        for top in (0..height).step_by(at_once) {
            // As if these rows were one: the windows at the end of each are left out later.
            let words = &mut words[..at_once.min(height - top) * width];
            write_words(image, top * width, words);
            join::<1>(words, ALONG);
            join::<2>(words, const { ALONG.wrapping_pow(2) });
            join::<4>(words, const { ALONG.wrapping_pow(4) });
            for (y, words) in (top..).zip(words.chunks_exact(width)) {
                let slot = &mut rows[y % SIDE * width..][..width];
                let sums = columns.iter_mut().zip(slot).zip(words.iter().zip(&mut numbers));
                for ((sum, slot), (word, number)) in sums {
                    let leaving = slot.wrapping_mul(const { ACROSS.wrapping_pow(SIDE as u32) });
                    *sum = sum.wrapping_mul(ACROSS).wrapping_add(*word).wrapping_sub(leaving);
                    *slot = *word;
                    *number = mixed(*sum);
                }
                let Some(first) = (y + 1).checked_sub(SIDE) else { continue };
                for (i, beside) in numbers[..windows].chunks(BESIDE).enumerate() {
                    if beside.iter().fold(false, |any, number| any | (*number <= limit)) {
                        let some = beside.iter().zip(i * BESIDE..).filter(|(number, _)| **number <= limit);
                        found.extend(some.map(|(number, x)| (*number, first as u32, x as u32)));
                    }
                }
            }
        }
        found
    }
}

/// Joins the polynomial of each pixel with that of the one which follows by `STEP`.
#[inline(always)]
fn join<const STEP: usize>(words: &mut [u32], factor: u32) {
    for i in 0..words.len().saturating_sub(STEP) {
        words[i] = words[i].wrapping_mul(factor).wrapping_add(words[i + STEP]);
    }
}

/// All bits of a sum from all its bits (the finaliser of C. Wellons' `lowbias32`).
#[inline(always)]
fn mixed(sum: u32) -> u32 {
    let sum = (sum ^ (sum >> 16)).wrapping_mul(0x7FEB_352D);
    let sum = (sum ^ (sum >> 15)).wrapping_mul(0x846C_A68B);
    sum ^ (sum >> 16)
}

/// A second number of a window: of the kept ones, the first are all small.
fn hash(words: &[u32; SIDE * SIDE]) -> u32 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    // Several sums that do not wait for each other.
    let mut sums = [1u64, 2, 3, 4];
    for words in words.as_chunks::<8>().0 {
        for (sum, [a, b]) in sums.iter_mut().zip(words.as_chunks::<2>().0) {
            *sum = (*sum ^ (u64::from(*a) << 32 | u64::from(*b))).wrapping_mul(FACTOR).rotate_left(29);
        }
    }
    (sums.iter().fold(0u64, |all, sum| (all ^ sum).wrapping_mul(FACTOR).rotate_left(29)) >> 32) as u32
}

fn has_texture(words: &[u32; SIDE * SIDE]) -> bool {
    // Different values mostly have different bits here, and equal ones never have.
    let bit = |word: &u32| 1u64 << (word.wrapping_mul(ALONG) >> 26);
    if words.iter().fold(0, |bits, word| bits | bit(word)).count_ones() as usize >= DISTINCT {
        return true;
    }
    let mut sorted = *words;
    sorted.sort_unstable();
    sorted.chunk_by(|a, b| a == b).count() >= DISTINCT
}

fn has_data(image: &Image, (x, y): (usize, usize)) -> bool {
    let row = |y: usize| y * image.size.width + x..y * image.size.width + x + SIDE;
    image.nodata.as_ref().is_none_or(|nodata| !(y..y + SIDE).any(|y| nodata[row(y)].contains(&true)))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::image::Samples;

    fn scene(seed: u64, side: usize) -> Vec<u8> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..side * side).map(|_| rng.random_range(0..200)).collect()
    }

    fn image(side: usize, bytes: Vec<u8>) -> Image {
        Image::new(Size { width: side, height: side }, 1, Samples::U8(bytes))
    }

    fn crop(scene: &[u8], side: usize, left: usize, top: usize, crop: usize) -> Sketch {
        let bytes = (top..top + crop).flat_map(|y| scene[y * side + left..y * side + left + crop].to_vec()).collect();
        Sketch::of(&image(crop, bytes))
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
        assert!(Sketch::of(&image(64, vec![7; 64 * 64])).windows.is_empty());
        let nodata: Vec<bool> = (0..64 * 64).map(|i| i % 64 < 32).collect();
        let found = Sketch::of(&Image { nodata: Some(nodata), ..image(64, scene(3, 64)) });
        assert!(!found.windows.is_empty() && found.windows.iter().all(|window| window.x >= 39));
    }

    #[test]
    fn a_small_part_with_texture_is_searched_as_thoroughly() {
        let mut bytes = vec![7; 256 * 256];
        let texture = scene(4, 40);
        for y in 0..40 {
            bytes[(y + 100) * 256 + 50..][..40].copy_from_slice(&texture[y * 40..][..40]);
        }
        assert_eq!(Sketch::of(&image(256, bytes)).windows.len(), 256);
    }
}
