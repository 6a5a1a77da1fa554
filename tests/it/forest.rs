//! The forest against scikit-learn, and on data that is short of something.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use segtool::ConfusionMatrix;
use segtool::base::Result;
use segtool::metric::Evaluation;
use segtool::pixels::forest::{
    ClassWeights, Features, FeaturesPerSplit, Fitted, Forest, OutOfBag, Outcome, Settings, Watch, fit,
};
use serde_json::Value;

const QUIET: &(dyn Fn(usize) + Sync) = &|_| ();

fn scored(counts: Option<OutOfBag>) -> Evaluation {
    let counts = counts.unwrap();
    let mut matrix = ConfusionMatrix::new(counts.classes);
    matrix.add_counts(&counts.confusion);
    Evaluation::new(matrix)
}

fn fitted(features: &Features<'_>, labels: &[u16], classes: usize, settings: &Settings) -> Result<Fitted> {
    let watch = Watch { progress: QUIET, stop: &AtomicBool::new(false) };
    match fit(features, labels, classes, settings, watch)? {
        Outcome::Finished(fitted) => Ok(fitted),
        Outcome::Stopped => unreachable!("nobody stopped it"),
    }
}

fn grown(rows: &[f32], wide: usize, labels: &[u16], classes: usize, settings: &Settings) -> Forest {
    fitted(&Features::rows(rows, wide).unwrap(), labels, classes, settings).unwrap().forest
}

fn refusal(rows: &[f32], wide: usize, labels: &[u16], classes: usize, settings: &Settings) -> String {
    fitted(&Features::rows(rows, wide).unwrap(), labels, classes, settings).unwrap_err().to_string()
}

fn probabilities(forest: &Forest, rows: &[f32]) -> Vec<f32> {
    forest.probabilities(&Features::rows(rows, forest.features()).unwrap()).unwrap()
}

fn predict(forest: &Forest, rows: &[f32]) -> Vec<u16> {
    forest.predict(&Features::rows(rows, forest.features()).unwrap()).unwrap()
}

/// One tree on all samples and features.
fn one_tree() -> Settings {
    let features_per_split = FeaturesPerSplit::All;
    Settings { trees: 1, bootstrap: false, features_per_split, ..Settings::default() }
}

/// Samples of `wide` features, of which the first says the class and the others nothing.
fn blobs(samples: usize, wide: usize, classes: usize) -> (Vec<f32>, Vec<u16>) {
    let noise = |i: usize| ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1 << 24) as f32;
    let labels: Vec<u16> = (0..samples).map(|sample| (sample * 7 % classes) as u16).collect();
    let value = |place: usize| match place % wide {
        0 => f32::from(labels[place / wide]) + 1.4 * noise(place),
        _ => noise(place),
    };
    ((0..samples * wide).map(value).collect(), labels)
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[test]
fn one_tree_is_that_of_scikit_learn() {
    let goldens: Value = serde_json::from_str(include_str!("../fixtures/forest.json")).unwrap();
    let floats = |name: &str| -> Vec<f32> { numbers(&goldens[name]).iter().map(|&number| number as f32).collect() };
    let (features, test) = (floats("features"), floats("test"));
    let labels: Vec<u16> = numbers(&goldens["labels"]).iter().map(|&label| label as u16).collect();
    for case in goldens["cases"].as_array().unwrap() {
        let chosen: Settings = serde_json::from_value(case["settings"].clone()).unwrap();
        let Settings { trees, bootstrap, features_per_split, .. } = one_tree();
        let settings = Settings { trees, bootstrap, features_per_split, ..chosen };
        let forest = grown(&features, 4, &labels, 3, &settings);
        assert_eq!(forest.splits() as u64, case["splits"].as_u64().unwrap());
        let expected = numbers(&case["probabilities"]);
        for (found, expected) in probabilities(&forest, &test).iter().zip(&expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
        }
        let greatest =
            |row: &[f64]| (1..3).fold(0, |best, class| if row[class] > row[best] { class } else { best }) as u16;
        assert_eq!(predict(&forest, &test), expected.chunks(3).map(greatest).collect::<Vec<_>>());
        for (found, expected) in forest.importances().iter().zip(numbers(&case["importances"])) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    // Enough samples that a tree itself is grown by several threads.
    let (rows, labels) = blobs(60_000, 5, 4);
    let settings = Settings { trees: 4, seed: 9, ..Settings::default() };
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let fitted = fitted(&Features::rows(&rows, 5).unwrap(), &labels, 4, &settings).unwrap();
            let mut bytes = Vec::new();
            fitted.forest.write(&mut bytes).unwrap();
            (bytes, probabilities(&fitted.forest, &rows), fitted.out_of_bag)
        })
    };
    let one = run(1);
    assert!(run(2) == one && run(5) == one);
    assert_eq!(Forest::read(&one.0).unwrap().trees(), 4);
}

