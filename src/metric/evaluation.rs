//! Scores on pixels that a classifier did not learn from.

use serde::{Deserialize, Serialize};

use super::{AbsentClass, ConfusionMatrix, Scores};

/// Counts on pixels that were not learnt from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Pixels by label and prediction.
    #[serde(skip)]
    pub matrix: ConfusionMatrix,
    /// F1 of every class; `None` of one of which nothing was held out.
    pub f1: Vec<Option<f64>>,
    /// Mean of these; `None` if nothing was held out.
    pub mean_f1: Option<f64>,
    /// Share of the pixels that are right.
    pub accuracy: f64,
    /// Pixels that were held out.
    pub pixels: u64,
    /// `[label, prediction]`.
    pub confusion: Vec<Vec<u64>>,
    /// Indices of the classes that occur in the labels, but in no prediction.
    pub never_predicted: Vec<usize>,
}

impl Evaluation {
    /// Scores of counts `[label, prediction]`.
    pub(crate) fn of_counts(counts: &[Vec<u64>]) -> Self {
        let mut matrix = ConfusionMatrix::new(counts.len());
        matrix.add_counts(&counts.concat());
        Self::new(matrix)
    }

    /// Scores of these counts.
    pub fn new(matrix: ConfusionMatrix) -> Self {
        let scores = Scores::new(&matrix, AbsentClass::LeftOut);
        let f1: Vec<Option<f64>> = scores.classes.iter().map(|class| class.dice.filter(|_| class.pixels > 0)).collect();
        let known: Vec<f64> = f1.iter().flatten().copied().collect();
        let mean_f1 = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
        let classes = 0..matrix.classes();
        let row = |label: usize| classes.clone().map(|prediction| matrix.at(label, prediction)).collect();
        let confusion = classes.clone().map(row).collect();
        let (accuracy, pixels, never_predicted) = (scores.pixel_accuracy, scores.pixels, matrix.never_predicted());
        Self { f1, mean_f1, accuracy, pixels, confusion, never_predicted, matrix }
    }
}
