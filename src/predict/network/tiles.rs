//! Where sliding windows lie, and how what they say is blended.

use std::fmt;
use std::ops::Range;

use crate::base::named_enum::named_enum;
use crate::base::{Result, Size, require};

/// Standard deviation of the Gaussian over a window, as a share of its side; nnU-Net's.
const SIGMA: f32 = 0.125;

/// How the results of windows that overlap become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Blend {
    /// Their mean, weighted by a Gaussian about the middle of each window with a standard deviation of an eighth of its side
    /// (nnU-Net's).
    #[default]
    Gaussian,
    /// Their mean, with weights that fall linearly to the edge of each window over the overlap.
    Linear,
    /// Their plain mean.
    Average,
    /// Only the middle of each window counts, without half of the overlap on each side (the U-Net paper's).
    Crop,
}

named_enum!(Blend, "blending", "gaussian" => Gaussian, "linear" => Linear, "average" => Average, "crop" => Crop);

/// What windows see where an image ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Border {
    /// Nothing: the last window ends where the image does, and overlaps more with the one before it.
    Inside,
    /// The same, but smaller images are extended by the mean to a whole window.
    Padded,
    /// The image mirrored about its border pixels, half the overlap deep, as in the U-Net paper.
    Mirrored,
}

/// Sliding windows over an image. Images that are no larger than a window are predicted whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    /// Side of a window, in pixels.
    pub side: usize,
    /// Step between windows, in pixels.
    pub stride: usize,
    /// What windows see where the image ends.
    pub border: Border,
    /// How they are blended.
    pub blend: Blend,
}

impl Tiles {
    /// Windows of that side, two thirds of it apart (rounded up), averaged, as hszhao/semseg lays them.
    pub fn two_thirds_apart(side: usize) -> Self {
        Self::apart(side, (2 * side).div_ceil(3))
    }

    /// Windows that lie `stride` apart, averaged.
    pub fn apart(side: usize, stride: usize) -> Self {
        Self { side, stride, border: Border::Inside, blend: Blend::Average }
    }

    /// Windows that overlap by `overlap` pixels, over an image that is mirrored at its border.
    ///
    /// # Errors
    ///
    /// If the overlap is more than half of the side: more than two windows would overlap along a side.
    pub fn overlapping(side: usize, overlap: usize, blend: Blend) -> Result<Self> {
        let expected = format!("from 0 to {}, half the side of a window", side / 2);
        require(overlap <= side / 2, "overlap", overlap, expected)?;
        Ok(Self { side, stride: side - overlap, border: Border::Mirrored, blend })
    }

    /// The overlap between windows, in pixels.
    pub fn overlap(&self) -> usize {
        self.side - self.stride
    }

    /// Whether images smaller than a window are extended to one.
    pub(super) fn is_padded(&self) -> bool {
        self.border == Border::Padded
    }

    /// Whether they go over an image of that size, which is predicted whole otherwise.
    pub(super) fn go_over(&self, size: Size) -> bool {
        self.is_padded() || size.width.max(size.height) > self.side
    }

    /// The same with sides and half overlaps that are multiples of what the network takes, where the border is mirrored:
    /// windows are then divided into the same cells as their neighbours.
    #[must_use]
    pub(super) fn fitted_to(self, multiple: usize) -> Self {
        if self.border != Border::Mirrored {
            return self;
        }
        let overlap = self.overlap().next_multiple_of(2 * multiple);
        let side = self.side.next_multiple_of(multiple).max(2 * overlap);
        Self { side, stride: side - overlap, ..self }
    }

    /// Where windows begin along a side, how they are weighted, and what that sums up to.
    pub(super) fn axis(&self, length: usize) -> Axis {
        if length <= self.side {
            return Axis::new(length, length, vec![0], vec![1.0; length]);
        }
        if self.border != Border::Mirrored {
            let last = length - self.side;
            let starts = (0..=last.div_ceil(self.stride)).map(|i| (i * self.stride).min(last) as isize).collect();
            return Axis::new(length, self.side, starts, vec![1.0; self.side]);
        }
        let margin = self.overlap() / 2;
        let start = |i: usize| (i * self.stride) as isize - margin as isize;
        Axis::new(length, self.side, (0..length.div_ceil(self.stride)).map(start).collect(), self.weights())
    }