#[test]
fn rows_and_planes_are_the_same() {
    let (rows, labels) = blobs(333, 35, 3);
    // Planes of 333 samples, 340 apart; what lies between is not looked at.
    let mut planes = vec![f32::NAN; 35 * 340];
    for (place, value) in rows.iter().enumerate() {
        planes[place % 35 * 340 + place / 35] = *value;
    }
    let settings = Settings { trees: 7, ..Settings::default() };
    let (rows, planes) = (Features::rows(&rows, 35).unwrap(), Features::planes(&planes, 35, 333, 340).unwrap());
    let (first, second) =
        (fitted(&rows, &labels, 3, &settings).unwrap(), fitted(&planes, &labels, 3, &settings).unwrap());
    assert_eq!(first, second);
    assert_eq!(first.forest.probabilities(&rows).unwrap(), first.forest.probabilities(&planes).unwrap());
    assert!(Features::rows(&[0.0; 7], 3).is_err() && Features::rows(&[], 0).is_err());
    assert!(Features::planes(&[0.0; 12], 3, 5, 4).is_err() && Features::planes(&[0.0; 11], 3, 4, 4).is_err());
    assert!(Features::planes(&[0.0; 12], usize::MAX, 4, 4).is_err() && Features::planes(&[], 0, 0, 0).is_err());
}

#[test]
fn a_full_tree_knows_its_samples_and_importances_find_the_feature_that_matters() {
    let (rows, labels) = blobs(500, 9, 3);
    assert_eq!(predict(&grown(&rows, 9, &labels, 3, &one_tree()), &rows), labels);
    let fitted = fitted(&Features::rows(&rows, 9).unwrap(), &labels, 3, &Settings::default()).unwrap();
    let importances = fitted.forest.importances();
    assert!((importances.iter().sum::<f64>() - 1.0).abs() < 1e-12 && importances[0] > 0.4, "{importances:?}");
    let score = scored(fitted.out_of_bag);
    assert_eq!(score.pixels, 500);
    assert!(score.accuracy > 0.7, "{score:?}");
}

#[test]
fn labels_that_nothing_can_be_learnt_from_are_refused() {
    let settings = Settings::default;
    assert!(refusal(&[], 1, &[], 2, &settings()).contains("0 samples"));
    assert!(refusal(&[1.0, 2.0], 1, &[1, 1], 2, &settings()).contains("are of class 1"));
    assert!(refusal(&[1.0, 2.0], 1, &[1], 2, &settings()).contains("one for each of the 2 samples"));
    assert!(
        refusal(&[1.0, 2.0], 1, &[0, 2], 2, &settings()).contains("`labels` is 2 for sample 1; it must be below 2")
    );
    assert!(refusal(&[1.0, 2.0], 1, &[0, 1], 5000, &settings()).contains("at most 4096"));
    let weights = |numbers: &[f64]| Settings { class_weights: ClassWeights::Numbers(numbers.to_vec()), ..settings() };
    assert!(refusal(&[1.0, 2.0], 1, &[0, 1], 3, &weights(&[0.0, 0.0, 1.0])).contains("weight 0"));
    assert!(refusal(&[1.0, 2.0], 1, &[0, 1], 2, &weights(&[0.0, 1.0])).contains("are of class 1"));
    assert!(
        refusal(&[1.0, 2.0], 1, &[0, 1], 2, &weights(&[1.0]))
            .contains("is a list of 1 numbers; it must be a list of 2")
    );
    assert!(refusal(&[1.0, f32::NAN], 2, &[0], 2, &settings()).contains("are of class 0"));
    assert!(
        refusal(&[1.0, 2.0, 3.0, f32::NEG_INFINITY], 2, &[0, 1], 2, &settings())
            .contains("is -inf for feature 1 of sample 1")
    );
    assert!(refusal(&[1.0, 2.0], 1, &[0, 1], 2, &Settings { trees: 0, ..settings() }).contains("`forest.trees` is 0"));
}

