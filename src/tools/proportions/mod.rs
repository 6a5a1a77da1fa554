//! How much of each class there is along a drill core: a classified photograph in bins of equal length, as a table and
//! as an image.

mod chart;
mod table;

use std::ops::Range;

use rayon::prelude::*;

use crate::base::label_map::{IGNORE, LabelMap};
use crate::base::{Error, Result, Size, require};

/// Bins are counted in groups of at least this many pixels of a row: of a row, memory is read 32 at a time.
const GROUP: usize = 256;

/// Which way a core lies in its photograph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// From left to right.
    Horizontal,
    /// From top to bottom.
    Vertical,
}

impl Axis {
    /// Along the longer side; a square lies.
    pub fn longer(size: Size) -> Self {
        if size.height > size.width { Self::Vertical } else { Self::Horizontal }
    }

    /// Pixels along the axis.
    fn length(self, size: Size) -> usize {
        match self {
            Self::Horizontal => size.width,
            Self::Vertical => size.height,
        }
    }
}

/// The depths in metres of a photograph's two ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Depths {
    top: f64,
    bottom: f64,
}

impl Depths {
    /// `top` is the depth of the left or upper edge, `bottom` that of the other; depth grows downwards.
    pub fn new(top: f64, bottom: f64) -> Result<Self> {
        require(top.is_finite(), "depth_top", top, "a number of metres")?;
        require(bottom.is_finite(), "depth_bottom", bottom, "a number of metres")?;
        let expected =
            format!("deeper than `depth_top`, {top}, which is the depth of the left or upper edge of the image");
        require(bottom > top, "depth_bottom", bottom, expected)?;
        Ok(Self { top, bottom })
    }

    /// The depth at a pixel's edge, of this many pixels in all.
    fn at(self, pixel: usize, length: usize) -> f64 {
        self.top + (self.bottom - self.top) * (pixel as f64 / length as f64)
    }
}

/// Pixels of each class in bins along a core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proportions {
    size: Size,
    axis: Axis,
    classes: usize,
    /// Where bins begin and end, in pixels; one more than there are bins.
    edges: Vec<usize>,
    /// Bin by bin, one count a class.
    counts: Vec<u64>,
}

impl Proportions {
    /// Counts the pixels of `labels` in `bins` bins of equal length along `axis`, at most one a pixel. Edges of bins
    /// are rounded to whole pixels, so that every pixel is in one bin. Pixels without a label are not counted. An empty
    /// image, no bins, no classes, and a class from `classes` on are errors.
    pub fn of(labels: &LabelMap, classes: usize, axis: Axis, bins: usize) -> Result<Self> {
        let size = labels.size;
        if size.width == 0 || size.height == 0 {
            return Err(Error::no_data(format!("an image of {size} has no pixels to count"), "take a larger one"));
        }
        require(bins > 0, "bins", bins, "at least 1")?;
        require(classes > 0, "classes", classes, "at least 1")?;
        let unknown = |&class: &u16| class != IGNORE && usize::from(class) >= classes;
        if let Some(i) = labels.classes.iter().position(unknown) {
            let (class, x, y) = (labels.classes[i], i % size.width, i / size.width);
            let value = format!("{class} at pixel ({x}, {y})");
            return Err(Error::invalid("labels", value, format!("one of the {classes} classes")));
        }
        let length = axis.length(size);
        let bins = bins.min(length);
        let edges: Vec<usize> = (0..=bins).map(|i| (i * length + bins / 2) / bins).collect();
        let counts = count(labels, classes, axis, &edges);
        Ok(Self { size, axis, classes, edges, counts })
    }

    /// For each bin its pixels along the axis and the number of pixels of each class.
    pub fn bins(&self) -> impl Iterator<Item = (Range<usize>, &[u64])> {
        self.edges.windows(2).map(|edge| edge[0]..edge[1]).zip(self.counts.chunks_exact(self.classes))
    }

    /// Pixels of each class in the whole image.
    pub fn totals(&self) -> Vec<u64> {
        self.bins().fold(vec![0; self.classes], |mut totals, (_, counts)| {
            add(&mut totals, counts);
            totals
        })
    }

    fn length(&self) -> usize {
        self.axis.length(self.size)
    }

    /// Refuses lists that do not have one entry a class.
    fn check(&self, what: &'static str, count: usize) -> Result<()> {
        let expected = format!("{}, one for each class that was counted", self.classes);
        require(count == self.classes, what, format!("a list of {count}"), expected)
    }
}

/// Counts in parallel. An upright core is one long row: each of its bins is one piece of it.
fn count(labels: &LabelMap, classes: usize, axis: Axis, edges: &[usize]) -> Vec<u64> {
    let (row, step) = match axis {
        Axis::Horizontal => (labels.size.width, 1),
        Axis::Vertical => (labels.classes.len(), labels.size.width),
    };
    let edges: Vec<usize> = edges.iter().map(|edge| edge * step).collect();
    let bins = edges.len() - 1;
    let group = (GROUP * bins).div_ceil(row);
    let mut counts = vec![0; bins * classes];
    counts.par_chunks_mut(group * classes).enumerate().for_each(|(i, counts)| {
        for row in labels.classes.chunks_exact(row) {
            for (counts, edge) in counts.chunks_exact_mut(classes).zip(edges[i * group..].windows(2)) {
                for &class in row[edge[0]..edge[1]].iter().filter(|class| **class != IGNORE) {
                    counts[usize::from(class)] += 1;
                }
            }
        }
    });
    counts
}

