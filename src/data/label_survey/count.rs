//! How often each number or colour occurs in a label image, and whether it fills areas or lies along edges.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::ops::AddAssign;

use crate::data::StoredNumber;
use crate::image::{AlphaBand, NumberLabels, RawLabels, Samples};

/// Most colours that are told apart: label images have a few hundred at most, photographs millions.
pub const MAX_LABELS: usize = 1 << 16;

/// How far apart pixels are compared for [`Count::solid`].
const SOLID: usize = 1;
/// The same for [`Count::deep`]: lines between classes are thinner.
const DEEP: usize = 6;

/// One pixel of [`RawLabels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RawLabel {
    /// A grey value, a palette index or a number of an array.
    Number(StoredNumber),
    /// A colour.
    Color([u8; 3]),
}

impl RawLabel {
    /// The number, where it is one.
    pub fn number(self) -> Option<StoredNumber> {
        match self {
            Self::Number(number) => Some(number),
            Self::Color(_) => None,
        }
    }
}

impl fmt::Display for RawLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Color(color) => write!(f, "{color:?}"),
        }
    }
}

/// Where a number or colour occurs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Pixels.
    pub pixels: u64,
    /// Those that are equal to their neighbours to the right, below and diagonally: few along soft edges.
    pub solid: u64,
    /// The same with neighbours six pixels away: few in lines.
    pub deep: u64,
    /// Those that are fully transparent.
    pub transparent: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.pixels += other.pixels;
        self.solid += other.solid;
        self.deep += other.deep;
        self.transparent += other.transparent;
    }
}

/// What a label image holds, in no particular order, and whether that is all: beyond [`MAX_LABELS`] colours, further
/// ones are left out.
pub(super) fn count(labels: &RawLabels, alpha: Option<&AlphaBand>) -> (Vec<(RawLabel, Count)>, bool) {
    let width = labels.size().width;
    let transparent = alpha.map(transparent);
    let transparent = transparent.as_deref();
    match labels {
        RawLabels::Values(_, values) => {
            let largest = values.iter().max().map_or(0, |value| usize::from(*value));
            let mut counts = vec![Count::default(); largest + 1];
            scan(values, width, transparent, |value, found| counts[usize::from(value)] += found);
            let found = (0..=u16::MAX).zip(counts).filter(|(_, count)| count.pixels > 0);
            (found.map(|(value, count)| (RawLabel::Number(value.into()), count)).collect(), true)
        }
        RawLabels::Numbers(labels) => {
            // -0 is told as 0.
            let numbers: Vec<StoredNumber> = labels.values.iter().map(|number| StoredNumber(number + 0.0)).collect();
            let (mut counts, complete) = hashed(&numbers, width, transparent);
            // The file's own mask is no number that a data set file has to name.
            counts.remove(&StoredNumber(NumberLabels::MASKED));
            (counts.into_iter().map(|(number, count)| (RawLabel::Number(number), count)).collect(), complete)
        }
        RawLabels::Colors(_, colors) => {
            let (counts, complete) = hashed(colors, width, transparent);
            (counts.into_iter().map(|(color, count)| (RawLabel::Color(color), count)).collect(), complete)
        }
    }
}

/// Counts labels of which only some of the many possible ones occur.
fn hashed<T: Copy + Eq + Hash>(labels: &[T], width: usize, transparent: Option<&[bool]>) -> (HashMap<T, Count>, bool) {
    let (mut counts, mut complete) = (HashMap::new(), true);
    scan(labels, width, transparent, |label, found| {
        if counts.len() < MAX_LABELS || counts.contains_key(&label) {
            *counts.entry(label).or_default() += found;
        } else {
            complete = false;
        }
    });
    (counts, complete)
}

/// Hands on every run of equal labels in a row, with what it holds.
fn scan<T: Copy + Eq>(labels: &[T], width: usize, transparent: Option<&[bool]>, mut add: impl FnMut(T, Count)) {
    for (y, row) in labels.chunks_exact(width).enumerate() {
        let below = |distance: usize| labels.get((y + distance) * width..(y + distance + 1) * width);
        let [near, far] = [SOLID, DEEP].map(below);
        let mut start = 0;
        for run in row.chunk_by(|a, b| a == b) {
            let (label, end) = (run[0], start + run.len());
            let blocks = |below: Option<&[T]>, distance: usize| {
                let Some(below) = below.filter(|_| run.len() > distance) else { return 0 };
                let corners = below[start..end - distance].iter().zip(&below[start + distance..end]);
                corners.filter(|(left, right)| **left == label && **right == label).count() as u64
            };
            let clear = |flags: &[bool]| flags[y * width + start..y * width + end].iter().filter(|flag| **flag).count();
            add(
                label,
                Count {
                    pixels: run.len() as u64,
                    solid: blocks(near, SOLID),
                    deep: blocks(far, DEEP),
                    transparent: transparent.map_or(0, clear) as u64,
                },
            );
            start = end;
        }
    }
}

fn transparent(alpha: &AlphaBand) -> Vec<bool> {
    match &alpha.samples {
        Samples::U8(v) => v.iter().map(|a| *a == 0).collect(),
        Samples::U16(v) => v.iter().map(|a| *a == 0).collect(),
        Samples::F32(v) => v.iter().map(|a| *a == 0.0).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Size;

    #[test]
    fn areas_lines_and_transparent_pixels_are_told_apart() {
        // 8x8: ones with a column of twos at the right.
        let values: Vec<u16> = (0..64).map(|i| if i % 8 == 7 { 2 } else { 1 }).collect();
        let alpha = (0..64).map(|i| if i % 8 == 7 { 0 } else { 9 }).collect();
        let alpha = AlphaBand { samples: Samples::U8(alpha), associated: false, position: 1 };
        let (found, complete) = count(&RawLabels::Values(Size { width: 8, height: 8 }, values), Some(&alpha));
        let number = |value: u16| RawLabel::Number(value.into());
        let ones = Count { pixels: 56, solid: 42, deep: 2, transparent: 0 };
        let twos = Count { pixels: 8, solid: 0, deep: 0, transparent: 8 };
        assert_eq!(found, [(number(1), ones), (number(2), twos)]);
        assert!(complete);
    }

    #[test]
    fn colours_beyond_the_limit_are_left_out_and_said() {
        let colors: Vec<[u8; 3]> =
            (0..=MAX_LABELS as u32).map(|i| [(i >> 16) as u8, (i >> 8) as u8, i as u8]).collect();
        let size = Size { width: colors.len(), height: 1 };
        let (found, complete) = count(&RawLabels::Colors(size, colors), None);
        assert_eq!((found.len(), complete), (MAX_LABELS, false));
    }
}
