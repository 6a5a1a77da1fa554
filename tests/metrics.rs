//! `segtool metrics`: every convention against its project, and everything around the counts.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::{GrayImage, ImageBuffer, Luma};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use segtool::data::Dataset;
use segtool::metric::{Codes, ConfusionMatrix, Convention, LabelValues, OtherValues, Scores, Tally};
use serde_json::Value;

use common::{fixture_path, small_data, small_recipe, stderr_of, stdout_of, text};

/// A .npy file as numpy writes it.
fn npy(version: u8, dataset: &str, fortran: bool, [height, width]: [usize; 2], data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let mut header = format!("{{'descr': '{dataset}', 'fortran_order': {order}, 'shape': ({height}, {width}), }}");
    let lengths = if version == 1 { 10 } else { 12 };
    while (header.len() + lengths + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = vec![0x93, b'N', b'U', b'M', b'P', b'Y', version, 0];
    match version {
        1 => file.extend((header.len() as u16).to_le_bytes()),
        _ => file.extend((header.len() as u32).to_le_bytes()),
    }
    [file, header.into_bytes(), data.to_vec()].concat()
}

/// An int64 .npy, as the Capstone's script wrote them.
fn write_npy(path: &Path, size: [usize; 2], values: &[i64]) {
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(path, npy(1, "<i8", false, size, &data)).unwrap();
}

fn write_list(folder: &Path, name: &str, entries: &[PathBuf]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, entries.iter().map(|e| format!("{}\n", e.display())).collect::<String>()).unwrap();
    text(&path)
}

/// The maps of `scripts/make_metric_goldens.py`: 0..K-1, and -1 where there is no label.
struct Golden {
    json: Value,
    size: [usize; 2],
    labels: Vec<Vec<i64>>,
    predictions: Vec<Vec<i64>>,
}

impl Golden {
    fn read() -> Self {
        let json: Value = serde_json::from_slice(&std::fs::read(fixture_path("metrics.json")).unwrap()).unwrap();
        let maps = |key: &str| -> Vec<Vec<i64>> {
            let value = |c: u8| if c == b'.' { -1 } else { i64::from(c - b'a') };
            json[key].as_array().unwrap().iter().map(|m| m.as_str().unwrap().bytes().map(value).collect()).collect()
        };
        let size = ["height", "width"].map(|key| json[key].as_u64().unwrap() as usize);
        let (labels, predictions) = (maps("labels"), maps("predictions"));
        Self { json, size, labels, predictions }
    }

    /// Writes lists with label values from `first`, and `ignore` where there is no label.
    fn write(&self, folder: &Path, first: i64, ignore: i64) -> (String, String) {
        let write = |what: &str, maps: &[Vec<i64>]| {
            let paths: Vec<PathBuf> = (0..maps.len()).map(|i| folder.join(format!("{what}{i}.npy"))).collect();
            for (path, map) in paths.iter().zip(maps) {
                let values: Vec<i64> = map.iter().map(|&v| if v < 0 { ignore } else { v + first }).collect();
                write_npy(path, self.size, &values);
            }
            write_list(folder, &format!("{what}.txt"), &paths)
        };
        (write("p", &self.predictions), write("l", &self.labels))
    }
}

fn scored(predictions: &str, labels: &str, more: &[&str]) -> Value {
    let arguments = ["metrics", "--list-predict", predictions, "--list-true", labels, "--json"];
    serde_json::from_str(&stdout_of(&[&arguments, more].concat())).unwrap()
}

fn close(found: &Value, expected: &Value, what: &str) {
    match (found.as_f64(), expected.as_f64()) {
        (Some(found), Some(expected)) => assert!((found - expected).abs() < 2e-7, "{what}: {found} {expected}"),
        _ => assert_eq!(found, expected, "{what}"),
    }
}

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

