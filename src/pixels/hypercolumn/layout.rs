//! Where features lie in an image, and which pixels they depend on.

use std::ops::Range;

use crate::base::Size;
use crate::nn::model::Reach;

/// Pixels of a window, where nobody asked for another size. On a CPU, windows that are much larger take more memory and no
/// less time.
const WINDOW_PIXELS: usize = 512 * 512;
/// Longest side of such a window.
const WINDOW_SIDE: usize = 4096;
/// Windows begin at multiples of this many places of the coarsest tap, so that fast convolutions, which compute blocks of 4x4,
/// lay their blocks alike in most windows and round alike.
const ALIGNMENT: usize = 4;

/// A part of the image, in pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// From the top.
    pub rows: Range<usize>,
    /// From the left.
    pub columns: Range<usize>,
}

impl Window {
    /// The whole image.
    pub fn whole(size: Size) -> Self {
        Self { rows: 0..size.height, columns: 0..size.width }
    }

    /// Pixels in it.
    pub fn pixels(&self) -> usize {
        self.rows.len() * self.columns.len()
    }
}

/// What the encoder computes for a window, in pixels of the reduced image, which may go on beyond its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

/// One side of an image.
#[derive(Debug, Clone)]
struct Side {
    pixels: usize,
    /// By scale: pixels of the reduced image, and with what is added to one that is too short for the encoder.
    reduced: Vec<[usize; 2]>,
}

/// How an image of some size is gone over.
#[derive(Debug, Clone)]
pub struct Layout {
    rows: Side,
    columns: Side,
    reaches: Vec<Reach>,
    /// Greatest stride of the taps.
    stride: usize,
}

impl Layout {
    pub(super) fn new(size: Size, scales: &[usize], reaches: &[Reach]) -> Self {
        let stride = reaches.iter().map(|reach| reach.stride).max().unwrap_or(1);
        // One place of every tap at the least.
        let least = reaches.iter().filter(|reach| !reach.rounds_up).map(|reach| reach.stride).max().unwrap_or(1);
        let side = |pixels: usize| {
            let reduced = |scale: &usize| {
                let reduced = pixels.div_ceil(*scale);
                [reduced, reduced.max(least)]
            };
            Side { pixels, reduced: scales.iter().map(reduced).collect() }
        };
        Self { rows: side(size.height), columns: side(size.width), reaches: reaches.to_vec(), stride }
    }

    /// Size of the image.
    pub fn size(&self) -> Size {
        Size { width: self.columns.pixels, height: self.rows.pixels }
    }

    /// Windows that cover the image, row by row, of at most `side` pixels a side; about 512x512 pixels, but longer where
    /// the image is narrow, if it is left out.
    pub fn windows(&self, side: Option<usize>) -> Vec<Window> {
        let Size { width, height } = self.size();
        let (tallest, widest) = match side {
            Some(side) => (side, side),
            None => {
                let usual = WINDOW_PIXELS.isqrt();
                let other = |narrow: usize| (WINDOW_PIXELS / narrow.max(1)).clamp(usual, WINDOW_SIDE);
                if height < width { (usual, other(height)) } else { (other(width), usual) }
            }
        };
        let (rows, columns) = (parts(height, tallest), parts(width, widest));
        let across = |rows: &Range<usize>| {
            let rows = rows.clone();
            columns.iter().map(move |columns| Window { rows: rows.clone(), columns: columns.clone() })
        };
        rows.iter().flat_map(across).collect()
    }

    /// What the encoder computes for a window, at a scale.
    pub(super) fn input(&self, scale: usize, window: &Window) -> Input {
        Input {
            rows: self.needed(&self.rows, scale, &window.rows),
            columns: self.needed(&self.columns, scale, &window.columns),
        }
    }

    /// Height and width of the largest input of the windows.
    pub fn largest_input(&self, windows: &[Window]) -> Size {
        let scales = 0..self.rows.reduced.len();
        let inputs = windows.iter().flat_map(|window| scales.clone().map(|scale| self.input(scale, window)));
        let sizes = inputs.map(|input| Size { width: input.columns.len(), height: input.rows.len() });
        sizes.max_by_key(|size| size.width * size.height).unwrap_or(Size { width: 0, height: 0 })
    }

    fn needed(&self, side: &Side, scale: usize, pixels: &Range<usize>) -> Range<usize> {
        let whole = side.reduced[scale][1];
        let (mut start, mut end) = (whole, 0);
        for reach in &self.reaches {
            let (first, _) = self.place(side, scale, *reach, pixels.start);
            let (last, _) = self.place(side, scale, *reach, pixels.end - 1);
            start = start.min((first * reach.stride).saturating_sub(reach.margin));
            end = end.max((last + 2) * reach.stride + reach.margin);
        }
        let start = start / (ALIGNMENT * self.stride) * (ALIGNMENT * self.stride);
        start..end.next_multiple_of(self.stride).min(whole)
    }

    /// The place of a tap before a pixel, and how far the pixel is from it to the next, from 0 to 1. As PyTorch has it, but
    /// that a side which was extended for the encoder counts as what it was.
    fn place(&self, side: &Side, scale: usize, reach: Reach, pixel: usize) -> (usize, f32) {
        let [reduced, extended] = side.reduced[scale];
        let extent = side.pixels as f64 * extended as f64 / reduced as f64;
        let at = (pixel as f64 + 0.5) * (reach.places(extended) as f64 / extent) - 0.5;
        let before = at.max(0.0).floor();
        (before as usize, (at.max(0.0) - before) as f32)
    }

