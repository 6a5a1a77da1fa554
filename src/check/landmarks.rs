//! Landmarks: keypoints that are found again in another crop of the same scene, even if both were saved as JPEG.
//!
//! Landmarks are extrema of the difference between two box blurs of an image, of which the strongest are kept. As with
//! the windows of a [sketch](super::sketch), whether one is kept depends on its surroundings, not on where the crop
//! begins. Each has a 64-bit binary descriptor, whose bits tell for 64 pairs of blurred pixels around it which one is
//! brighter (BRIEF; M. Calonder et al., 2010). Compression changes few of them.

use std::cmp::Reverse;
use std::sync::LazyLock;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::gray::Gray;
use super::marked::each_marked;
use crate::base::Size;
use crate::base::vectorised;

/// Radii and window sides of the two box blurs, whose sums fit into 16 bits.
const FINE: usize = 2;
const COARSE: usize = 6;
const FINE_SIDE: usize = 2 * FINE + 1;
const COARSE_SIDE: usize = 2 * COARSE + 1;
/// Maximum distance of compared pixels from a landmark along one axis, and the distance of landmarks from the border
/// that this requires.
const AROUND: i32 = 12;
const MARGIN: usize = AROUND as usize + FINE + 1;
/// Radius within which a landmark must be the extremum.
const REACH: usize = 4;
/// Pixels per landmark kept, and bounds on the number of landmarks per image.
const PIXELS_PER_LANDMARK: usize = 1024;
const LANDMARKS: [usize; 2] = [32, 256];
/// Pixels that are blurred at once.
const AT_ONCE: usize = 1 << 12;
/// Number of contrast peaks examined first, per landmark to be kept.
const PEAKS_PER_LANDMARK: usize = 4;

/// The two pixels compared by each bit of a descriptor, as column and row offsets from the landmark.
static COMPARED: LazyLock<[[i32; 4]; 64]> = LazyLock::new(|| {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut along = || rng.random_range(-AROUND / 2..=AROUND / 2) + rng.random_range(-AROUND / 2..=AROUND / 2);
    std::array::from_fn(|_| std::array::from_fn(|_| along()))
});

/// A landmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Landmark {
    pub(super) descriptor: u64,
    pub(super) x: u32,
    pub(super) y: u32,
}

/// The strongest landmarks of an image; none near a pixel without data.
pub(super) fn landmarks(gray: &Gray) -> Vec<Landmark> {
    let Size { width, height } = gray.size;
    if width <= 2 * MARGIN || height <= 2 * MARGIN {
        return Vec::new();
    }
    let blurred = blur(gray);
    let mut peaks = peaks(&blurred);
    let most = (width * height / PIXELS_PER_LANDMARK).clamp(LANDMARKS[0], LANDMARKS[1]);
    let mut found = Vec::with_capacity(most);
    // The strongest peaks usually suffice, so that the others need be neither examined nor sorted.
    let first = peaks.len().min(PEAKS_PER_LANDMARK * most);
    if first < peaks.len() {
        peaks.select_nth_unstable(first);
    }
    let (strongest, others) = peaks.split_at_mut(first);
    for peaks in [strongest, others] {
        if found.len() < most {
            peaks.sort_unstable();
            let landmarks = peaks.iter().filter_map(|peak| blurred.landmark(*peak, gray.gaps.as_deref()));
            found.extend(landmarks.take(most - found.len()));
        }
    }
    found
}

/// A local maximum of the contrast, with its pixel index; the largest contrast sorts first.
type Peak = (Reverse<u16>, u32);

/// The two box blurs of an image.
struct Blurred {
    /// Window sums of the finer blur.
    fine: Vec<u16>,
    /// Absolute difference of the two blurs.
    contrast: Vec<u16>,
    width: usize,
    height: usize,
}