#[test]
fn threads_order_and_parts_do_not_matter() {
    let golden = Golden::read();
    let folder = tempfile::tempdir().unwrap();
    let (predictions, labels) = golden.write(folder.path(), 0, 255);
    let entries = |what: &str| (0..5).map(|i| folder.path().join(format!("{what}{i}.npy"))).collect::<Vec<_>>();
    let turned = |what: &str, order: &[usize]| {
        let all = entries(what);
        let name = format!("{what}{}.txt", order.iter().map(usize::to_string).collect::<String>());
        write_list(folder.path(), &name, &order.iter().map(|&i| all[i].clone()).collect::<Vec<_>>())
    };
    for convention in ["mmseg", "nnunet"] {
        let common = ["--convention", convention, "--num-class", "5", "--ignore-label", "255"];
        let more = [&common[..], &["--boundary", "2"]].concat();
        let whole = scored(&predictions, &labels, &more);
        assert!(whole["mean_boundary_iou"].as_f64().unwrap() > 0.0 && whole["classes"][0]["boundary_f_score"].is_f64());
        let order = [3, 0, 4, 2, 1];
        let shuffled = (turned("p", &order), turned("l", &order));
        assert_eq!(scored(&shuffled.0, &shuffled.1, &[&more[..], &["--workers", "1"]].concat()), whole);
        let part = |order: &[usize], name: &str| {
            let path = text(&folder.path().join(name));
            scored(&turned("p", order), &turned("l", order), &[&more[..], &["--partial", &path]].concat());
            path
        };
        let (a, b) = (part(&[0, 3], "a.json"), part(&[4, 1, 2], "b.json"));
        let merged: Value = serde_json::from_str(&stdout_of(&["metrics", "--merge", &b, &a, "--json"])).unwrap();
        assert_eq!(merged, whole);
        // Counted for another boundary, or not a partial file at all.
        let c = text(&folder.path().join("c.json"));
        scored(&predictions, &labels, &[&common[..], &["--partial", &c]].concat());
        assert!(stderr_of(&["metrics", "--merge", &a, &c], 1).contains("c.json: was counted with another --boundary"));
    }
}

#[test]
fn parts_that_cannot_be_added_are_refused() {
    let golden = Golden::read();
    let folder = tempfile::tempdir().unwrap();
    let (predictions, labels) = golden.write(folder.path(), 1, 0);
    let at = |name: &str| text(&folder.path().join(name));
    let merged = |files: &[&str]| stderr_of(&[&["metrics", "--merge"], files].concat(), 1);
    let part = at("part.json");
    scored(&predictions, &labels, &["--num-class", "6", "--partial", &part]);
    let dotted = part.replace("/part.json", "/./part.json");
    assert!(merged(&[&part, &dotted]).contains("is named twice, and its images would count twice"));
    assert!(merged(&[&labels]).contains("not a file of partial scores, as metrics writes them with --partial"));

    let whole = std::fs::read_to_string(&part).unwrap();
    let damaged = at("damaged.json");
    let faults = [
        ("\"values\":[1]", "\"values\":[]", "is empty for class"),
        ("\"counts\":[", "\"counts\":[9223372036854775808,", "its counts are damaged"),
        ("\"images\":5", "\"images\":9223372036854775808", "its counts are damaged"),
        ("\"matrix\":{\"classes\":6", "\"matrix\":{\"classes\":5", "its counts are damaged"),
        ("segtool-partial-1", "segtool-partial-9", "its format is segtool-partial-9"),
        ("\"tally\"", "\"tal", "not a file of partial scores, as metrics writes them with --partial"),
    ];
    for (from, to, reason) in faults {
        assert!(whole.contains(from), "{from}");
        std::fs::write(&damaged, whole.replacen(from, to, 1)).unwrap();
        let message = merged(&[&damaged]);
        assert!(message.contains("damaged.json") && message.contains(reason), "{to}: {message}");
    }
    // A count that is too large for the sum, in its own place.
    let (before, counts) = whole.split_once("\"counts\":[").unwrap();
    let (_, rest) = counts.split_once(',').unwrap();
    std::fs::write(&damaged, format!("{before}\"counts\":[9223372036854775808,{rest}")).unwrap();
    assert!(merged(&[&damaged]).contains("its counts are damaged"));
}

#[test]
fn options_that_would_be_ignored_are_refused() {
    let lists = ["--list-predict", "p", "--list-true", "l", "--num-class", "3"];
    let wrong: [&[&str]; 6] = [
        &["--device", "flex"],
        &["--images", "m"],
        &["--image-list", "m"],
        &["--merge-classes"],
        &["--labels", "l"],
        &["--merge", "a.json"],
    ];
    for more in wrong {
        stderr_of(&[&["metrics"], &lists[..], more].concat(), 2);
    }
    stderr_of(&["metrics", "--list-predict", "p", "--list-true", "l", "--dataset", "seeps", "--first-label", "9"], 2);
    for more in [["--device", "flex"], ["--first-label", "1"], ["--workers", "1"], ["--num-class", "3"]] {
        stderr_of(&[&["metrics", "--merge", "a.json"], &more[..]].concat(), 2);
    }
}

