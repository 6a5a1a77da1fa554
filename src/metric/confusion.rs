//! Counting: everything else is derived from this matrix.

use serde::{Deserialize, Serialize};

use crate::base::label_map::IGNORE;
use crate::base::{Result, require};

/// Pixels counted by true and predicted class.
///
/// Row `t` holds the pixels whose label is class `t`; column `p` those predicted as `p`. One further column holds
/// predictions that are no class at all, which are wrong but take part in the totals. Below the classes, one row holds
/// labels that are no class, under which everything is wrong, and one the pixels without a label, which take part in
/// nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<u64>,
}

/// Most classes; the matrix of this many takes 128 MiB.
const MAX_CLASSES: usize = 4096;

/// Pixels that are compared at once: label maps are flat, and a block that repeats the pixel before it is counted without
/// looking anything up.
const BLOCK: usize = 8;

impl ConfusionMatrix {
    /// An empty matrix for `classes` classes.
    pub fn new(classes: usize) -> Self {
        let cells = (classes + 2) * (classes + 1);
        // Room for one more, which counting uses.
        let mut counts = Vec::with_capacity(cells + 1);
        counts.resize(cells, 0);
        Self { classes, counts }
    }

    /// Refuses numbers of classes whose matrix would not fit into memory.
    pub fn check_classes(classes: usize) -> Result<()> {
        let size = ((classes + 2) * (classes + 1) * size_of::<u64>()) >> 20;
        let expected = format!("at most {MAX_CLASSES}: the confusion matrix would take {size} MiB a thread");
        require(classes <= MAX_CLASSES, "classes", classes, expected)
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Cells a row: the classes and one more.
    fn row(&self) -> usize {
        self.classes + 1
    }

    /// The same with other counts, which are found from these: one a cell, in a fixed order.
    pub(crate) fn recounted(mut self, find: impl FnOnce(Vec<i64>) -> Vec<i64>) -> Self {
        let found = find(self.counts.iter().map(|&count| count as i64).collect());
        self.counts.iter_mut().zip(found).for_each(|(count, found)| *count = found as u64);
        self
    }

    /// Adds pixels that were counted elsewhere: `[label, prediction]`, both classes.
    ///
    /// # Panics
    /// If there is not a count for every pair of classes.
    pub fn add_counts(&mut self, counts: &[u64]) {
        assert_eq!(counts.len(), self.classes * self.classes);
        let columns = self.row();
        for (row, counts) in self.counts.chunks_exact_mut(columns).zip(counts.chunks_exact(self.classes.max(1))) {
            row.iter_mut().zip(counts).for_each(|(all, count)| *all += count);
        }
    }

    /// Counts the pixels of one image, given as class indices. Labels that are [`IGNORE`] take part in nothing; others
    /// outside `0..classes` are wrong whatever is predicted.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn add(&mut self, labels: &[u16], predictions: &[u16]) {
        let (classes, row) = (self.classes, self.row());
        let index = |class: u16| usize::from(class).min(classes);
        let label_row = |label: u16| if label == IGNORE { (classes + 1) * row } else { index(label) * row };
        let unknown = self.count(labels, predictions, label_row, index);
        debug_assert_eq!(unknown, None);
    }

    /// Counts the pixels of one image, given as values on disk. On a value that `codes` does not know, its place is
    /// the error, and the counts are not to be used.
    ///
    /// # Panics
    /// If the slices differ in length or the codes are of another number of classes.
    pub fn add_values(&mut self, labels: &[u16], predictions: &[u16], codes: &Codes) -> Result<(), usize> {
        assert_eq!(codes.classes, self.classes, "the codes must be of the same classes");
        let cell = |table: &Table, value: u16| table[usize::from(value)] as usize;
        let label = |value| cell(&codes.labels, value);
        let prediction = |value| cell(&codes.predictions, value);
        self.count(labels, predictions, label, prediction).map_or(Ok(()), Err)
    }

