//! Scores of class boundaries. IoU hardly notices a ragged outline around a large area; these do.
//!
//! Predictions on unlabelled pixels are made unlabelled first, so that both maps end at the same places there.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::cases::Sum;
use super::confusion::ratio;
use crate::base::label_map::IGNORE;
use crate::base::{Error, Result, Size};

/// How far from a boundary still counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BoundaryWidth {
    /// This many pixels.
    Pixels(usize),
    /// A share of the image's diagonal, 0 to 1; at least one pixel.
    Diagonal(f64),
}

/// Widest boundary, in pixels.
const MAX_WIDTH: usize = 1000;

impl BoundaryWidth {
    /// In pixels, for images of a size.
    pub fn pixels(self, size: Size) -> usize {
        match self {
            Self::Pixels(pixels) => pixels,
            Self::Diagonal(share) => {
                let diagonal = (size.width as f64).hypot(size.height as f64);
                ((share * diagonal).round() as usize).clamp(1, MAX_WIDTH)
            }
        }
    }
}

impl FromStr for BoundaryWidth {
    type Err = Error;

    /// `3` is pixels, `2%` a share of the diagonal.
    fn from_str(text: &str) -> Result<Self> {
        let width = match text.strip_suffix('%') {
            Some(share) => {
                share.trim().parse().ok().filter(|s| *s > 0.0 && *s <= 10.0).map(|s: f64| Self::Diagonal(s / 100.0))
            }
            None => text.parse().ok().filter(|p| (1..=MAX_WIDTH).contains(p)).map(Self::Pixels),
        };
        width.ok_or_else(|| {
            let expected = format!("1 to {MAX_WIDTH} pixels wide, or up to 10% of the diagonal");
            Error::invalid("boundary", format!("'{text}'"), expected)
        })
    }
}

/// Counts along the boundaries of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BoundaryCounts {
    label: u64,
    prediction: u64,
    both: u64,
    f_score: Sum,
}

impl BoundaryCounts {
    /// Boundary IoU: B. Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation" (CVPR
    /// 2021, arXiv 2103.16562). The IoU of the parts of label and prediction that lie within the width of their own
    /// outlines, the image's edge included; here the pixels of all images are added up before dividing.
    pub fn iou(&self) -> Option<f64> {
        ratio(self.both, self.label + self.prediction - self.both)
    }

    /// Boundary F-score: G. Csurka et al., "What is a good evaluation measure for semantic segmentation?" (BMVC 2013).
    /// Precision is the share of the predicted outline within the width (Euclidean) of the true one, recall the
    /// reverse, F their harmonic mean; averaged over the images where the class has an outline in either map. An
    /// outline is the pixels of the class with one of the four neighbours in another class.
    pub fn f_score(&self) -> Option<f64> {
        self.f_score.mean()
    }

    /// Whether pixels and images can have these counts.
    pub(super) fn is_possible(&self) -> bool {
        let room = |count: u64| count < 1 << 62;
        room(self.label)
            && room(self.prediction)
            && self.both <= self.label.min(self.prediction)
            && self.f_score.is_possible()
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.label += other.label;
        self.prediction += other.prediction;
        self.both += other.both;
        self.f_score.merge(&other.f_score);
    }
}

/// Adds an image to the counts of its classes: class indices row by row, [`IGNORE`] where there is none.
pub fn add_boundaries(
    counts: &mut [BoundaryCounts],
    size: Size,
    labels: &[u16],
    predictions: &[u16],
    width: BoundaryWidth,
) {
    let width = width.pixels(size);
    let seen: Vec<u16> = labels.iter().zip(predictions).map(|(&l, &p)| if l == IGNORE { IGNORE } else { p }).collect();
    add_bands(counts, size, labels, &seen, width);
    add_f_scores(counts, size, labels, &seen, width);
}

fn add_bands(counts: &mut [BoundaryCounts], size: Size, labels: &[u16], predictions: &[u16], width: usize) {
    let (true_band, seen_band) = (band(labels, size, width), band(predictions, size, width));
    for (i, (&label, &prediction)) in labels.iter().zip(predictions).enumerate() {
        if let Some(count) = counts.get_mut(usize::from(label)).filter(|_| true_band[i]) {
            count.label += 1;
            count.both += u64::from(label == prediction && seen_band[i]);
        }
        if let Some(count) = counts.get_mut(usize::from(prediction)).filter(|_| seen_band[i]) {
            count.prediction += 1;
        }
    }
}