impl Blurred {
    /// The landmark at a peak, if that is the extremum of its neighbourhood and no pixel without data is near.
    fn landmark(&self, (_, at): Peak, gaps: Option<&[bool]>) -> Option<Landmark> {
        let at = at as usize;
        let (x, y) = (at % self.width, at / self.width);
        let rows = |reach: usize| (y - reach..=y + reach).map(move |y| y * self.width + x - reach);
        let own = self.contrast[at];
        let is_largest = rows(REACH).all(|start| {
            let around = self.contrast[start..=start + 2 * REACH].iter().zip(start..);
            around.fold(true, |all, (other, place)| all & ((own > *other) | ((own == *other) & (place >= at))))
        });
        let is_whole =
            || gaps.is_none_or(|gaps| !rows(MARGIN).any(|start| gaps[start..=start + 2 * MARGIN].contains(&true)));
        let place = || Landmark { descriptor: self.descriptor(x, y), x: x as u32, y: y as u32 };
        (is_largest && is_whole()).then(place)
    }

    fn descriptor(&self, x: usize, y: usize) -> u64 {
        let sum = |dx: i32, dy: i32| {
            self.fine[y.saturating_add_signed(dy as isize) * self.width + x.saturating_add_signed(dx as isize)]
        };
        let bit = |(i, [ax, ay, bx, by]): (usize, &[i32; 4])| u64::from(sum(*ax, *ay) > sum(*bx, *by)) << i;
        COMPARED.iter().enumerate().map(bit).fold(0, |descriptor, bit| descriptor | bit)
    }
}

vectorised! {
    /// Computes both blurs. Horizontal sums treat several rows as one; those across the end of a row are wrong, but too
    /// close to the border for landmarks.
    fn blur(gray: &Gray) -> Blurred {
        let Size { width, height } = gray.size;
        let (mut fine, mut contrast) = (vec![0; width * height], vec![0; width * height]);
        let (mut fine_columns, mut coarse_columns) = (vec![0; width], vec![0; width]);
        let rows = (AT_ONCE / width).max(1);
        let [mut columns, mut four] = std::array::from_fn(|_| vec![0; rows * width]);
        for top in (0..height).step_by(rows) {
            let length = rows.min(height - top) * width;
            let (columns, four) = (&mut columns[..length], &mut four[..length]);
            add_rows::<FINE_SIDE>(gray, top, &mut fine_columns, columns);
            add_four(columns, four);
            let (out, first) = centres::<FINE>(&mut fine, top, width);
            let after = |by: usize| columns.get(first + by..).unwrap_or_default();
            let sums = four[first.min(length)..].iter().zip(after(4));
            out.iter_mut().zip(sums).for_each(|(out, (four, last))| *out = four + last);

            add_rows::<COARSE_SIDE>(gray, top, &mut coarse_columns, columns);
            add_four(columns, four);
            let (out, first) = centres::<COARSE>(&mut contrast, top, width);
            let fine = &fine[fine.len() - out.len()..];
            let after = |by: usize| four.get(first + by..).unwrap_or_default();
            let sums = after(0).iter().zip(after(4)).zip(after(8).iter().zip(columns.get(first + 12..).unwrap_or_default()));
            for ((out, fine), ((a, b), (c, last))) in out.iter_mut().zip(fine).zip(sums) {
                *out = as_coarse(*fine).abs_diff(a + b + c + last);
            }
        }
        Blurred { fine, contrast, width, height }
    }
}

vectorised! {
    /// Local maxima of the contrast among the four neighbours; of equal ones, the first.
    fn peaks(blurred: &Blurred) -> Vec<Peak> {
        let (width, mut found) = (blurred.width, Vec::new());
        let mut larger = vec![0u8; width - 2 * MARGIN];
        for y in MARGIN..blurred.height - MARGIN {
            let start = y * width + MARGIN;
            let row = |start: usize| &blurred.contrast[start..start + width - 2 * MARGIN];
            let (own, left, right) = (row(start), row(start - 1), row(start + 1));
            let (above, below) = (row(start - width), row(start + width));
            let beside = left.iter().zip(right).zip(above.iter().zip(below));
            for (larger, (own, ((left, right), (above, below)))) in larger.iter_mut().zip(own.iter().zip(beside)) {
                *larger = u8::from((own > left) & (own >= right) & (own > above) & (own >= below));
            }
            each_marked(&larger, 1, |x| found.push((Reverse(blurred.contrast[start + x]), (start + x) as u32)));
        }
        found
    }
}

