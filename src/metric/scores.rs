//! Scores derived from counts.

use serde::Serialize;

use super::confusion::{Areas, ConfusionMatrix};
use super::convention::{AbsentClass, Convention};
use super::tally::Tally;

/// Scores of one class. Each is `None` where its denominator is 0, unless the convention says 0.
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
    /// Boundary IoU, if asked for; see [`super::boundary::BoundaryCounts::iou`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boundary_iou: Option<f64>,
    /// Boundary F-score, if asked for; see [`super::boundary::BoundaryCounts::f_score`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boundary_f_score: Option<f64>,
}

/// Scores of a set of images, from its confusion matrix.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    /// Labelled pixels that are right, over all labelled pixels.
    pub pixel_accuracy: f64,
    /// Mean over the classes of I / label.
    pub mean_class_accuracy: f64,
    /// Mean over the classes of the IoU.
    pub mean_iou: f64,
    /// IoU weighted by the labelled pixels of the class.
    pub frequency_weighted_iou: f64,
    /// Mean over the classes of Dice.
    pub mean_dice: f64,
    /// Cohen's kappa: agreement beyond what the marginals alone would give.
    pub kappa: f64,
    /// CSAIL's overall score: mean of pixel accuracy and mean IoU.
    pub overall_score: f64,
    /// Mean over the classes of the boundary IoU, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_boundary_iou: Option<f64>,
    /// Mean over the classes of the boundary F-score, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_boundary_f_score: Option<f64>,
    /// Labelled pixels.
    pub pixels: u64,
    /// One entry a class.
    pub classes: Vec<ClassScores>,
}

impl Scores {
    /// Derives all scores; `absent` says how classes without pixels enter the means. A set without any labelled pixel
    /// scores 0 throughout.
    pub fn new(matrix: &ConfusionMatrix, absent: AbsentClass) -> Self {
        let areas = matrix.areas();
        let classes: Vec<_> = areas.iter().map(|areas| class_scores(areas, absent)).collect();
        let total = matrix.total();
        let right: u64 = areas.iter().map(|areas| areas.both).sum();
        let share = |part: f64| if total == 0 { 0.0 } else { part / total as f64 };
        let pixel_accuracy = share(right as f64);
        let mean_iou = mean(classes.iter().map(|c| c.iou));
        Self {
            pixel_accuracy,
            mean_class_accuracy: mean(classes.iter().map(|c| c.accuracy)),
            mean_iou,
            frequency_weighted_iou: share(classes.iter().map(|c| c.iou.unwrap_or(0.0) * c.pixels as f64).sum()),
            mean_dice: mean(classes.iter().map(|c| c.dice)),
            kappa: kappa(&areas, total, pixel_accuracy),
            overall_score: (pixel_accuracy + mean_iou) / 2.0,
            mean_boundary_iou: None,
            mean_boundary_f_score: None,
            pixels: total,
            classes,
        }
    }

    /// The scores of a set as a project computes them. `background` is the class whose label value is 0, if there is one.
    pub fn by(convention: Convention, tally: &Tally, background: Option<usize>) -> Self {
        let mut scores = Self::new(&tally.matrix, convention.absent());
        match convention {
            Convention::Capstone | Convention::Csail | Convention::Semseg | Convention::Mmseg => {}
            Convention::Paddle => {
                let areas = tally.matrix.areas();
                let predicted: u64 = areas.iter().map(|areas| areas.prediction).sum();
                let right: u64 = areas.iter().map(|areas| areas.both).sum();
                scores.pixel_accuracy = if predicted == 0 { 0.0 } else { right as f64 / predicted as f64 };
            }
            Convention::Nnunet => {
                for (class, case) in scores.classes.iter_mut().zip(&tally.cases) {
                    (class.iou, class.dice) = (case.iou.mean(), case.dice.mean());
                }
                scores.mean_iou = foreground_mean(&scores.classes, background, |c| c.iou);
                scores.mean_dice = foreground_mean(&scores.classes, background, |c| c.dice);
            }
        }
        scores.overall_score = (scores.pixel_accuracy + scores.mean_iou) / 2.0;
        if let Some(boundary) = &tally.boundary {
            for (class, counts) in scores.classes.iter_mut().zip(&boundary.classes) {
                (class.boundary_iou, class.boundary_f_score) = (counts.iou(), counts.f_score());
            }
            scores.mean_boundary_iou = Some(mean(scores.classes.iter().map(|c| c.boundary_iou)));
            scores.mean_boundary_f_score = Some(mean(scores.classes.iter().map(|c| c.boundary_f_score)));
        }
        scores
    }
}

fn class_scores(areas: &Areas, absent: AbsentClass) -> ClassScores {
    let filled = |score: Option<f64>| match absent {
        AbsentClass::Zero => Some(score.unwrap_or(0.0)),
        AbsentClass::LeftOut => score,
    };
    ClassScores {
        iou: filled(areas.iou()),
        dice: filled(areas.dice()),
        accuracy: filled(areas.recall()),
        precision: filled(areas.precision()),
        pixels: areas.label,
        boundary_iou: None,
        boundary_f_score: None,
    }
}

fn mean(values: impl Iterator<Item = Option<f64>>) -> f64 {
    let kept: Vec<f64> = values.flatten().collect();
    if kept.is_empty() { 0.0 } else { kept.iter().sum::<f64>() / kept.len() as f64 }
}

/// nnU-Net's: not a number if one of the classes has no score.
fn foreground_mean(
    classes: &[ClassScores],
    background: Option<usize>,
    score: impl Fn(&ClassScores) -> Option<f64>,
) -> f64 {
    let foreground = classes.iter().enumerate().filter(|(index, _)| Some(*index) != background);
    let scores: Vec<f64> = foreground.map(|(_, class)| score(class).unwrap_or(f64::NAN)).collect();
    scores.iter().sum::<f64>() / scores.len() as f64
}

/// J. Cohen, "A coefficient of agreement for nominal scales" (1960): (p_o - p_e) / (1 - p_e). Where chance alone would
/// agree everywhere, 0.
fn kappa(areas: &[Areas], total: u64, observed: f64) -> f64 {
    if total == 0 {
        return 0.0;
    }
    let share = |pixels: u64| pixels as f64 / total as f64;
    let chance: f64 = areas.iter().map(|areas| share(areas.label) * share(areas.prediction)).sum();
    if chance >= 1.0 { 0.0 } else { (observed - chance) / (1.0 - chance) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::label_map::IGNORE;

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
            // Class 3 is rare, so that some maps lack it; 5 stands for "no class".
            let labels: Vec<u16> = (0..40).map(|_| [0, 1, 2, IGNORE, 0, 1, 2, 3][random(8) as usize]).collect();
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