#[test]
fn totals_beyond_32_bits_are_right() {
    let golden = Golden::read();
    let folder = tempfile::tempdir().unwrap();
    let (predictions, labels) = golden.write(folder.path(), 1, 0);
    let part = |i: usize| text(&folder.path().join(format!("{i}.json")));
    let once = scored(&predictions, &labels, &["--num-class", "6", "--partial", &part(0)]);
    for i in 0..24 {
        std::fs::copy(part(i), part(100)).unwrap();
        stdout_of(&["metrics", "--merge", &part(i), &part(100), "--partial", &part(i + 1)]);
    }
    let many: Value = serde_json::from_str(&stdout_of(&["metrics", "--merge", &part(24), "--json"])).unwrap();
    let pixels = many["pixels"].as_u64().unwrap();
    assert!(pixels > 1 << 34);
    assert_eq!((pixels, many["images"].as_u64()), (once["pixels"].as_u64().unwrap() << 24, Some(5 << 24)));
    assert_eq!(many["classes"][0]["pixels"].as_u64(), once["classes"][0]["pixels"].as_u64().map(|p| p << 24));
    for key in ["mean_iou", "pixel_accuracy", "kappa", "mean_dice"] {
        close(&many[key], &once[key], key);
    }
}

#[test]
fn every_npy_type_order_and_version_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (size, values) = ([2, 3], [1u16, 2, 3, 3, 2, 1]);
    let columns: [u16; 6] = [1, 3, 2, 2, 3, 1];
    let label = folder.path().join("l.npy");
    write_npy(&label, size, &values.map(i64::from));
    type Bytes<'a> = &'a dyn Fn(u16) -> Vec<u8>;
    let types: [(&str, Bytes<'_>); 11] = [
        ("b1", &|v| vec![u8::from(v > 0)]),
        ("u1", &|v| vec![v as u8]),
        ("i1", &|v| vec![v as u8]),
        ("u2", &|v| v.to_le_bytes().into()),
        ("i2", &|v| (v as i16).to_le_bytes().into()),
        ("u4", &|v| u32::from(v).to_le_bytes().into()),
        ("i4", &|v| i32::from(v).to_le_bytes().into()),
        ("i8", &|v| i64::from(v).to_le_bytes().into()),
        ("f2", &|v| half::f16::from_f32(v.into()).to_le_bytes().into()),
        ("f4", &|v| f32::from(v).to_le_bytes().into()),
        ("f8", &|v| f64::from(v).to_le_bytes().into()),
    ];
    let path = folder.path().join("p.npy");
    let lists =
        (write_list(folder.path(), "p.txt", std::slice::from_ref(&path)), write_list(folder.path(), "l.txt", &[label]));
    for (kind, bytes) in types {
        for (mark, big) in [('<', false), ('>', true), ('|', false)] {
            for (version, fortran) in [(1, false), (2, true), (3, false)] {
                let values = if fortran { columns } else { values };
                let word = |v: &u16| bytes(*v).into_iter().collect::<Vec<_>>();
                let data = values.iter().flat_map(|v| if big { word(v).into_iter().rev().collect() } else { word(v) });
                let file = npy(version, &format!("{mark}{kind}"), fortran, size, &data.collect::<Vec<_>>());
                std::fs::write(&path, file).unwrap();
                let accuracy = scored(&lists.0, &lists.1, &["--num-class", "3"])["pixel_accuracy"].as_f64();
                // Truth values are all 1: a third is right.
                assert_eq!(accuracy, Some(if kind == "b1" { 1.0 / 3.0 } else { 1.0 }), "{mark}{kind} {version}");
            }
        }
    }
}