#[test]
fn classes_without_samples_get_nothing_and_those_with_one_get_something() {
    let (rows, mut labels) = ((0..50).map(|i| i as f32).collect::<Vec<_>>(), vec![0; 50]);
    labels[49] = 4;
    let forest = grown(&rows, 1, &labels, 6, &Settings::default());
    let last = &probabilities(&forest, &[49.0])[..];
    assert!(last[4] > 0.4 && last[1] == 0.0 && last[5] == 0.0 && last.len() == 6, "{last:?}");
    assert_eq!(predict(&forest, &[3.0, 20.0]), [0, 0]);
    assert_eq!(predict(&grown(&rows, 1, &labels, 6, &one_tree()), &[49.0]), [4]);
}

#[test]
fn classes_of_weight_0_are_left_out() {
    let (rows, labels) = blobs(300, 3, 3);
    let class_weights = ClassWeights::Numbers(vec![1.0, 0.0, 2.0]);
    let fitted =
        fitted(&Features::rows(&rows, 3).unwrap(), &labels, 3, &Settings { class_weights, ..Settings::default() });
    let Fitted { forest, out_of_bag } = fitted.unwrap();
    assert!(probabilities(&forest, &rows).chunks(3).all(|row| row[1] == 0.0 && (row[0] + row[2] - 1.0).abs() < 1e-6));
    // They are scored all the same.
    assert_eq!(scored(out_of_bag).pixels, 300);
}

#[test]
fn constant_features_and_duplicates_make_leaves() {
    let forest = grown(&[5.0; 40], 2, &[0, 0, 1, 2].repeat(5), 3, &one_tree());
    assert_eq!((forest.splits(), forest.importances()), (0, &[0.0, 0.0][..]));
    assert_eq!(probabilities(&forest, &[1.0, 2.0]), [0.5, 0.25, 0.25]);
    // One of many features is not constant: it is found, however few are tried.
    let rows: Vec<f32> = (0..40 * 64).map(|i| if i % 64 == 37 { (i / 64 % 2) as f32 } else { 1.0 }).collect();
    let labels: Vec<u16> = (0..40).map(|i| i % 2).collect();
    let settings = Settings { features_per_split: FeaturesPerSplit::Number(1), ..Settings::default() };
    let forest = grown(&rows, 64, &labels, 2, &settings);
    assert_eq!(forest.splits(), 100);
    assert_eq!(predict(&forest, &rows), labels);
    // Equal probabilities: the first class.
    assert_eq!(predict(&grown(&[1.0; 4], 1, &[1, 1, 2, 2], 3, &one_tree()), &[0.0]), [1]);
}

#[test]
fn limits_hold() {
    let (rows, labels) = blobs(2000, 4, 4);
    let splits = |settings: Settings| grown(&rows, 4, &labels, 4, &settings).splits();
    assert_eq!(splits(Settings { max_depth: Some(1), ..one_tree() }), 1);
    assert!(splits(Settings { max_depth: Some(5), ..one_tree() }) <= 31);
    assert!(splits(Settings { min_samples_leaf: 100, ..one_tree() }) < 20);
    assert_eq!(splits(Settings { min_samples_leaf: 1001, ..one_tree() }), 0);
    assert_eq!(splits(Settings { min_samples_split: 2001, ..one_tree() }), 0);
    let many = Settings { features_per_split: FeaturesPerSplit::Number(99), ..one_tree() };
    assert_eq!(grown(&rows, 4, &labels, 4, &many), grown(&rows, 4, &labels, 4, &one_tree()));
    let share = Settings { sample_share: 0.05, ..Settings::default() };
    let (few, all) = (splits(share.clone()), splits(Settings::default()));
    assert!(few * 2 < all, "{few} {all}");
    assert!(splits(Settings { sample_share: 1e-9, ..share }) == 0);
}