    /// The weight of each pixel along a window.
    fn weights(&self) -> Vec<f32> {
        let (side, overlap) = (self.side, self.overlap());
        let center = (side as f32 - 1.0) / 2.0;
        let weight = |x: usize| match self.blend {
            Blend::Average => 1.0,
            Blend::Gaussian => (-0.5 * ((x as f32 - center) / (side as f32 * SIGMA)).powi(2)).exp(),
            Blend::Linear => {
                let to_edge = x.min(side - 1 - x) as f32 + 0.5;
                if overlap == 0 { 1.0 } else { (to_edge / overlap as f32).min(1.0) }
            }
            Blend::Crop => f32::from((overlap / 2..overlap / 2 + self.stride).contains(&x)),
        };
        (0..side).map(weight).collect()
    }
}

impl fmt::Display for Tiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { side, stride, border, blend } = self;
        match border {
            Border::Inside => write!(f, "windows of {side} that lie {stride} apart"),
            Border::Padded => write!(f, "windows of {side} that lie {stride} apart, padded"),
            Border::Mirrored => {
                write!(f, "windows of {side} that overlap by {}, blended by {blend}, mirrored borders", self.overlap())
            }
        }
    }
}

/// Windows along a side of an image.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    /// Pixels of the image, and of a window.
    pub(super) length: usize,
    pub(super) side: usize,
    /// Where windows begin; what lies beyond the image is mirrored.
    pub(super) starts: Vec<isize>,
    /// The weight of each pixel of a window.
    pub(super) weights: Vec<f32>,
    /// Pixels of a window with a weight.
    support: Range<usize>,
    /// What the weights sum up to at each pixel of the image.
    pub(super) sums: Vec<f32>,
}

impl Axis {
    fn new(length: usize, side: usize, starts: Vec<isize>, weights: Vec<f32>) -> Self {
        let first = weights.iter().position(|weight| *weight > 0.0).unwrap_or(0);
        let last = weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0);
        let mut axis = Self { length, side, starts, weights, support: first..last + 1, sums: vec![0.0; length] };
        for i in 0..axis.starts.len() {
            for at in axis.covered(i) {
                axis.sums[at] += axis.weights[axis.within(i, at)];
            }
        }
        axis
    }

    /// A pixel of the image as one of a window that covers it.
    pub(super) fn within(&self, window: usize, at: usize) -> usize {
        (at as isize - self.starts[window]) as usize
    }

    fn clipped(&self, at: isize) -> usize {
        at.clamp(0, self.length as isize) as usize
    }

    /// Pixels of the image to which a window contributes.
    pub(super) fn covered(&self, window: usize) -> Range<usize> {
        let start = self.starts[window];
        self.clipped(start + self.support.start as isize)..self.clipped(start + self.support.end as isize)
    }

    /// Pixels of the image that a window sees, mirrored ones among them.
    pub(super) fn seen(&self, window: usize) -> Range<usize> {
        let start = self.starts[window];
        let end = start + self.side as isize;
        let (before, beyond) = ((-start).max(0), (end - self.length as isize).max(0));
        let first = self.clipped(start).min(self.clipped(self.length as isize - 1 - beyond));
        first..self.clipped(end).max(self.clipped(before + 1))
    }

    /// The first pixel to which windows after this one contribute.
    pub(super) fn open_after(&self, window: usize) -> usize {
        if window + 1 == self.starts.len() { self.length } else { self.covered(window + 1).start }
    }

    /// Most pixels to which both a window and those before it contribute.
    pub(super) fn largest_overlap(&self) -> usize {
        (1..self.starts.len()).map(|i| self.covered(i - 1).end - self.covered(i).start).max().unwrap_or(0)
    }
}