#[test]
fn bad_pairs_are_named_and_the_rest_is_scored() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let size = [4, 5];
    let good = [1i64; 20];
    let mut wild = good;
    wild[7] = 70_000;
    let mut fraction = [1.0f32; 20];
    fraction[11] = 1.5;
    write_npy(&at("good.npy"), size, &good);
    write_npy(&at("small.npy"), [2, 5], &good[..10]);
    write_npy(&at("wild.npy"), size, &wild);
    let floats: Vec<u8> = fraction.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(at("fraction.npy"), npy(1, "<f4", false, size, &floats)).unwrap();
    std::fs::write(at("cut.npy"), npy(1, "<i8", false, size, &[0; 150])).unwrap();
    std::fs::write(at("long.npy"), npy(1, "<u1", false, size, &[1; 21])).unwrap();
    std::fs::write(at("huge.npy"), npy(1, "<i8", false, [1 << 40, 1 << 40], &[])).unwrap();
    std::fs::write(at("complex.npy"), npy(1, "<c8", false, size, &[0; 160])).unwrap();
    std::fs::write(at("text.npy"), "not an array").unwrap();
    std::fs::write(at("empty.npy"), "").unwrap();
    std::fs::create_dir(at("folder.npy")).unwrap();
    GrayImage::from_pixel(5, 4, Luma([1])).save(at("label.png")).unwrap();
    let names = [
        ("small", "sizes differ"),
        ("wild", "predicted value 70000 at pixel (2, 1) is not in data set"),
        ("fraction", "predicted value 1.5 at pixel (1, 2)"),
        ("cut", "cut short: its header promises 5x4 values of type '<i8', 160 bytes, but it holds 150"),
        ("long", "longer than its header says: 5x4 values"),
        ("huge", "sizes differ"),
        ("complex", "holds type '<c8'"),
        ("text", "not a .npy file"),
        ("empty", "not a .npy file"),
        ("folder", "is a folder"),
        ("missing", "cannot read"),
    ];
    let mut predictions = vec![at("good.npy")];
    predictions.extend(names.map(|(name, _)| at(&format!("{name}.npy"))));
    let labels = vec![at("label.png"); predictions.len()];
    let (p, l) = (write_list(folder.path(), "p.txt", &predictions), write_list(folder.path(), "l.txt", &labels));
    let arguments = ["metrics", "--list-predict", &p, "--list-true", &l, "--num-class", "3"];
    let message = stderr_of(&arguments, 3);
    for (name, reason) in names {
        let line = message.lines().find(|line| line.contains(&format!("{name}.npy")) && line.contains("skipped"));
        assert!(line.is_some_and(|line| line.contains(reason)), "{name}: {message}");
    }
    // The names of the pairs differ, which is said once.
    assert_eq!(message.matches("12 of 12 pairs differ in name").count(), 1, "{message}");
    let strict = stderr_of(&[&arguments[..], &["--strict", "--partial", &text(&at("none.json"))]].concat(), 1);
    assert!(strict.contains("error: ") && !at("none.json").exists(), "{strict}");

    let only_bad = write_list(folder.path(), "bad.txt", &predictions[1..2]);
    let one = write_list(folder.path(), "one.txt", &labels[..1]);
    let message = stderr_of(&["metrics", "--list-predict", &only_bad, "--list-true", &one, "--num-class", "3"], 1);
    assert!(message.contains("none of the 1 pairs could be scored"), "{message}");
    let message = stderr_of(&["metrics", "--list-predict", &p, "--list-true", &one, "--num-class", "3"], 1);
    assert!(message.contains("p.txt has entries without a partner"), "{message}");
}