#[test]
fn huge_tiny_and_negative_zero_values_are_told_apart() {
    let tiny = f32::from_bits(1);
    let values = [f32::MIN, -1e-40, -tiny, -0.0, 0.0, tiny, 1e-40, f32::MAX];
    let labels = [0, 1, 2, 0, 0, 1, 2, 0];
    for bins in [256, 7] {
        let forest = grown(&values, 1, &labels, 3, &Settings { bins, ..one_tree() });
        assert_eq!(predict(&forest, &values), labels);
    }
    // Two bins are one split; they are laid so that each has about as many samples.
    let rows: Vec<f32> = (0..100).map(|i| i as f32).collect();
    let labels: Vec<u16> = (0..100).map(|i| u16::from(i > 49)).collect();
    assert_eq!(predict(&grown(&rows, 1, &labels, 2, &Settings { bins: 2, ..one_tree() }), &rows), labels);
}

#[test]
fn many_samples_are_learnt() {
    let (rows, labels) = blobs(250_000, 2, 3);
    let settings = Settings { trees: 2, ..Settings::default() };
    let fitted = fitted(&Features::rows(&rows, 2).unwrap(), &labels, 3, &settings).unwrap();
    let score = scored(fitted.out_of_bag);
    // Of two trees, about 3 samples in 5 are unseen by one at least.
    assert!((140_000..160_000).contains(&score.pixels), "{}", score.pixels);
    assert!(score.accuracy > 0.75);
}

#[test]
fn prediction_refuses_other_features_and_what_is_no_number() {
    let (rows, labels) = blobs(100, 3, 2);
    let forest = grown(&rows, 3, &labels, 2, &Settings { trees: 3, ..Settings::default() });
    let message = forest.predict(&Features::rows(&rows, 4).unwrap()).unwrap_err().to_string();
    assert!(message.contains("`features` is 4; it must be 3 a sample"), "{message}");
    for (sample, wrong) in [(0, f32::NAN), (77, f32::INFINITY), (99, f32::NEG_INFINITY)] {
        let mut rows = rows.clone();
        rows[sample * 3 + 2] = wrong;
        let message = forest.probabilities(&Features::rows(&rows, 3).unwrap()).unwrap_err().to_string();
        assert!(message.contains(&format!("is {wrong} for feature 2 of sample {sample}")), "{message}");
    }
    assert!(predict(&forest, &[]).is_empty());
}

#[test]
fn a_forest_of_one_bag_has_no_score_and_so_has_one_that_is_not_asked() {
    let (rows, labels) = blobs(100, 3, 2);
    for settings in [one_tree(), Settings { out_of_bag: false, ..Settings::default() }] {
        assert_eq!(fitted(&Features::rows(&rows, 3).unwrap(), &labels, 2, &settings).unwrap().out_of_bag, None);
    }
}

#[test]
fn trees_are_reported_and_the_flag_stops_them() {
    let (rows, labels) = blobs(200, 3, 2);
    let features = Features::rows(&rows, 3).unwrap();
    let (seen, stop) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let settings = Settings { trees: 50, ..Settings::default() };
    let progress = |trees| seen.lock().unwrap().push(trees);
    fit(&features, &labels, 2, &settings, Watch { progress: &progress, stop: &stop }).unwrap();
    let mut all = seen.into_inner().unwrap();
    all.sort_unstable();
    assert!(all.into_iter().eq(1..=50));
    let progress = |trees| stop.store(trees >= 5, Ordering::Relaxed);
    let outcome = fit(&features, &labels, 2, &settings, Watch { progress: &progress, stop: &stop }).unwrap();
    assert_eq!(outcome, Outcome::Stopped);
}

#[test]
fn other_seeds_give_other_forests_of_the_same_worth() {
    let (rows, labels) = blobs(600, 6, 3);
    let (test, truth) = blobs(3000, 6, 3);
    let runs: Vec<Forest> =
        (0..3).map(|seed| grown(&rows, 6, &labels, 3, &Settings { seed, ..Settings::default() })).collect();
    assert!(runs[0] != runs[1] && runs[1] != runs[2]);
    for forest in &runs {
        let right = predict(forest, &test).iter().zip(&truth).filter(|(found, truth)| found == truth).count();
        assert!(right > 2300, "{right}");
    }
}
