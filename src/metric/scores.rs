//! Scores derived from a confusion matrix.

use serde::Serialize;

use super::ConfusionMatrix;

/// How a class that neither occurs nor was predicted enters the mean IoU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AbsentClass {
    /// Counts as 0; the mean is over all classes (the original Capstone script, CSAIL).
    Zero,
    /// Left out of the mean (mmsegmentation).
    #[default]
    LeftOut,
}

/// Scores of one class. Each is `None` where its denominator is 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScores {
    /// Intersection over union, I / (label + prediction - I).
    pub iou: Option<f64>,
    /// Dice, which is also F1: 2 I / (label + prediction).
    pub dice: Option<f64>,
    /// Recall, also called class accuracy: I / label.
    pub accuracy: Option<f64>,
    /// I / prediction.
    pub precision: Option<f64>,
    /// Labelled pixels of the class.
    pub pixels: u64,
}

/// Scores of a whole set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    /// Labelled pixels that are right, over all labelled pixels.
    pub pixel_accuracy: f64,
    /// Mean over the classes that have labelled pixels.
    pub mean_class_accuracy: f64,
    /// Mean IoU by the convention asked for.
    pub mean_iou: f64,
    /// IoU weighted by the labelled pixels of the class.
    pub frequency_weighted_iou: f64,
    /// Mean Dice, with the same convention as the mean IoU.
    pub mean_dice: f64,
    /// Cohen's kappa: agreement beyond what the marginals alone would give.
    pub kappa: f64,
    /// CSAIL's overall score: mean of pixel accuracy and mean IoU.
    pub overall_score: f64,
    /// Labelled pixels.
    pub pixels: u64,
    /// One entry a class.
    pub classes: Vec<ClassScores>,
}

impl Scores {
    /// Derives all scores. A set without any labelled pixel scores 0 throughout.
    pub fn new(matrix: &ConfusionMatrix, absent: AbsentClass) -> Self {
        let classes: Vec<_> = (0..matrix.classes()).map(|c| class_scores(matrix, c)).collect();
        let total = matrix.total();
        let right: u64 = (0..matrix.classes()).map(|c| matrix.count(c, c)).sum();
        let pixel_accuracy = ratio(right, total).unwrap_or(0.0);
        let mean_iou = mean(classes.iter().map(|c| c.iou), absent);
        let weighted = classes.iter().map(|c| c.iou.unwrap_or(0.0) * c.pixels as f64).sum::<f64>();
        Self {
            pixel_accuracy,
            mean_class_accuracy: mean(classes.iter().map(|c| c.accuracy), AbsentClass::LeftOut),
            mean_iou,
            frequency_weighted_iou: if total == 0 { 0.0 } else { weighted / total as f64 },
            mean_dice: mean(classes.iter().map(|c| c.dice), absent),
            kappa: kappa(matrix, pixel_accuracy),
            overall_score: (pixel_accuracy + mean_iou) / 2.0,
            pixels: total,
            classes,
        }
    }
}

fn class_scores(matrix: &ConfusionMatrix, class: usize) -> ClassScores {
    let (label, prediction, both) = (matrix.labelled(class), matrix.predicted(class), matrix.count(class, class));
    ClassScores {
        iou: ratio(both, label + prediction - both),
        dice: ratio(2 * both, label + prediction),
        accuracy: ratio(both, label),
        precision: ratio(both, prediction),
        pixels: label,
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn mean(values: impl Iterator<Item = Option<f64>>, absent: AbsentClass) -> f64 {
    let kept: Vec<f64> = match absent {
        AbsentClass::Zero => values.map(|v| v.unwrap_or(0.0)).collect(),
        AbsentClass::LeftOut => values.flatten().collect(),
    };
    if kept.is_empty() { 0.0 } else { kept.iter().sum::<f64>() / kept.len() as f64 }
}

/// J. Cohen, "A coefficient of agreement for nominal scales" (1960): (p_o - p_e) / (1 - p_e). Where chance alone would
/// agree everywhere, 0.
fn kappa(matrix: &ConfusionMatrix, observed: f64) -> f64 {
    let total = matrix.total() as f64;
    if total == 0.0 {
        return 0.0;
    }
    let share = |pixels: u64| pixels as f64 / total;
    let chance: f64 = (0..matrix.classes()).map(|c| share(matrix.labelled(c)) * share(matrix.predicted(c))).sum();
    if chance >= 1.0 { 0.0 } else { (observed - chance) / (1.0 - chance) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores from sets of pixels, by definition, with no matrix.
    fn naive_iou(labels: &[u16], predictions: &[u16], class: u16) -> Option<f64> {
        let valid = || labels.iter().zip(predictions).filter(|(l, _)| **l < 4);
        let union = valid().filter(|(l, p)| **l == class || **p == class).count();
        let both = valid().filter(|(l, p)| **l == class && **p == class).count();
        (union > 0).then(|| both as f64 / union as f64)
    }

    #[test]
    fn iou_equals_its_definition_on_random_maps() {
        let mut state = 1u32;
        let mut random = |n: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % n
        };
        for _ in 0..50 {
            // Class 3 is rare, so that some maps lack it; 4 and 5 stand for "no label" and "no class".
            let labels: Vec<u16> = (0..40).map(|_| [0, 1, 2, 4, 0, 1, 2, 3][random(8) as usize]).collect();
            let predictions: Vec<u16> = (0..40).map(|_| [0, 1, 2, 5, 0, 1][random(6) as usize]).collect();
            let mut matrix = ConfusionMatrix::new(4);
            matrix.add(&labels, &predictions);
            let scores = Scores::new(&matrix, AbsentClass::LeftOut);
            for class in 0..4u16 {
                assert_eq!(scores.classes[usize::from(class)].iou, naive_iou(&labels, &predictions, class));
            }
        }
    }

    #[test]
    fn an_absent_class_counts_as_the_convention_says() {
        let mut matrix = ConfusionMatrix::new(3);
        matrix.add(&[0, 0, 1, 1], &[0, 0, 1, 0]);
        let expected = [2.0 / 3.0, 0.5];
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(Scores::new(&matrix, AbsentClass::LeftOut).mean_iou, expected.iter().sum::<f64>() / 2.0));
        assert!(close(Scores::new(&matrix, AbsentClass::Zero).mean_iou, expected.iter().sum::<f64>() / 3.0));
    }

    #[test]
    fn kappa_of_a_worked_example() {
        // 20 agree on "yes", 15 on "no", 5 and 10 disagree: p_o = 0.7, p_e = 0.5, kappa = 0.4.
        let mut matrix = ConfusionMatrix::new(2);
        for (label, prediction, times) in [(0, 0, 20), (0, 1, 5), (1, 0, 10), (1, 1, 15)] {
            matrix.add(&vec![label; times], &vec![prediction; times]);
        }
        assert!((Scores::new(&matrix, AbsentClass::Zero).kappa - 0.4).abs() < 1e-12);
    }

    #[test]
    fn no_labelled_pixel_is_no_division_by_zero() {
        let scores = Scores::new(&ConfusionMatrix::new(2), AbsentClass::Zero);
        assert_eq!((scores.pixel_accuracy, scores.mean_iou, scores.kappa), (0.0, 0.0, 0.0));
    }
}