/// Where a square of `2 * width + 1` pixels around the pixel is not all of the pixel's class: what `width` erosions by
/// a 3x3 square take from the class, with nothing beyond the image's edge.
fn band(classes: &[u16], size: Size, width: usize) -> Vec<bool> {
    // Hands on the places of each run of equal values that are at least `width` from both of its ends.
    let flat = |at: &dyn Fn(usize) -> u16, length: usize, inside: &mut dyn FnMut(usize)| {
        let mut start = 0;
        for i in 1..=length {
            if i == length || at(i) != at(start) {
                (start + width..i.saturating_sub(width)).for_each(&mut *inside);
                start = i;
            }
        }
    };
    let mut in_row = vec![IGNORE; classes.len()];
    for y in 0..size.height {
        let row = &classes[y * size.width..(y + 1) * size.width];
        flat(&|x| row[x], size.width, &mut |x| in_row[y * size.width + x] = row[x]);
    }
    let mut band = vec![true; classes.len()];
    for x in 0..size.width {
        let at = |y: usize| y * size.width + x;
        flat(&|y| in_row[at(y)], size.height, &mut |y| band[at(y)] = in_row[at(y)] == IGNORE);
    }
    band
}

fn add_f_scores(counts: &mut [BoundaryCounts], size: Size, labels: &[u16], predictions: &[u16], width: usize) {
    let (truth, seen) = (outline(labels, size), outline(predictions, size));
    let classes = counts.len();
    let (recall, precision) = (hits(&truth, &seen, size, width, classes), hits(&seen, &truth, size, width, classes));
    for ((count, recall), precision) in counts.iter_mut().zip(recall).zip(precision) {
        if recall.1 + precision.1 == 0 {
            continue;
        }
        let (r, p) = (ratio(recall.0, recall.1).unwrap_or(0.0), ratio(precision.0, precision.1).unwrap_or(0.0));
        count.f_score.add(if r + p > 0.0 { 2.0 * r * p / (r + p) } else { 0.0 });
    }
}

/// The class of the pixels that have a neighbour of another class, [`IGNORE`] elsewhere.
fn outline(classes: &[u16], size: Size) -> Vec<u16> {
    let mut outline = vec![IGNORE; classes.len()];
    let mut mark = |i: usize, j: usize| {
        if classes[i] != classes[j] && classes[i] != IGNORE && classes[j] != IGNORE {
            outline[i] = classes[i];
            outline[j] = classes[j];
        }
    };
    for y in 0..size.height {
        for i in y * size.width..(y + 1) * size.width {
            if i + 1 < (y + 1) * size.width {
                mark(i, i + 1);
            }
            if y + 1 < size.height {
                mark(i, i + size.width);
            }
        }
    }
    outline
}