fn add(sums: &mut [u64], counts: &[u64]) {
    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
}

/// The class with most pixels, the first of several; none where nothing is labelled.
fn dominant(counts: &[u64]) -> Option<usize> {
    let most = counts.iter().copied().max().filter(|most| *most > 0)?;
    counts.iter().position(|count| *count == most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(width: usize, height: usize, class: impl Fn(usize, usize) -> u16) -> LabelMap {
        let classes = (0..width * height).map(|i| class(i % width, i / width)).collect();
        LabelMap { size: Size { width, height }, classes }
    }

    fn ranges(proportions: &Proportions) -> Vec<Range<usize>> {
        proportions.bins().map(|(range, _)| range).collect()
    }

    #[test]
    fn every_pixel_is_in_one_bin() {
        for (width, height) in [(1, 1), (7, 3), (3, 7), (53, 11), (1000, 2), (2, 1000)] {
            let labels = map(width, height, |x, y| ((3 * x + 5 * y) % 7 % 4) as u16);
            for axis in [Axis::Horizontal, Axis::Vertical] {
                for bins in [1, 2, 3, 10, 999] {
                    let proportions = Proportions::of(&labels, 4, axis, bins).unwrap();
                    let length = axis.length(labels.size);
                    assert_eq!(proportions.bins().count(), bins.min(length));
                    for (range, counts) in proportions.bins() {
                        let exact = length as f64 / bins.min(length) as f64;
                        assert!((range.len() as f64 - exact).abs() < 1.0, "{range:?}");
                        let inside = |i: usize| match axis {
                            Axis::Horizontal => range.contains(&(i % width)),
                            Axis::Vertical => range.contains(&(i / width)),
                        };
                        let mut expected = vec![0; 4];
                        let pixels = labels.classes.iter().enumerate().filter(|(i, _)| inside(*i));
                        pixels.for_each(|(_, class)| expected[usize::from(*class)] += 1);
                        assert_eq!(counts, expected);
                    }
                    assert_eq!(proportions.totals().iter().sum::<u64>(), (width * height) as u64);
                }
            }
        }
    }

    #[test]
    fn edges_are_rounded_to_pixels() {
        let labels = map(7, 1, |_, _| 0);
        let bins = |bins| ranges(&Proportions::of(&labels, 1, Axis::Horizontal, bins).unwrap());
        assert_eq!(bins(3), [0..2, 2..5, 5..7]);
        assert_eq!(bins(2), [0..4, 4..7]);
        assert_eq!(bins(100).len(), 7);
    }

    #[test]
    fn pixels_without_a_label_do_not_count() {
        let labels = map(4, 2, |x, y| if x < 2 || y == 0 { IGNORE } else { 1 });
        let proportions = Proportions::of(&labels, 2, Axis::Horizontal, 2).unwrap();
        let counts: Vec<&[u64]> = proportions.bins().map(|(_, counts)| counts).collect();
        assert_eq!(counts, [[0, 0], [0, 2]]);
        assert_eq!(proportions.totals(), [0, 2]);
    }

    #[test]
    fn the_largest_class_dominates() {
        assert_eq!(dominant(&[1, 3, 3]), Some(1));
        assert_eq!(dominant(&[0, 0]), None);
        assert_eq!(dominant(&[]), None);
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        let of =
            |labels: &LabelMap, bins| Proportions::of(labels, 2, Axis::Horizontal, bins).map_err(|e| e.to_string());
        assert_refused!(of(&map(3, 2, |x, y| (x * y) as u16), 2), "`labels` is 2 at pixel (2, 1)");
        assert!(of(&map(0, 5, |_, _| 0), 1).is_err());
        assert!(of(&map(5, 5, |_, _| 0), 0).is_err());
        assert!(Proportions::of(&map(5, 5, |_, _| IGNORE), 0, Axis::Horizontal, 1).is_err());
    }

    #[test]
    fn the_axis_is_the_longer_side() {
        let longer = |width, height| Axis::longer(Size { width, height });
        assert_eq!(longer(4464, 53), Axis::Horizontal);
        assert_eq!(longer(369, 2693), Axis::Vertical);
        assert_eq!(longer(5, 5), Axis::Horizontal);
    }

    #[test]
    fn depths_go_down_the_core() {
        let depths = Depths::new(120.0, 124.5).unwrap();
        assert_eq!([0, 2, 9].map(|pixel| depths.at(pixel, 9)), [120.0, 121.0, 124.5]);
        for (top, bottom) in [(2.0, 1.0), (1.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            assert!(Depths::new(top, bottom).is_err());
        }
    }
}
