//! Every convention equals its project, and a count of pixel after pixel.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use segtool::data::Dataset;
use segtool::metric::{Codes, ConfusionMatrix, Convention, LabelValues, OtherValues, Scores, Tally};
use serde_json::Value;

use super::{Golden, close, scored};

#[test]
fn every_convention_equals_its_project() {
    let golden = Golden::read();
    let folder = tempfile::tempdir().unwrap();
    for (convention, expected) in golden.json["expected"].as_object().unwrap() {
        let first = i64::from(matches!(convention.as_str(), "capstone" | "csail"));
        let (predictions, labels) = golden.write(folder.path(), first, if first == 1 { 0 } else { 255 });
        // nnU-Net's mean over a class that is nowhere is not a number.
        let classes = if convention == "nnunet" { "5" } else { "6" };
        let mut more = vec!["--convention", convention, "--num-class", classes];
        if convention == "nnunet" {
            more.extend(["--ignore-label", "255"]);
        }
        let found = scored(&predictions, &labels, &more);
        for (key, expected) in expected.as_object().unwrap() {
            match expected.as_array() {
                None => close(&found[key], expected, &format!("{convention} {key}")),
                Some(expected) => {
                    for (i, expected) in expected.iter().enumerate() {
                        close(&found["classes"][i][key], expected, &format!("{convention} {key} {i}"));
                    }
                }
            }
        }
        assert_eq!((&found["images"], &found["skipped"]), (&5.into(), &0.into()));
    }
    let (predictions, labels) = golden.write(folder.path(), 0, 255);
    let more = ["--convention", "nnunet", "--num-class", "6", "--ignore-label", "255"];
    assert_eq!(scored(&predictions, &labels, &more)["mean_iou"], Value::Null);
}

#[test]
fn label_values_are_as_the_command_line_says() {
    let golden = Golden::read();
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for (first, ignore) in [(1, 0), (0, -1), (10, 3), (0, 65535)] {
        let (predictions, labels) = golden.write(folder.path(), first, ignore);
        let (first, ignore) = (first.to_string(), ignore.to_string());
        let more = ["--num-class", "6", "--first-label", &first, "--ignore-label", &ignore, "--convention", "mmseg"];
        let mut scores = scored(&predictions, &labels, &more);
        for class in scores["classes"].as_array_mut().unwrap() {
            class.as_object_mut().unwrap().retain(|key, _| !matches!(key.as_str(), "label" | "name"));
        }
        scores["baseline"].as_object_mut().unwrap().remove("class");
        all.push(scores);
    }
    assert!(all.iter().all(|scores| *scores == all[0]));
}

/// One class by going over all pixels; knows no matrix. Pixels are (label, prediction); a label beyond the classes takes
/// part without being any class.
#[derive(Default, Clone, Copy)]
struct Naive {
    label: f64,
    prediction: f64,
    both: f64,
}

impl Naive {
    fn of(pixels: &mut dyn Iterator<Item = (u16, u16)>, class: u16) -> Self {
        pixels.fold(Self::default(), |sum, (l, p)| Self {
            label: sum.label + f64::from(u8::from(l == class)),
            prediction: sum.prediction + f64::from(u8::from(p == class)),
            both: sum.both + f64::from(u8::from(l == class && p == class)),
        })
    }

    /// IoU, Dice, recall, precision.
    fn scores(self) -> [f64; 4] {
        let union = self.label + self.prediction - self.both;
        [
            self.both / union,
            2.0 * self.both / (self.label + self.prediction),
            self.both / self.label,
            self.both / self.prediction,
        ]
    }
}

fn nan_mean(values: impl Iterator<Item = f64>) -> f64 {
    let kept: Vec<f64> = values.filter(|v| !v.is_nan()).collect();
    kept.iter().sum::<f64>() / kept.len() as f64
}

