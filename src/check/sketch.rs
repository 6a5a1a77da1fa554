//! Sketches of images, by which overlapping crops of the same scene are found, wherever each begins.
//!
//! Every window of 8x8 pixels has a rolling hash, a polynomial of its samples that is computed along rows and then
//! rolled down columns (R. M. Karp and M. O. Rabin, 1987). The windows with the smallest hashes are kept (a bottom-k
//! sketch; A. Z. Broder, 1997): whether a window is kept depends on its pixels, not on where the crop begins, so that
//! two crops keep the same windows of their overlap. Windows without texture, such as borders, saturated areas and
//! clear water, also match between unrelated images, and are left out.

use super::pixel_hashes::{SIDE, hash_pixels, window_hashes};
use crate::base::Size;
use crate::base::vectorised;
use crate::image::Image;

/// Pixels per window kept, and the fewest and most windows per image.
const PIXELS_PER_WINDOW: usize = 256;
const WINDOWS: [usize; 2] = [64, 512];
/// A window with texture has at least this many distinct values, of 64.
const DISTINCT: usize = 16;
/// Number of candidates examined first, per window to be kept; and the factor by which it grows while too few of them
/// have texture.
const CANDIDATES_PER_WINDOW: u64 = 2;
const GROWTH: u64 = 8;
/// Number of pixels hashed at a time.
const AT_ONCE: usize = 1 << 12;
/// Number of adjacent windows compared at a time.
const LANES: usize = 32;

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

/// The windows of an image with the smallest hashes, in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sketch {
    pub(super) windows: Vec<Window>,
    /// All windows with a hash up to this were kept.
    pub(super) limit: u64,
}

impl Sketch {
    /// The sketch of an image.
    pub(super) fn of(image: &Image) -> Self {
        let Size { width, height } = image.size;
        if width < SIDE || height < SIDE {
            return Self { windows: Vec::new(), limit: u64::MAX };
        }
        let most = (width * height / PIXELS_PER_WINDOW).clamp(WINDOWS[0], WINDOWS[1]);
        let mut wanted = CANDIDATES_PER_WINDOW * most as u64;
        loop {
            let limit = (u64::from(u32::MAX) * wanted / (width * height) as u64).min(u32::MAX.into()) as u32;
            let windows = Self::up_to(limit, image, most);
            if windows.len() == most || limit == u32::MAX {
                let limit = windows.last().filter(|_| windows.len() == most).map_or(u64::MAX, |largest| largest.hash);
                return Self { windows, limit };
            }
            wanted *= GROWTH;
        }
    }

    /// The windows to keep, of those with a hash up to a limit.
    fn up_to(limit: u32, image: &Image, most: usize) -> Vec<Window> {
        let mut found = candidates(image, limit);
        found.sort_unstable();
        // Equal hashes mean equal windows, barring collisions.
        found.dedup_by_key(|candidate| candidate.0);
        let window = |(rolling_hash, y, x): Candidate| {
            let (x, y) = (x as usize, y as usize);
            let pixel_hashes = window_hashes(image, (x, y));
            (has_texture(&pixel_hashes) && has_data(image, (x, y))).then(|| Window {
                hash: u64::from(rolling_hash) << 32 | u64::from(hash(&pixel_hashes)),
                x: (x + SIDE - 1) as u32,
                y: (y + SIDE - 1) as u32,
            })
        };
        found.into_iter().filter_map(window).take(most).collect()
    }
}

/// The rolling hash of a window, and its first row and column.
type Candidate = (u32, u32, u32);

