//! Counting: everything else is derived from this matrix.

use crate::label::IGNORE;

/// Pixels counted by true and predicted class.
///
/// Row `t` holds the pixels whose label is class `t`; column `p` those predicted as `p`; one further column holds
/// predictions that are no class at all, which are wrong but take part in the totals. Unlabelled pixels are not
/// counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<u64>,
}

impl ConfusionMatrix {
    /// An empty matrix for `classes` classes.
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * (classes + 1)] }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Counts the pixels of one picture. Labels outside `0..classes` ([`IGNORE`] among them) are dropped.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn add(&mut self, labels: &[u16], predictions: &[u16]) {
        assert_eq!(labels.len(), predictions.len(), "labels and predictions must cover the same pixels");
        let (classes, row) = (self.classes, self.classes + 1);
        for (&label, &prediction) in labels.iter().zip(predictions) {
            let label = usize::from(label);
            if label < classes {
                let prediction = usize::from(prediction).min(classes);
                self.counts[label * row + prediction] += 1;
            }
        }
    }

    /// Adds the counts of another matrix of the same number of classes.
    ///
    /// # Panics
    /// If the numbers of classes differ.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.classes, other.classes, "matrices of different class counts cannot be added");
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
    }

    /// Pixels of class `label` that were predicted as `prediction`.
    pub fn count(&self, label: usize, prediction: usize) -> u64 {
        self.counts[label * (self.classes + 1) + prediction]
    }

    /// Pixels whose label is `class`.
    pub fn labelled(&self, class: usize) -> u64 {
        let row = self.classes + 1;
        self.counts[class * row..(class + 1) * row].iter().sum()
    }

    /// Labelled pixels that were predicted as `class`.
    pub fn predicted(&self, class: usize) -> u64 {
        (0..self.classes).map(|label| self.count(label, class)).sum()
    }

    /// All labelled pixels.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

const _: () = assert!(IGNORE == u16::MAX, "`add` drops ignored pixels because they exceed every class index");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_drop_the_unlabelled_and_keep_predictions_of_no_class() {
        let mut matrix = ConfusionMatrix::new(2);
        matrix.add(&[0, 0, 1, 1, IGNORE], &[0, 1, 1, IGNORE, 0]);
        assert_eq!([matrix.count(0, 0), matrix.count(0, 1), matrix.count(1, 1), matrix.count(1, 2)], [1, 1, 1, 1]);
        assert_eq!((matrix.total(), matrix.labelled(1), matrix.predicted(1)), (4, 2, 2));
    }

    #[test]
    fn merging_equals_counting_at_once() {
        let (labels, predictions) = ([0, 1, 2, 2, 1, 0], [0, 2, 2, 1, 1, 1]);
        let mut whole = ConfusionMatrix::new(3);
        whole.add(&labels, &predictions);
        let mut parts = ConfusionMatrix::new(3);
        for i in 0..2 {
            let mut part = ConfusionMatrix::new(3);
            part.add(&labels[3 * i..3 * i + 3], &predictions[3 * i..3 * i + 3]);
            parts.merge(&part);
        }
        assert_eq!(whole, parts);
    }
}