/// Of every class: outline pixels that have one of the other map's outline within a radius, and all of them.
fn hits(from: &[u16], to: &[u16], size: Size, radius: usize, classes: usize) -> Vec<(u64, u64)> {
    // Columns of the other outline by class and row, in order.
    let mut columns: BTreeMap<(u16, usize), Vec<usize>> = BTreeMap::new();
    for (i, &class) in to.iter().enumerate().filter(|(_, class)| **class != IGNORE) {
        columns.entry((class, i / size.width)).or_default().push(i % size.width);
    }
    // In a row so far away, half the width of the disk. The near rows first: mostly they settle it.
    let reach: Vec<usize> = (0..=radius).map(|dy| (radius * radius - dy * dy).isqrt()).collect();
    let mut hits = vec![(0, 0); classes];
    for (i, &class) in from.iter().enumerate() {
        let Some(hit) = hits.get_mut(usize::from(class)) else { continue };
        let (x, y) = (i % size.width, i / size.width);
        let near = |row: Option<usize>, reach: usize| {
            let found = row.and_then(|row| columns.get(&(class, row)));
            found.is_some_and(|columns| {
                let next = columns.partition_point(|&column| column + reach < x);
                columns.get(next).is_some_and(|&column| column <= x + reach)
            })
        };
        let mut rows = reach.iter().enumerate();
        hit.0 += u64::from(rows.any(|(dy, &reach)| near(y.checked_sub(dy), reach) || near(Some(y + dy), reach)));
        hit.1 += 1;
    }
    hits
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const SIZE: Size = Size { width: 23, height: 17 };

    /// A blocky map of three classes with holes in the labels.
    fn map(seed: u64) -> Vec<u16> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut map = vec![0; SIZE.width * SIZE.height];
        for _ in 0..12 {
            let class = [0, 1, 2, IGNORE][rng.random_range(0..4)];
            let (x, y) = (rng.random_range(0..SIZE.width), rng.random_range(0..SIZE.height));
            for row in y..(y + rng.random_range(1..9)).min(SIZE.height) {
                let end = (x + rng.random_range(1..9)).min(SIZE.width);
                map[row * SIZE.width + x..row * SIZE.width + end].fill(class);
            }
        }
        map
    }

    /// Erosion and distances by their definitions, one class at a time.
    struct Naive<'a>(&'a [u16]);

    impl Naive<'_> {
        fn at(&self, x: isize, y: isize) -> Option<u16> {
            let inside = x >= 0 && y >= 0 && x < SIZE.width as isize && y < SIZE.height as isize;
            inside.then(|| self.0[y as usize * SIZE.width + x as usize])
        }

        fn eroded(&self, class: u16, times: usize) -> Vec<bool> {
            let mut mask: Vec<bool> = self.0.iter().map(|&c| c == class).collect();
            for _ in 0..times {
                let before = mask.clone();
                let at = |x: isize, y: isize| self.at(x, y).is_some() && before[y as usize * SIZE.width + x as usize];
                for (i, kept) in mask.iter_mut().enumerate() {
                    let (x, y) = ((i % SIZE.width) as isize, (i / SIZE.width) as isize);
                    *kept = (-1..=1).all(|dy| (-1..=1).all(|dx| at(x + dx, y + dy)));
                }
            }
            mask
        }

        fn outline(&self, class: u16) -> Vec<(isize, isize)> {
            let places = (0..self.0.len()).map(|i| ((i % SIZE.width) as isize, (i / SIZE.width) as isize));
            let other = |x, y| self.at(x, y).is_some_and(|c| c != class && c != IGNORE);
            places
                .filter(|&(x, y)| self.at(x, y) == Some(class))
                .filter(|&(x, y)| other(x + 1, y) || other(x - 1, y) || other(x, y + 1) || other(x, y - 1))
                .collect()
        }
    }

    fn naive_f(truth: &[(isize, isize)], seen: &[(isize, isize)], width: isize) -> Option<f64> {
        if truth.is_empty() && seen.is_empty() {
            return None;
        }
        let share = |from: &[(isize, isize)], to: &[(isize, isize)]| {
            let near =
                |(x, y): &&(isize, isize)| to.iter().any(|(u, v)| (x - u).pow(2) + (y - v).pow(2) <= width * width);
            if from.is_empty() { 0.0 } else { from.iter().filter(near).count() as f64 / from.len() as f64 }
        };
        let (p, r) = (share(seen, truth), share(truth, seen));
        Some(if p + r > 0.0 { 2.0 * p * r / (p + r) } else { 0.0 })
    }

    #[test]
    fn bands_and_outlines_equal_erosion_and_distances_by_definition() {
        for seed in 0..40 {
            let (labels, predictions) = (map(seed), map(seed + 1000));
            let seen: Vec<u16> =
                labels.iter().zip(&predictions).map(|(&l, &p)| if l == IGNORE { IGNORE } else { p }).collect();
            for width in 1..4 {
                let mut counts = [BoundaryCounts::default(); 3];
                add_boundaries(&mut counts, SIZE, &labels, &predictions, BoundaryWidth::Pixels(width));
                for class in 0..3u16 {
                    let band = |map: &[u16]| -> Vec<bool> {
                        map.iter().zip(Naive(map).eroded(class, width)).map(|(&c, e)| c == class && !e).collect()
                    };
                    let (truth, guess) = (band(&labels), band(&seen));
                    let both = truth.iter().zip(&guess).filter(|(t, g)| **t && **g).count();
                    let either = truth.iter().zip(&guess).filter(|(t, g)| **t || **g).count();
                    let count = &counts[usize::from(class)];
                    assert_eq!(
                        count.iou(),
                        (either > 0).then(|| both as f64 / either as f64),
                        "{seed} {width} {class}"
                    );
                    let f = naive_f(&Naive(&labels).outline(class), &Naive(&seen).outline(class), width as isize);
                    assert_eq!(count.f_score().is_some(), f.is_some());
                    assert!(
                        (count.f_score().unwrap_or(0.0) - f.unwrap_or(0.0)).abs() < 1e-12,
                        "{seed} {width} {class}"
                    );
                }
            }
        }
    }

    #[test]
    fn widths_are_pixels_or_shares_of_the_diagonal() {
        let size = Size { width: 640, height: 480 };
        assert_eq!("3".parse::<BoundaryWidth>().unwrap().pixels(size), 3);
        assert_eq!("2%".parse::<BoundaryWidth>().unwrap().pixels(size), 16);
        for wrong in ["0", "-1", "2.5", "0%", "50%", "x", "2000"] {
            assert!(wrong.parse::<BoundaryWidth>().is_err(), "{wrong}");
        }
    }
}