/// Column sums over the last `SIDE` rows, at each of several rows, continued from the sums at the row before.
#[inline(always)]
fn add_rows<const SIDE: usize>(gray: &Gray, top: usize, columns: &mut [u16], out: &mut [u16]) {
    for (y, out) in (top..).zip(out.chunks_exact_mut(columns.len())) {
        columns.iter_mut().zip(gray.row(y)).for_each(|(sum, value)| *sum += u16::from(*value));
        if y >= SIDE {
            columns.iter_mut().zip(gray.row(y - SIDE)).for_each(|(sum, value)| *sum -= u16::from(*value));
        }
        out.copy_from_slice(columns);
    }
}

/// The sum of each value and the three that follow.
#[inline(always)]
fn add_four(values: &[u16], out: &mut [u16]) {
    let [b, c, d] = [1, 2, 3].map(|by| &values[by..]);
    let all = values.iter().zip(b).zip(c.iter().zip(d));
    out.iter_mut().zip(all).for_each(|(out, ((a, b), (c, d)))| *out = a + b + c + d);
}

/// The pixels at the centres of the windows whose last row is `top` or below, in the order of the windows' first pixels
/// in their last rows; and the index of the first window whose centre is in the image.
#[inline(always)]
fn centres<const RADIUS: usize>(image: &mut [u16], top: usize, width: usize) -> (&mut [u16], usize) {
    let (begin, up) = (top * width, RADIUS * (width - 1));
    let first = up.saturating_sub(begin);
    (&mut image[begin + first - up..], first)
}

/// A sum of the finer blur, scaled to the window area of the coarser one: times 169 / 25.
#[inline(always)]
fn as_coarse(fine: u16) -> u16 {
    const SHARE: u32 = ((COARSE_SIDE * COARSE_SIDE) << 13).div_ceil(FINE_SIDE * FINE_SIDE) as u32;
    ((u32::from(fine << 3) * SHARE) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blurred noise, of 8 bits.
    fn scene(seed: u64, size: Size) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let noise: Vec<f32> = (0..size.width * size.height).map(|_| rng.random_range(0.0..255.0)).collect();
        let mean = |x: usize, y: usize| {
            let rows = y.saturating_sub(3)..(y + 4).min(size.height);
            let around = x.saturating_sub(3)..(x + 4).min(size.width);
            let rows = rows.flat_map(|y| &noise[y * size.width + around.start..y * size.width + around.end]);
            rows.sum::<f32>() / 49.0
        };
        (0..noise.len()).map(|i| mean(i % size.width, i / size.width)).collect()
    }

    #[test]
    fn crops_have_the_same_landmarks_in_spite_of_noise() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let whole = scene(3, Size { width: 200, height: 160 });
        let mut crop = |left: usize, top: usize| -> Vec<Landmark> {
            let at = |i: usize| whole[(top + i / 150) * 200 + left + i % 150];
            let values: Vec<f32> = (0..150 * 120).map(|i| at(i) + rng.random_range(-1.0..1.0)).collect();
            landmarks(&Gray::scaled(&values, Size { width: 150, height: 120 }))
        };
        let (a, b) = (crop(0, 0), crop(31, 22));
        let same = |one: &&Landmark| {
            b.iter().any(|other| {
                (other.x + 31).abs_diff(one.x) <= 1
                    && (other.y + 22).abs_diff(one.y) <= 1
                    && (other.descriptor ^ one.descriptor).count_ones() <= 8
            })
        };
        let found = a.iter().filter(same).count();
        assert!(found * 3 > a.len() && a.len() >= 20, "{found} of {}", a.len());
        assert!(landmarks(&Gray::scaled(&[1.0; 64 * 64], Size { width: 64, height: 64 })).is_empty());
    }

    #[test]
    fn landmarks_keep_away_from_pixels_without_data() {
        let size = Size { width: 160, height: 120 };
        let whole = scene(4, size);
        let gaps: Vec<f32> = whole.iter().enumerate().map(|(i, v)| if i % 160 < 40 { f32::NAN } else { *v }).collect();
        let found = landmarks(&Gray::scaled(&gaps, size));
        assert!(!found.is_empty() && found.iter().all(|landmark| landmark.x as usize >= 40 + MARGIN), "{found:?}");
    }
}
