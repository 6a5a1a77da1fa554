//! Labelled shapes in an image.

use std::ops::Range;

use crate::base::Size;

/// A point in pixels: x to the right, y down, from the top left corner of the image. The centre of the first pixel is
/// at (0.5, 0.5).
pub type Point = [f64; 2];

/// A region of an image and its class.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Name of its class.
    pub class: String,
    /// The pixels it covers.
    pub geometry: Geometry,
}

impl Shape {
    /// The same with its points elsewhere. Masks, which are pixels already, and ellipses stay.
    pub(super) fn moved(&self, to: &dyn Fn(Point) -> Point) -> Self {
        let all = |points: &Vec<Point>| points.iter().map(|point| to(*point)).collect();
        let geometry = match &self.geometry {
            Geometry::Polygon(rings) => Geometry::Polygon(rings.iter().map(all).collect()),
            Geometry::Line { points, width } => Geometry::Line { points: all(points), width: *width },
            Geometry::Ellipse { .. } | Geometry::Mask(_) => self.geometry.clone(),
        };
        Self { class: self.class.clone(), geometry }
    }
}

/// The form of a region.
#[derive(Debug, Clone, PartialEq)]
pub enum Geometry {
    /// Closed outlines, filled by the even-odd rule: an outline within another one is a hole.
    Polygon(Vec<Vec<Point>>),
    /// An ellipse with axes parallel to the image's.
    Ellipse {
        /// Its centre.
        center: Point,
        /// Half of its width and of its height.
        radii: [f64; 2],
    },
    /// A line through points, that many pixels wide.
    Line {
        /// The points.
        points: Vec<Point>,
        /// Width in pixels.
        width: f64,
    },
    /// Pixels.
    Mask(Mask),
}

impl Geometry {
    /// The rectangle between two opposite corners.
    pub fn rectangle([left, top]: Point, [right, bottom]: Point) -> Self {
        Self::Polygon(vec![vec![[left, top], [right, top], [right, bottom], [left, bottom]]])
    }

    /// The points that its outline goes through; none of an ellipse or a mask.
    pub(super) fn points(&self) -> impl Iterator<Item = &Point> {
        let (rings, line) = match self {
            Self::Polygon(rings) => (&rings[..], &[][..]),
            Self::Line { points, .. } => (&[][..], &points[..]),
            Self::Ellipse { .. } | Self::Mask(_) => (&[][..], &[][..]),
        };
        rings.iter().flatten().chain(line)
    }
}

/// A rectangle of pixels, some of which are set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// Column of its first pixel in the image.
    pub left: usize,
    /// Row of its first pixel in the image.
    pub top: usize,
    /// Its size.
    pub size: Size,
    /// The pixels that are set, counted by rows from its top left, as ranges that follow each other.
    pub runs: Vec<Range<usize>>,
}

impl Mask {
    /// A mask of the pixels that are set in `bits`, by rows.
    pub fn from_bits(left: usize, top: usize, size: Size, bits: impl IntoIterator<Item = bool>) -> Self {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (at, _) in bits.into_iter().enumerate().filter(|(_, set)| *set) {
            match runs.last_mut() {
                Some(last) if last.end == at => last.end += 1,
                _ => runs.push(at..at + 1),
            }
        }
        Self { left, top, size, runs }
    }

    /// A mask of an image of that size, from ranges of pixels that are counted down its columns.
    pub(super) fn from_columns(size: Size, columns: &[Range<usize>]) -> Self {
        let Size { width, height } = size;
        let (Some(first), Some(last)) = (columns.first(), columns.last()) else {
            return Self { left: 0, top: 0, size: Size { width: 0, height: 0 }, runs: Vec::new() };
        };
        let left = first.start / height;
        let covered = Size { width: (last.end - 1) / height - left + 1, height };
        let mut bits = vec![false; covered.width * height];
        for at in columns.iter().cloned().flatten() {
            bits[at % height * covered.width + at / height - left] = true;
        }
        debug_assert!(covered.width <= width);
        Self::from_bits(left, 0, covered, bits)
    }
}