    /// Adds 1 to cell `label(l) + prediction(p)` for every pixel. The place of a pixel whose cell there is not.
    fn count(
        &mut self,
        labels: &[u16],
        predictions: &[u16],
        label: impl Fn(u16) -> usize,
        prediction: impl Fn(u16) -> usize,
    ) -> Option<usize> {
        assert_eq!(labels.len(), predictions.len(), "labels and predictions must cover the same pixels");
        let ((label_blocks, label_rest), (prediction_blocks, prediction_rest)) =
            (labels.as_chunks::<BLOCK>(), predictions.as_chunks::<BLOCK>());
        // Pixels without a cell are counted beyond the others, and looked for only if there are some.
        let unknown = self.counts.len();
        self.counts.push(0);
        let counts = &mut self.counts[..=unknown];
        let mut add = |l: u16, p: u16, times: u64| counts[(label(l) + prediction(p)).min(unknown)] += times;
        let (mut flat_label, mut flat_prediction, mut flat_blocks) = ([0; BLOCK], [0; BLOCK], 0);
        for (l, p) in label_blocks.iter().zip(prediction_blocks) {
            if *l == flat_label && *p == flat_prediction {
                flat_blocks += 1;
                continue;
            }
            // No branch on single pixels: at the outlines of classes it would go either way.
            l.iter().zip(p).for_each(|(&l, &p)| add(l, p, 1));
            add(flat_label[0], flat_prediction[0], flat_blocks * BLOCK as u64);
            (flat_label, flat_prediction, flat_blocks) = ([l[BLOCK - 1]; BLOCK], [p[BLOCK - 1]; BLOCK], 0);
        }
        add(flat_label[0], flat_prediction[0], flat_blocks * BLOCK as u64);
        label_rest.iter().zip(prediction_rest).for_each(|(&l, &p)| add(l, p, 1));
        let missed = self.counts.pop() != Some(0);
        let cell = |(&l, &p): (&u16, &u16)| label(l) + prediction(p);
        if missed { labels.iter().zip(predictions).position(|pixel| cell(pixel) >= unknown) } else { None }
    }

    /// Adds the counts of another matrix of the same number of classes.
    ///
    /// # Panics
    /// If the numbers of classes differ.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.classes, other.classes, "matrices of different class counts cannot be added");
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// Moves the counts of `image` over to this matrix, in one pass, and leaves it empty.
    ///
    /// # Panics
    /// If the numbers of classes differ.
    pub fn take(&mut self, image: &mut Self) {
        assert_eq!(self.classes, image.classes, "matrices of different class counts cannot be added");
        self.counts.iter_mut().zip(&mut image.counts).for_each(|(mine, theirs)| *mine += std::mem::take(theirs));
    }

    /// Whether it has the cells that its number of classes asks for; one that was read from a file may not.
    pub fn is_whole(&self) -> bool {
        self.classes <= MAX_CLASSES && self.counts.len() == (self.classes + 2) * self.row()
    }

    /// Pixels of class `label` that were predicted as `prediction`. The number of classes, for either, is no class.
    pub fn at(&self, label: usize, prediction: usize) -> u64 {
        self.counts[label * self.row() + prediction]
    }

    /// Pixels whose label is `class`.
    pub fn labelled(&self, class: usize) -> u64 {
        self.counts[class * self.row()..(class + 1) * self.row()].iter().sum()
    }

    /// Labelled pixels that were predicted as `class`; as no class, where that is the number of classes.
    pub fn predicted(&self, class: usize) -> u64 {
        (0..=self.classes).map(|label| self.at(label, class)).sum()
    }

    /// Labelled and predicted pixels, and those that are both, of every class: one pass over the matrix.
    pub fn areas(&self) -> Vec<Areas> {
        let mut areas = vec![Areas::default(); self.classes];
        for (class, row) in self.counts.chunks_exact(self.row()).take(self.classes + 1).enumerate() {
            if let Some(area) = areas.get_mut(class) {
                area.label = row.iter().sum();
                area.both = row[class];
            }
            areas.iter_mut().zip(row).for_each(|(area, count)| area.prediction += count);
        }
        areas
    }

