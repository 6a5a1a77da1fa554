//! What is kept of a set of images: as much for a million as for one.

use serde::{Deserialize, Serialize};

use super::boundary::{BoundaryCounts, BoundaryWidth, add_boundaries};
use super::cases::CaseSums;
use super::confusion::{Areas, ConfusionMatrix};
use crate::base::Size;

/// Everything that scores are derived from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// The pixels of all images.
    pub matrix: ConfusionMatrix,
    /// Of every class, the scores of single images.
    pub cases: Vec<CaseSums>,
    /// Counts along boundaries, if asked for.
    pub boundary: Option<Boundary>,
    /// Images counted.
    pub images: usize,
    /// Pairs left out because a file could not be used.
    pub skipped: usize,
}

/// Counts along the boundaries of every class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Boundary {
    /// How far from a boundary still counts.
    pub width: BoundaryWidth,
    /// One entry a class.
    pub classes: Vec<BoundaryCounts>,
}

impl Tally {
    /// An empty tally for `classes` classes; with `boundary`, class boundaries are scored, too.
    pub fn new(classes: usize, boundary: Option<BoundaryWidth>) -> Self {
        let boundary = boundary.map(|width| Boundary { width, classes: vec![BoundaryCounts::default(); classes] });
        let (matrix, cases) = (ConfusionMatrix::new(classes), vec![CaseSums::default(); classes]);
        Self { matrix, cases, boundary, images: 0, skipped: 0 }
    }

    /// Takes the counts of one image, counted by itself, and returns its areas.
    pub fn take(&mut self, image: &mut ConfusionMatrix) -> Vec<Areas> {
        let areas = image.areas();
        self.matrix.take(image);
        self.cases.iter_mut().zip(&areas).for_each(|(case, areas)| case.add(areas));
        self.images += 1;
        areas
    }

    /// Adds the boundaries of one image, if they are asked for. Class indices, row by row.
    pub fn add_boundaries(&mut self, size: Size, labels: &[u16], predictions: &[u16]) {
        if let Some(Boundary { width, classes }) = &mut self.boundary {
            add_boundaries(classes, size, labels, predictions, *width);
        }
    }

    /// Adds what was counted elsewhere, of the same classes and boundary width.
    ///
    /// # Panics
    /// If the numbers of classes differ.
    pub fn merge(&mut self, other: &Self) {
        self.matrix.merge(&other.matrix);
        self.cases.iter_mut().zip(&other.cases).for_each(|(mine, theirs)| mine.merge(theirs));
        if let (Some(mine), Some(theirs)) = (&mut self.boundary, &other.boundary) {
            mine.classes.iter_mut().zip(&theirs.classes).for_each(|(mine, theirs)| mine.merge(theirs));
        }
        self.images += other.images;
        self.skipped += other.skipped;
    }

    /// Whether its parts agree on the number of classes and its counts leave room for as many again; those of one that was
    /// read from a file may not.
    pub fn is_whole(&self) -> bool {
        let classes = self.matrix.classes();
        let boundary = self.boundary.as_ref().is_none_or(|boundary| {
            boundary.classes.len() == classes && boundary.classes.iter().all(BoundaryCounts::is_possible)
        });
        let room = |count: u64| count < 1 << 62;
        let cases = self.cases.len() == classes
            && self.cases.iter().all(|case| case.iou.is_possible() && case.dice.is_possible());
        self.matrix.is_whole()
            && self.matrix.checked_total().is_some_and(room)
            && room(self.images as u64)
            && room(self.skipped as u64)
            && cases
            && boundary
    }
}
