//! What a prediction without a model would score.

use serde::{Deserialize, Serialize};

use super::{AbsentClass, ConfusionMatrix};

/// Scores of predicting the most frequent class everywhere: what a model has to beat. With rare classes the pixel accuracy
/// of this baseline is high, and its mean IoU is not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Index of the most frequent class in the labels.
    pub class: usize,
    /// Its share of the labelled pixels.
    pub pixel_accuracy: f64,
    /// Mean IoU.
    pub mean_iou: f64,
}

impl Baseline {
    /// The baseline for the labels of a matrix; `None` if no pixel is labelled as a class.
    pub fn new(matrix: &ConfusionMatrix, absent: AbsentClass) -> Option<Self> {
        let labelled: Vec<u64> = (0..matrix.classes()).map(|class| matrix.labelled(class)).collect();
        // Of equal ones the first.
        let class = (0..labelled.len()).rev().max_by_key(|&class| labelled[class])?;
        if labelled[class] == 0 {
            return None;
        }
        let pixel_accuracy = labelled[class] as f64 / labelled.iter().sum::<u64>() as f64;
        let counted = match absent {
            AbsentClass::Zero => labelled.len(),
            AbsentClass::LeftOut => labelled.iter().filter(|pixels| **pixels > 0).count(),
        };
        // The union of the class and its predictions is all labelled pixels; the IoU of any other class is 0.
        Some(Self { class, pixel_accuracy, mean_iou: pixel_accuracy / counted as f64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_class_everywhere() {
        let mut matrix = ConfusionMatrix::new(3);
        // 6 pixels of class 1, 2 of class 0, none of class 2, however they were predicted.
        matrix.add(&[1, 1, 1, 1, 1, 1, 0, 0], &[0, 0, 2, 2, 1, 1, 0, 1]);
        let zero = Baseline::new(&matrix, AbsentClass::Zero).unwrap();
        assert_eq!((zero.class, zero.pixel_accuracy), (1, 0.75));
        // IoU of class 1 is 6/8, of class 0 it is 0, and class 2 is absent.
        assert_eq!(zero.mean_iou, 0.75 / 3.0);
        assert_eq!(Baseline::new(&matrix, AbsentClass::LeftOut).unwrap().mean_iou, 0.75 / 2.0);
        assert_eq!(Baseline::new(&ConfusionMatrix::new(3), AbsentClass::Zero), None);
    }
}