    /// The classes that occur in the labels, but in no prediction of a labelled pixel.
    pub fn never_predicted(&self) -> Vec<usize> {
        let areas = self.areas().into_iter().enumerate();
        areas.filter(|(_, areas)| areas.label > 0 && areas.prediction == 0).map(|(class, _)| class).collect()
    }

    /// All labelled pixels.
    pub fn total(&self) -> u64 {
        self.counts[..(self.classes + 1) * self.row()].iter().sum()
    }

    /// All pixels, labelled or not, unless they are more than there are numbers; counts that were read from a file may be.
    pub fn checked_total(&self) -> Option<u64> {
        self.counts.iter().try_fold(0u64, |sum, &count| sum.checked_add(count))
    }

    /// Pixels without a label.
    pub fn unlabelled(&self) -> u64 {
        self.counts[(self.classes + 1) * self.row()..].iter().sum()
    }
}

/// Pixels of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Areas {
    /// Pixels whose label it is.
    pub label: u64,
    /// Labelled pixels that were predicted as it.
    pub prediction: u64,
    /// Pixels that are both.
    pub both: u64,
}

impl Areas {
    /// Intersection over union, I / (label + prediction - I).
    pub fn iou(&self) -> Option<f64> {
        ratio(self.both, self.label + self.prediction - self.both)
    }

    /// Dice, which is also F1: 2 I / (label + prediction).
    pub fn dice(&self) -> Option<f64> {
        ratio(2 * self.both, self.label + self.prediction)
    }

    /// Recall, also called class accuracy: I / label.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.both, self.label)
    }

    /// I / prediction.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.both, self.prediction)
    }
}

/// `None` where the denominator is 0.
pub(super) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Look-up tables from the values on disk to rows and columns of a [`ConfusionMatrix`].
#[derive(Debug, Clone)]
pub struct Codes {
    classes: usize,
    /// Beginning of the row, by label value.
    labels: Box<Table>,
    /// Column, by predicted value.
    predictions: Box<Table>,
}

/// By 16-bit value: an array, so that a look-up needs no check.
type Table = [u32; 1 << 16];