#[test]
fn values_of_no_class_are_let_through_with_a_note_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_npy(&at("p.npy"), [1, 4], &[1, 2, 9, 1]);
    write_npy(&at("l.npy"), [1, 4], &[1, 2, 2, 8]);
    let (p, l) =
        (write_list(folder.path(), "p.txt", &[at("p.npy")]), write_list(folder.path(), "l.txt", &[at("l.npy")]));
    // As the Capstone's script: the label 8 is dropped, the prediction 9 is wrong.
    let arguments = ["metrics", "--list-predict", &p, "--list-true", &l, "--num-class", "2"];
    assert_eq!(scored(&p, &l, &["--num-class", "2"])["pixel_accuracy"].as_f64(), Some(2.0 / 3.0));
    let note = stderr_of(&arguments, 0);
    assert!(note.contains("2 files hold values outside 2 numbered classes (for example 8 in "), "{note}");
    // As CSAIL's code: under the label 8 every prediction is wrong.
    assert_eq!(scored(&p, &l, &["--num-class", "2", "--convention", "csail"])["pixel_accuracy"].as_f64(), Some(0.5));
    let strict = stderr_of(&[&arguments[..], &["--strict"]].concat(), 1);
    assert!(strict.contains("l.npy: holds 8, which is no class of 2 numbered classes"), "{strict}");
    assert_eq!(scored(&p, &l, &["--num-class", "1"])["pixel_accuracy"].as_f64(), Some(1.0));
    let refused = stderr_of(&[&arguments[..], &["--convention", "MMSeg"]].concat(), 1);
    assert!(refused.contains("predicted value 2 at pixel (1, 0) is not in"), "{refused}");
    let many = stderr_of(&["metrics", "--list-predict", &p, "--list-true", &l, "--num-class", "9000"], 1);
    assert!(many.contains("at most 4096 classes"), "{many}");
    let class = stderr_of(&[&arguments[..], &["--ignore-label", "2"]].concat(), 1);
    assert!(class.contains("--ignore-label 2 is the label value of class 'class 2'"), "{class}");
}

#[test]
fn folders_are_paired_and_labels_may_be_of_any_depth() {
    let folder = tempfile::tempdir().unwrap();
    let (predictions, labels) = (folder.path().join("p"), folder.path().join("l"));
    std::fs::create_dir_all(&predictions).unwrap();
    std::fs::create_dir_all(&labels).unwrap();
    for name in ["a", "b"] {
        write_npy(&predictions.join(format!("{name}.npy")), [2, 2], &[1, 2, 300, 1]);
        write_npy(&predictions.join(format!("{name}_prob.npy")), [2, 2], &[0; 4]);
    }
    let deep = ImageBuffer::from_fn(2, 2, |x, y| Luma([[[1u16, 2], [300, 2]][y as usize][x as usize]]));
    deep.save(labels.join("a.png")).unwrap();
    deep.save(labels.join("b.tif")).unwrap();
    let (p, l) = (text(&predictions), text(&labels));
    let arguments = ["metrics", "--predictions", &p, "--labels", &l, "--num-class", "300", "--json"];
    let scores: Value = serde_json::from_str(&stdout_of(&arguments)).unwrap();
    assert_eq!((&scores["images"], scores["pixel_accuracy"].as_f64()), (&2.into(), Some(0.75)));
    deep.save(labels.join("c.png")).unwrap();
    assert!(stderr_of(&arguments, 1).contains("c.png"));
}