vectorised! {
    /// The windows with a rolling hash up to a limit.
    fn candidates(image: &Image, limit: u32) -> Vec<Candidate> {
        let mut found = Vec::new();
        let Size { width, height } = image.size;
        let windows = width + 1 - SIDE;
        let at_once = (AT_ONCE / width).max(1);
        let mut pixel_hashes = vec![0u32; at_once * width];
        let mut rows = vec![0u32; SIDE * width];
        let [mut columns, mut rolling_hashes] = std::array::from_fn(|_| vec![0u32; width]);
        for top in (0..height).step_by(at_once) {
            // Treats these rows as one; the windows across the end of each are left out later.
            let pixel_hashes = &mut pixel_hashes[..at_once.min(height - top) * width];
            hash_pixels(image, top * width, pixel_hashes);
            join::<1>(pixel_hashes, ALONG);
            join::<2>(pixel_hashes, const { ALONG.wrapping_pow(2) });
            join::<4>(pixel_hashes, const { ALONG.wrapping_pow(4) });
            for (y, pixel_hashes) in (top..).zip(pixel_hashes.chunks_exact(width)) {
                let slot = &mut rows[y % SIDE * width..][..width];
                let sums = columns.iter_mut().zip(slot).zip(pixel_hashes.iter().zip(&mut rolling_hashes));
                for ((sum, slot), (pixel, rolling_hash)) in sums {
                    let leaving = slot.wrapping_mul(const { ACROSS.wrapping_pow(SIDE as u32) });
                    *sum = sum.wrapping_mul(ACROSS).wrapping_add(*pixel).wrapping_sub(leaving);
                    *slot = *pixel;
                    *rolling_hash = mixed(*sum);
                }
                let Some(first) = (y + 1).checked_sub(SIDE) else { continue };
                for (i, beside) in rolling_hashes[..windows].chunks(LANES).enumerate() {
                    if beside.iter().fold(false, |any, rolling_hash| any | (*rolling_hash <= limit)) {
                        let some = beside.iter().zip(i * LANES..).filter(|(rolling_hash, _)| **rolling_hash <= limit);
                        found.extend(some.map(|(rolling_hash, x)| (*rolling_hash, first as u32, x as u32)));
                    }
                }
            }
        }
        found
    }
}

/// Combines the polynomial at each pixel with the one `STEP` pixels further on.
#[inline(always)]
fn join<const STEP: usize>(pixel_hashes: &mut [u32], factor: u32) {
    for i in 0..pixel_hashes.len().saturating_sub(STEP) {
        pixel_hashes[i] = pixel_hashes[i].wrapping_mul(factor).wrapping_add(pixel_hashes[i + STEP]);
    }
}

/// Mixes a sum so that each bit depends on all of its bits (the finaliser of C. Wellons' `lowbias32`).
#[inline(always)]
fn mixed(sum: u32) -> u32 {
    let sum = (sum ^ (sum >> 16)).wrapping_mul(0x7FEB_352D);
    let sum = (sum ^ (sum >> 15)).wrapping_mul(0x846C_A68B);
    sum ^ (sum >> 16)
}

/// A second hash of a window, as the rolling hashes of the windows kept are all small.
fn hash(pixel_hashes: &[u32; SIDE * SIDE]) -> u32 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    // Independent sums, which can be computed in parallel.
    let mut sums = [1u64, 2, 3, 4];
    for pixel_hashes in pixel_hashes.as_chunks::<8>().0 {
        for (sum, [a, b]) in sums.iter_mut().zip(pixel_hashes.as_chunks::<2>().0) {
            *sum = (*sum ^ (u64::from(*a) << 32 | u64::from(*b))).wrapping_mul(FACTOR).rotate_left(29);
        }
    }
    (sums.iter().fold(0u64, |all, sum| (all ^ sum).wrapping_mul(FACTOR).rotate_left(29)) >> 32) as u32
}

fn has_texture(pixel_hashes: &[u32; SIDE * SIDE]) -> bool {
    // Distinct values mostly set different bits here, and equal values never do.
    let bit = |pixel: &u32| 1u64 << (pixel.wrapping_mul(ALONG) >> 26);
    if pixel_hashes.iter().fold(0, |bits, pixel| bits | bit(pixel)).count_ones() as usize >= DISTINCT {
        return true;
    }
    let mut sorted = *pixel_hashes;
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