impl Codes {
    /// Builds the look-up tables from `class`, which maps a value on disk to its class index, [`IGNORE`] if it means "not
    /// labelled", an index beyond the classes if it is no class but counts as wrong, or `None` if it is an error.
    ///
    /// # Panics
    /// If there are more classes than [`ConfusionMatrix::check_classes`] lets through.
    pub fn new(classes: usize, class: impl Fn(u16) -> Option<u16>) -> Self {
        assert!(classes <= MAX_CLASSES);
        // Beyond every cell, also when two are added.
        const UNKNOWN: u32 = 1 << 30;
        let table = |width: usize, ignored: usize| -> Box<Table> {
            let place = |class: u16| if class == IGNORE { ignored } else { usize::from(class).min(classes) };
            let cell = |value| class(value).map_or(UNKNOWN, |class| (place(class) * width) as u32);
            let cells: Box<[u32]> = (0..=u16::MAX).map(cell).collect();
            cells.try_into().unwrap_or_else(|_| unreachable!("there is one cell a value"))
        };
        Self { classes, labels: table(classes + 1, classes + 1), predictions: table(1, classes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::label_map::NO_CLASS;

    #[test]
    fn counts_drop_the_unlabelled_and_keep_predictions_of_no_class() {
        let mut matrix = ConfusionMatrix::new(2);
        matrix.add(&[0, 0, 1, 1, IGNORE], &[0, 1, 1, IGNORE, 0]);
        assert_eq!([matrix.at(0, 0), matrix.at(0, 1), matrix.at(1, 1), matrix.at(1, 2)], [1, 1, 1, 1]);
        assert_eq!((matrix.total(), matrix.unlabelled(), matrix.labelled(1), matrix.predicted(1)), (4, 1, 2, 2));
        assert_eq!(matrix.areas()[1], Areas { label: 2, prediction: 2, both: 1 });
    }

    #[test]
    fn classes_that_are_never_predicted_are_those_that_occur() {
        let mut matrix = ConfusionMatrix::new(4);
        // Class 1 occurs and is not predicted, class 2 is predicted alone, class 3 only where there is no label.
        matrix.add(&[0, 1, 1, IGNORE], &[0, 0, 2, 3]);
        assert_eq!(matrix.never_predicted(), [1]);
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

    #[test]
    fn values_are_counted_as_their_classes_in_flat_and_in_mixed_blocks() {
        // Values 1..=3 are classes, 0 is not labelled, all others are errors.
        let codes = Codes::new(3, |value| match value {
            0 => Some(IGNORE),
            1..=3 => Some(value - 1),
            _ => None,
        });
        let class = |value: u16| value.wrapping_sub(1);
        for (step, length) in [(1, 100), (40, 200), (16, 96), (200, 150)] {
            let labels: Vec<u16> = (0..length).map(|i| (i / step % 4) as u16).collect();
            let predictions: Vec<u16> = (0..length).map(|i| (i / (step + 3) % 4) as u16).collect();
            let (mut by_value, mut by_class) = (ConfusionMatrix::new(3), ConfusionMatrix::new(3));
            assert_eq!(by_value.add_values(&labels, &predictions, &codes), Ok(()));
            let classes = |values: &[u16]| values.iter().map(|&v| class(v)).collect::<Vec<_>>();
            by_class.add(&classes(&labels), &classes(&predictions));
            assert_eq!(by_value, by_class);
            for at in [0, 17, length - 1] {
                let (mut wrong_labels, mut wrong_predictions) = (labels.clone(), predictions.clone());
                (wrong_labels[at], wrong_predictions[at]) = (4, 9);
                for (l, p) in [(&wrong_labels, &predictions), (&labels, &wrong_predictions)] {
                    assert_eq!(ConfusionMatrix::new(3).add_values(l, p, &codes), Err(at));
                }
            }
        }
    }

    #[test]
    fn labels_of_no_class_are_wrong_whatever_is_predicted() {
        let codes = Codes::new(2, |value| Some([IGNORE, 0, 1].get(usize::from(value)).copied().unwrap_or(NO_CLASS)));
        let mut matrix = ConfusionMatrix::new(2);
        matrix.add_values(&[1, 2, 7, 7, 0], &[1, 2, 1, 7, 2], &codes).unwrap();
        assert_eq!((matrix.total(), matrix.unlabelled(), matrix.at(2, 0), matrix.at(2, 2)), (4, 1, 1, 1));
        assert_eq!(
            matrix.areas(),
            [Areas { label: 1, prediction: 2, both: 1 }, Areas { label: 1, prediction: 1, both: 1 }]
        );
    }

    #[test]
    fn a_value_of_zero_is_no_class_unless_somebody_says_so() {
        let codes = Codes::new(2, |value| matches!(value, 1 | 2).then(|| value - 1));
        for length in [1, 7, 8, 30, 64] {
            let (zeros, ones) = (vec![0; length], vec![1; length]);
            assert_eq!(ConfusionMatrix::new(2).add_values(&zeros, &zeros, &codes), Err(0));
            let (mut labels, mut predictions) = (zeros.clone(), zeros);
            labels.extend(&ones);
            predictions.extend(&ones);
            assert_eq!(ConfusionMatrix::new(2).add_values(&labels, &predictions, &codes), Err(0));
            labels.rotate_left(length);
            predictions.rotate_left(length);
            assert_eq!(ConfusionMatrix::new(2).add_values(&labels, &predictions, &codes), Err(length));
        }
    }

    #[test]
    fn too_many_classes_are_refused_in_words() {
        assert!(ConfusionMatrix::check_classes(MAX_CLASSES).is_ok());
        assert_refused!(
            ConfusionMatrix::check_classes(60_000),
            "`classes` is 60000; it must be at most 4096: the confusion matrix would take 27467 MiB"
        );
    }
}