#[test]
fn tables_and_files_hold_the_same_scores() {
    let golden = Golden::read();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    let (predictions, labels) = golden.write(folder.path(), 1, 0);
    let lists = ["metrics", "--list-predict", &predictions, "--list-true", &labels, "--num-class", "6"];
    let scores = scored(&predictions, &labels, &["--num-class", "6"]);
    let rows = scores["classes"].as_array().unwrap();

    let table = stdout_of(&[&lists[..], &["--sort", "iou", "--worst-first"]].concat());
    let lines: Vec<&str> = table.lines().collect();
    let printed: Vec<f64> = lines[1..7].iter().map(|l| l.split_whitespace().nth(2).unwrap().parse().unwrap()).collect();
    assert!(printed.is_sorted(), "{table}");
    let last = format!("Mean IOU is {:.6}", scores["mean_iou"].as_f64().unwrap());
    assert!(
        lines[lines.len() - 2].starts_with("Mean Accuracy is 0.52425") && lines.last() == Some(&last.as_str()),
        "{table}"
    );
    assert!(table.contains("1 of 6 classes neither occur nor were predicted; they count as 0"), "{table}");

    let read = |text: &str| -> Vec<BTreeMap<String, String>> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        reader.deserialize().map(|row| row.unwrap()).collect()
    };
    let listed = read(&stdout_of(&[&lists[..], &["--csv"]].concat()));
    assert_eq!(listed.len(), 6);
    for (row, expected) in listed.iter().zip(rows) {
        for key in ["iou", "dice", "accuracy", "precision", "pixels"] {
            close(&row[key].parse::<f64>().unwrap().into(), &expected[key], key);
        }
    }

    let files = ["--per-image", &at("rows.csv"), "--confusion", &at("matrix.csv")];
    stdout_of(&[&lists[..], &files].concat());
    let images = read(&std::fs::read_to_string(at("rows.csv")).unwrap());
    assert_eq!(images.len(), 5);
    assert!(images[3]["prediction"].ends_with("p3.npy") && images[3]["label"].ends_with("l3.npy"));
    let weighted = |row: &BTreeMap<String, String>| -> f64 {
        row["pixels"].parse::<f64>().unwrap() * row["pixel_accuracy"].parse::<f64>().unwrap()
    };
    let total = images.iter().map(weighted).sum::<f64>() / scores["pixels"].as_f64().unwrap();
    close(&total.into(), &scores["pixel_accuracy"], "accuracy of the images");

    let matrix = read(&std::fs::read_to_string(at("matrix.csv")).unwrap());
    let cell = |t: usize, p: usize| matrix[t][&format!("class {}", p + 1)].parse::<u64>().unwrap();
    for class in 0..6 {
        let row: u64 = (0..6).map(|p| cell(class, p)).sum::<u64>() + matrix[class]["no class"].parse::<u64>().unwrap();
        assert_eq!(Some(row), rows[class]["pixels"].as_u64());
    }
    let at_npy = at("matrix.npy");
    stdout_of(&[&lists[..], &["--confusion", &at_npy]].concat());
    let counts: ndarray::Array2<u64> = ndarray_npy::read_npy(&at_npy).unwrap();
    assert_eq!((counts.dim(), counts[[1, 0]]), ((6, 7), cell(1, 0)));
    let at_png = at("matrix.png");
    stdout_of(&[&lists[..], &["--confusion", &at_png]].concat());
    let image = image::open(&at_png).unwrap().to_rgb8();
    // The last class occurs in no label: its row is grey from edge to edge.
    let grey = |y: u32| (0..image.width()).filter(|x| image.get_pixel(*x, y).0 == [222; 3]).count() as u32;
    assert!((0..image.height()).map(grey).max().unwrap() > image.width() / 2);
    let wrong = stderr_of(&[&lists[..], &["--confusion", &at("matrix.txt")]].concat(), 1);
    assert!(wrong.contains("must end in .png, .csv or .npy"), "{wrong}");
    let nowhere = stderr_of(&[&lists[..], &["--partial", &at("no/where.json")]].concat(), 1);
    assert!(nowhere.contains("cannot write"), "{nowhere}");
}

#[test]
fn a_run_is_scored_without_files_in_between() {
    let folder = tempfile::tempdir().unwrap();
    let (_, validation) = small_data(folder.path());
    let (data, run, out) =
        (folder.path().join("data"), text(&folder.path().join("run")), text(&folder.path().join("out")));
    let recipe = small_recipe(folder.path(), 2);
    let list = |name: &str| text(&data.join(name));
    let (images, masks) = (list("val_images.txt"), list("val_labels.txt"));
    let mut train = vec!["train", "--recipe", &recipe, "--output-path", &run, "--device", "flex"];
    let (train_images, train_masks) = (list("train_images.txt"), list("train_labels.txt"));
    train.extend(["--train-list", &train_images, "--label-list", &train_masks]);
    train.extend(["--val-list", &images, "--val-label-list", &masks]);
    stdout_of(&train);
    stdout_of(&["predict", "--run", &run, "--input-list", &images, "--output-path", &out, "--device", "flex"]);
    let predictions = text(&folder.path().join("out/predictions.txt"));
    let by_files = scored(&predictions, &masks, &["--dataset", &run, "--boundary", "2%"]);
    let of_run = |more: &[&str]| -> Value {
        let arguments = ["metrics", "--run", &run, "--device", "flex", "--json", "--boundary", "2%"];
        serde_json::from_str(&stdout_of(&[&arguments, more].concat())).unwrap()
    };
    assert_eq!(of_run(&[]), by_files);
    assert_eq!(of_run(&["--image-list", &images, "--list-true", &masks]), by_files);
    assert_eq!(by_files["images"], validation.len());
    std::fs::write(&validation[0].image, "damaged").unwrap();
    let message = stderr_of(&["metrics", "--run", &run, "--device", "flex"], 3);
    assert!(message.contains(&text(&validation[0].image)), "{message}");
    stderr_of(&["metrics", "--run", &run, "--device", "flex", "--strict"], 1);
}