/// All scores of a set by definition: those of the classes, then pixel accuracy, mean IoU, mean Dice, frequency-weighted
/// IoU and kappa.
fn naive(images: &[Vec<(u16, u16)>], classes: u16, convention: Convention) -> (Vec<[f64; 4]>, [f64; 5]) {
    let all = || images.iter().flatten().copied();
    let counts: Vec<Naive> = (0..classes).map(|class| Naive::of(&mut all(), class)).collect();
    let mut scores: Vec<[f64; 4]> = counts.iter().map(|count| count.scores()).collect();
    let zero = !matches!(convention, Convention::Mmseg | Convention::Nnunet);
    if zero {
        scores.iter_mut().flatten().for_each(|v| *v = if v.is_nan() { 0.0 } else { *v });
    }
    let total = all().count() as f64;
    let weighted =
        counts.iter().zip(&scores).filter(|(c, _)| c.label > 0.0).map(|(c, s)| c.label * s[0]).sum::<f64>() / total;
    let right = all().filter(|(l, p)| l == p && *l < classes).count() as f64;
    let chance: f64 = counts.iter().map(|c| c.label * c.prediction / total / total).sum();
    let kappa = (right / total - chance) / (1.0 - chance);
    let judged =
        if convention == Convention::Paddle { all().filter(|(_, p)| *p < classes).count() as f64 } else { total };
    if convention == Convention::Nnunet {
        for (class, score) in scores.iter_mut().enumerate() {
            let of_image = |pixels: &Vec<_>| Naive::of(&mut pixels.iter().copied(), class as u16).scores();
            for (i, value) in score.iter_mut().enumerate().take(2) {
                *value = nan_mean(images.iter().map(|pixels| of_image(pixels)[i]));
            }
        }
        let mean = |i: usize| scores[1..].iter().map(|score| score[i]).sum::<f64>() / f64::from(classes - 1);
        return (scores.clone(), [right / judged, mean(0), mean(1), weighted, kappa]);
    }
    let mean = |i: usize| nan_mean(scores.iter().map(|score| score[i]));
    (scores.clone(), [right / judged, mean(0), mean(1), weighted, kappa])
}

/// Label values as a convention has them: stretches of one value and noise, classes that are rare, values that mean "not
/// labelled" or are beyond the classes where that is allowed.
fn values(rng: &mut ChaCha8Rng, classes: u16, convention: Convention, prediction: bool) -> Vec<u16> {
    let LabelValues { first, ignore, others } = convention.label_values();
    let mut values = Vec::new();
    while values.len() < 500 {
        let value = match (rng.random_range(0..12), ignore) {
            (0, Some(ignore)) if !prediction || others != OtherValues::Error => ignore,
            (1, _) if others != OtherValues::Error => first + classes + 2,
            _ => first + rng.random_range(0..classes.max(3) - 1),
        };
        let length = if rng.random_bool(0.5) { 1 } else { rng.random_range(1..60) };
        values.extend(std::iter::repeat_n(value, length));
    }
    values.truncate(500);
    values
}

#[test]
fn random_maps_score_as_counted_pixel_by_pixel() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for round in 0..60u16 {
        let classes = 2 + round % 6;
        for name in ["capstone", "csail", "semseg", "mmseg", "paddle", "nnunet"] {
            let convention: Convention = name.parse().unwrap();
            let given = convention.label_values();
            let table = Dataset::numbered_from(classes.into(), given).unwrap().value_table();
            let codes = Codes::new(classes.into(), |value| table[usize::from(value)]);
            let mut tally = Tally::new(classes.into(), None);
            let images: Vec<Vec<(u16, u16)>> = (0..4)
                .map(|_| {
                    let labels = values(&mut rng, classes, convention, false);
                    let predictions = values(&mut rng, classes, convention, true);
                    let mut image = ConfusionMatrix::new(classes.into());
                    image.add_values(&labels, &predictions, &codes).unwrap();
                    tally.take(&mut image);
                    let takes_part = |label: u16| {
                        let class = label.wrapping_sub(given.first) < classes;
                        class || given.others == OtherValues::Wrong && Some(label) != given.ignore
                    };
                    let class = |value: u16| value.wrapping_sub(given.first);
                    let pixels = labels.iter().zip(&predictions).filter(|(l, _)| takes_part(**l));
                    pixels.map(|(&l, &p)| (class(l), class(p))).collect()
                })
                .collect();
            let scores = Scores::by(convention, &tally, Some(0));
            let (by_class, means) = naive(&images, classes, convention);
            let same = |found: f64, expected: f64| {
                assert!(
                    (found - expected).abs() < 1e-12 || found.is_nan() && expected.is_nan(),
                    "{name} {found} {expected}"
                );
            };
            for (class, expected) in scores.classes.iter().zip(by_class) {
                let found = [class.iou, class.dice, class.accuracy, class.precision];
                found.iter().zip(expected).for_each(|(found, expected)| same(found.unwrap_or(f64::NAN), expected));
            }
            let found =
                [scores.pixel_accuracy, scores.mean_iou, scores.mean_dice, scores.frequency_weighted_iou, scores.kappa];
            found.into_iter().zip(means).for_each(|(found, expected)| same(found, expected));
        }
    }
}