/// A pixel of the image for one that may lie beyond it: mirrored about the border pixels.
pub(super) fn mirrored(at: isize, length: usize) -> usize {
    if (0..length as isize).contains(&at) {
        return at as usize;
    }
    if length == 1 {
        return 0;
    }
    let period = 2 * (length as isize - 1);
    let at = at.rem_euclid(period);
    at.min(period - at) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(side: usize, overlap: usize) -> impl Iterator<Item = Tiles> {
        [Blend::Gaussian, Blend::Linear, Blend::Average, Blend::Crop]
            .into_iter()
            .map(move |blend| Tiles::overlapping(side, overlap, blend).unwrap())
    }

    #[test]
    fn windows_cover_every_pixel_and_end_with_the_image() {
        let starts = |length, side, stride| Tiles::apart(side, stride).axis(length).starts;
        assert_eq!(starts(10, 4, 3), [0, 3, 6]);
        assert_eq!(starts(11, 4, 3), [0, 3, 6, 7]);
        assert_eq!(starts(4, 4, 1), [0]);
        assert_eq!(starts(3, 4, 2), [0]);
        assert_eq!(Tiles::overlapping(8, 4, Blend::Crop).unwrap().axis(17).starts, [-2, 2, 6, 10, 14]);
    }

    #[test]
    fn every_pixel_is_finished_once_and_has_a_weight() {
        let averaged = [Tiles::apart(16, 11), Tiles::apart(16, 16), Tiles::apart(16, 1)];
        let tiles = averaged.into_iter().chain((0..=8).flat_map(|overlap| all(16, overlap)));
        for (tiles, length) in tiles.flat_map(|tiles| (1..90).map(move |length| (tiles, length))) {
            let axis = tiles.axis(length);
            assert!(axis.sums.iter().all(|sum| *sum > 0.0), "{tiles:?} {length}");
            let mut done = 0;
            for i in 0..axis.starts.len() {
                assert_eq!(axis.covered(i).start, done, "{tiles:?} {length}");
                assert!(axis.covered(i).end >= axis.open_after(i));
                done = axis.open_after(i);
                let seen = (0..axis.side as isize).map(|x| mirrored(axis.starts[i] + x, length));
                assert!(seen.clone().min() >= Some(axis.seen(i).start), "{tiles:?} {length} {i}");
                assert!(seen.max() < Some(axis.seen(i).end), "{tiles:?} {length} {i}");
            }
            assert_eq!(done, length);
        }
    }

    #[test]
    fn linear_weights_add_up_to_one_and_cropped_windows_do_not_overlap() {
        let linear = Tiles::overlapping(16, 6, Blend::Linear).unwrap().axis(95);
        assert!(linear.sums[3..92].iter().all(|sum| (sum - 1.0).abs() < 1e-6), "{:?}", linear.sums);
        let cropped = Tiles::overlapping(16, 5, Blend::Crop).unwrap().axis(95);
        assert!(cropped.sums.iter().all(|sum| *sum == 1.0) && cropped.largest_overlap() == 0);
    }

    #[test]
    fn windows_are_fitted_to_what_a_network_takes() {
        let fitted = |side, overlap| {
            let tiles = Tiles::overlapping(side, overlap, Blend::Linear).unwrap().fitted_to(16);
            (tiles.side, tiles.overlap())
        };
        assert_eq!(fitted(512, 64), (512, 64));
        assert_eq!(fitted(500, 50), (512, 64));
        assert_eq!(fitted(40, 20), (64, 32));
        assert_eq!(Tiles::apart(500, 50).fitted_to(16), Tiles::apart(500, 50));
    }

    #[test]
    fn pixels_are_mirrored_about_the_border_ones() {
        let row: Vec<usize> = (-3..7).map(|at| mirrored(at, 4)).collect();
        assert_eq!(row, [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]);
        assert_eq!((mirrored(-5, 1), mirrored(-4, 2)), (0, 0));
    }
}