    /// The first places, row and column, that a tap shows of an input.
    pub(super) fn corner(&self, tap: usize, input: &Input) -> [usize; 2] {
        let stride = self.reaches[tap].stride;
        [input.rows.start / stride, input.columns.start / stride]
    }

    /// Rows and columns that a tap shows of an input.
    pub(super) fn map_size(&self, tap: usize, input: &Input) -> [usize; 2] {
        [&input.rows, &input.columns].map(|range| self.reaches[tap].places(range.len()))
    }

    /// Between which places of a tap the rows of a window lie, and its columns.
    pub(super) fn steps(&self, scale: usize, tap: usize, window: &Window) -> [Vec<Step>; 2] {
        let reach = self.reaches[tap];
        [(&self.rows, &window.rows), (&self.columns, &window.columns)].map(|(side, pixels)| {
            let last = reach.places(side.reduced[scale][1]) - 1;
            let step = |pixel| {
                let (before, share) = self.place(side, scale, reach, pixel);
                Step { before: before.min(last), after: (before + 1).min(last), share }
            };
            pixels.clone().map(step).collect()
        })
    }

    /// How many taps there are.
    pub(super) fn taps(&self) -> usize {
        self.reaches.len()
    }
}

/// Where a row or column of pixels lies among the places of a tap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    pub(super) before: usize,
    pub(super) after: usize,
    /// What the place after it counts; the other counts the rest.
    pub(super) share: f32,
}

/// Parts of a side, as equal as can be, none longer than `longest`.
fn parts(pixels: usize, longest: usize) -> Vec<Range<usize>> {
    let count = pixels.div_ceil(longest.max(1));
    (0..count).map(|i| i * pixels / count..(i + 1) * pixels / count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::model::{FeatureEncoderConfig, Tap, VggConfig};

    fn layout(width: usize, height: usize, taps: &[Tap], scales: &[usize]) -> Layout {
        let encoder = FeatureEncoderConfig::Vgg16(VggConfig::default());
        let reaches: Vec<Reach> = taps.iter().map(|tap| encoder.reach(*tap, 3).unwrap()).collect();
        Layout::new(Size { width, height }, scales, &reaches)
    }

    #[test]
    fn windows_cover_every_pixel_once() {
        for (width, height, side) in [(4464, 53, None), (53, 4464, None), (20_000, 2000, None), (100, 70, Some(33))] {
            let windows = layout(width, height, &[Tap::Pool(1)], &[1]).windows(side);
            assert_eq!(windows.iter().map(Window::pixels).sum::<usize>(), width * height);
            let longest = side.unwrap_or(WINDOW_SIDE);
            assert!(windows.iter().all(|window| window.rows.len() <= longest && window.columns.len() <= longest));
            assert!(windows.iter().all(|window| window.pixels() <= WINDOW_PIXELS));
        }
    }

    #[test]
    fn inputs_reach_as_far_as_features_do() {
        let layout = layout(1000, 40, &[Tap::Pool(1), Tap::Pool(2)], &[1, 2]);
        let input = layout.input(0, &Window { rows: 0..40, columns: 500..600 });
        // Pixel 500 lies between places 124 and 125 of the second pooling, whose convolutions reach 6 pixels further.
        assert_eq!(input, Input { rows: 0..40, columns: 480..612 });
        let input = layout.input(1, &Window { rows: 0..40, columns: 500..600 });
        assert_eq!(input, Input { rows: 0..20, columns: 240..312 });
        assert_eq!(layout.input(0, &Window::whole(layout.size())), Input { rows: 0..40, columns: 0..1000 });
    }

    #[test]
    fn steps_are_those_of_pytorch() {
        let layout = layout(7, 4, &[Tap::Pool(1)], &[1]);
        let [_, steps] = layout.steps(0, 0, &Window::whole(layout.size()));
        // 3 places for 7 pixels: (x + 0.5) 3/7 - 0.5.
        let shares: Vec<(usize, usize, f32)> = steps.iter().map(|s| (s.before, s.after, s.share)).collect();
        let at = |x: f32| (x + 0.5) * 3.0 / 7.0 - 0.5;
        for (x, (before, after, share)) in shares.into_iter().enumerate() {
            let at = at(x as f32).max(0.0);
            assert_eq!((before, after), (at as usize, (at as usize + 1).min(2)));
            assert!((share - at.fract()).abs() < 1e-6);
        }
    }

    #[test]
    fn a_side_that_is_too_short_is_extended_for_the_encoder() {
        let layout = layout(64, 10, &[Tap::Pool(5)], &[1, 4]);
        assert_eq!(layout.input(0, &Window::whole(layout.size())), Input { rows: 0..32, columns: 0..64 });
        assert_eq!(layout.input(1, &Window::whole(layout.size())), Input { rows: 0..32, columns: 0..32 });
        assert!(layout.steps(0, 0, &Window::whole(layout.size()))[0].iter().all(|step| step.before == 0));
    }
}
