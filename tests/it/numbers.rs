//! What is no number is never a class, a score or the best; and what scores leave out is said.

use std::fs;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma};
use ndarray::Array2;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{small_data, small_recipe, stderr_of, stdout_of, text, write_list};

struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        small_data(folder.path());
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        text(&self.path(name))
    }

    /// Trains into `run`; what is said.
    fn train(&self, epochs: usize, more: &[&str]) -> String {
        let (recipe, run) = (small_recipe(self.0.path(), epochs), self.text("run"));
        let data = ["train_images", "train_labels", "val_images", "val_labels"];
        let [images, labels, val_images, val_labels] = data.map(|list| self.text(&format!("data/{list}.txt")));
        let lists = ["--train-list", &images, "--label-list", &labels];
        let validation = ["--val-list", &val_images, "--val-label-list", &val_labels];
        let validation = if more.contains(&"--val-list") { &[][..] } else { &validation[..] };
        let first = ["train", "--recipe", &recipe, "--output-path", &run, "--overwrite"];
        stderr_of(&[&first[..], &lists, validation, more].concat(), 0)
    }

    /// Multiplies a tensor of the run's best weights.
    fn scale_weights(&self, name: &str, factor: f32) {
        let path = self.path("run/model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..start]).unwrap();
        let [from, to] = [0, 1].map(|i| start + header[name]["data_offsets"][i].as_u64().unwrap() as usize);
        for word in bytes[from..to].as_chunks_mut::<4>().0 {
            *word = (f32::from_le_bytes(*word) * factor).to_le_bytes();
        }
        fs::write(path, bytes).unwrap();
    }

    /// A float32 image of 32x32 whose numbers are near the largest there are.
    fn huge_image(&self) -> PathBuf {
        let path = self.path("huge.npy");
        let numbers = Array2::from_shape_fn((32, 32), |(y, x)| if (x + y) % 2 == 0 { 3e38f32 } else { -3e38 });
        ndarray_npy::write_npy(&path, &numbers).unwrap();
        path
    }
}

#[test]
fn scores_that_are_not_numbers_are_no_prediction() {
    let bench = Bench::new();
    bench.train(1, &[]);
    let (run, out, good) = (bench.text("run"), bench.text("out"), bench.text("data/images/000.png"));
    let huge = text(&bench.huge_image());
    // Of two images one is too much for these weights.
    bench.scale_weights("conv_last.weight", 1e15);
    for more in [&[][..], &["--flip"], &["--scales", "0.5,1"], &["--tile", "16"], &["--tile", "16", "--prob"]] {
        let _ = fs::remove_dir_all(&out);
        let first = ["predict", "--run", &run, "--prob-all", "--output-path", &out, &good, &huge];
        let message = stderr_of(&[&first, more].concat(), 3);
        assert!(message.contains("huge.npy: the network's scores are not numbers"), "{more:?} {message}");
        assert!(bench.path("out/000.npy").exists() && !bench.path("out/huge.npy").exists(), "{more:?}");
        let list = fs::read_to_string(bench.path("out/predictions.txt")).unwrap();
        assert_eq!(list.lines().filter(|line| line.ends_with(".npy")).collect::<Vec<_>>(), ["000.npy"]);
    }
    // Of these weights every image.
    bench.scale_weights("dconv_down1.0.weight", 1e30);
    let _ = fs::remove_dir_all(&out);
    let message = stderr_of(&["predict", "--run", &run, "--output-path", &out, &good], 1);
    assert!(message.contains("none of the 1 images could be predicted"), "{message}");
    assert!(!bench.path("out/000.npy").exists());
    let message = stderr_of(&["metrics", "--run", &run], 1);
    assert_eq!(message.matches("scores are not numbers").count(), 3, "{message}");
    let message = stderr_of(&["metrics", "--run", &run, "--strict"], 1);
    assert!(message.contains("3 of 3 images could not be predicted"), "{message}");
}

#[test]
fn a_validation_that_is_no_number_is_not_the_best() {
    let bench = Bench::new();
    let images = write_list(bench.0.path(), "huge.txt", &[bench.huge_image()]);
    let labels = write_list(bench.0.path(), "huge_labels.txt", &[bench.path("data/labels/009.png")]);
    let message = bench.train(2, &["--val-list", &images, "--val-label-list", &labels]);
    for epoch in ["epoch 1: the validation loss is ", "epoch 2: the validation loss is "] {
        assert!(message.contains(&format!("note: {epoch}")), "{message}");
    }
    let epochs: Vec<&str> =
        message.lines().filter(|line| line.starts_with("epoch ") && line.contains("val loss")).collect();
    assert!(epochs.len() == 2 && !epochs.iter().any(|line| line.ends_with("best")), "{message}");
    // A network there is all the same.
    let (run, good) = (bench.text("run"), bench.text("data/images/000.png"));
    stdout_of(&["predict", "--run", &run, "--output-path", &bench.text("out"), &good]);
    let report = fs::read_to_string(bench.path("run/report.html")).unwrap();
    assert!(report.contains("last epoch") && !report.contains("best epoch"));
}

#[test]
fn of_equal_scores_the_epoch_with_the_lower_loss_is_kept() {
    let bench = Bench::new();
    // Steps so small that the predictions stay the same, and the loss falls.
    let message = bench.train(4, &["--learning-rate", "1e-6", "--set", "training.schedule.kind=\"constant\""]);
    let mut log = csv::Reader::from_path(bench.path("run/log.csv")).unwrap();
    let header = log.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|head| head == name).unwrap();
    let (loss, iou) = (column("val_loss"), column("mean_iou"));
    let rows: Vec<[f64; 2]> = log
        .records()
        .map(|record| record.unwrap())
        .map(|record| [loss, iou].map(|column| record[column].parse().unwrap()))
        .collect();
    assert!(rows.iter().all(|row| row[1] == rows[0][1]) && rows[3][0] < rows[0][0], "{rows:?}");
    let best = (0..4).rev().min_by(|a, b| rows[*a][0].total_cmp(&rows[*b][0])).unwrap();
    let kept = message.lines().rfind(|line| line.ends_with("  best")).unwrap();
    assert!(kept.starts_with(&format!("epoch {}/4", best + 1)), "{message}");
    // What such a network never predicts is named.
    assert!(message.contains("in the validation set, but in no prediction of the best weights"), "{message}");
    assert!(fs::read_to_string(bench.path("run/report.html")).unwrap().contains("in the labels, but"));
}

/// Label images of values 0 to 3, half of them 0, and predictions that never say 2.
struct Labels {
    bench: TempDir,
    labels: String,
    predictions: String,
}

impl Labels {
    fn new(largest: u8) -> Self {
        let bench = tempfile::tempdir().unwrap();
        let write = |name: &str, value: &dyn Fn(u32, u32) -> u8| {
            let path = bench.path().join(name);
            fs::create_dir(&path).unwrap();
            GrayImage::from_fn(8, 8, |x, y| Luma([value(x, y)])).save(path.join("a.png")).unwrap();
            text(&path)
        };
        let value = |x: u32, y: u32| if y < 4 { 0 } else { (x % u32::from(largest)) as u8 + 1 };
        let labels = write("labels", &value);
        let predictions = write("predictions", &|x, y| if value(x, y) == 2 { 1 } else { value(x, y) });
        Self { labels, predictions, bench }
    }

    fn metrics<'a>(&'a self, predictions: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["metrics", "--predictions", predictions, "--labels", &self.labels][..], more].concat()
    }

    fn said(&self, more: &[&str]) -> String {
        stderr_of(&self.metrics(&self.labels, more), 0)
    }
}

#[test]
fn a_value_that_is_not_counted_is_named_with_the_way_to_count_it() {
    let four = Labels::new(3);
    let note = "note: value 0 (50.0 % of the label pixels) is taken as not labelled; ";
    for convention in ["capstone", "csail"] {
        let said = four.said(&["--num-class", "4", "--convention", convention]);
        assert!(
            said.contains(&format!("{note}to count it, give --first-label 0, or a --dataset in which it is a class\n")),
            "{said}"
        );
    }
    // All of 1 to K occur, so 0 is one class more.
    let said = four.said(&["--num-class", "3"]);
    assert!(said.contains(&format!("{note}to count it, give --first-label 0 --num-class 4")), "{said}");
    let said = four.said(&["--num-class", "3", "--boundary", "1"]);
    assert!(said.contains(&format!("{note}to count it, give --first-label 0 --num-class 4")), "{said}");
    // Whoever says so need not be told, and what counts is not dropped.
    for more in [
        &["--num-class", "3", "--ignore-label", "0"][..],
        &["--num-class", "4", "--first-label", "0"],
        &["--num-class", "4", "--convention", "mmseg"],
        &["--dataset", "demo"],
    ] {
        assert_eq!(four.said(more), "", "{more:?}");
    }
    let counted = stdout_of(&four.metrics(&four.labels, &["--num-class", "4", "--first-label", "0", "--json"]));
    assert_eq!(serde_json::from_str::<Value>(&counted).unwrap()["pixels"], 64);
    // Values above K have the note that they always had, with the way out.
    let said = four.said(&["--num-class", "2"]);
    assert!(
        said.contains("1 file holds values outside 2 numbered classes (for example 3 in ")
            && said.contains("raise --num-class, or change --first-label or --dataset"),
        "{said}"
    );
    // 255 of the conventions that have it.
    let path = Path::new(&four.labels).join("a.png");
    GrayImage::from_fn(8, 8, |x, y| Luma([if y < 2 { 255 } else { (x % 4) as u8 }])).save(path).unwrap();
    let said = four.said(&["--num-class", "4", "--convention", "mmseg"]);
    assert!(said.contains("note: value 255 (25.0 % of the label pixels) is taken as not labelled; "), "{said}");
}

#[test]
fn classes_that_are_never_predicted_are_named() {
    let four = Labels::new(3);
    let arguments = four.metrics(&four.predictions, &["--dataset", "demo"]);
    assert!(stdout_of(&arguments).contains("\nclass 'salt' occurs in the labels, but is never predicted\n"));
    let json: Value = serde_json::from_str(&stdout_of(&[&arguments[..], &["--json"]].concat())).unwrap();
    assert_eq!(json["never_predicted"], serde_json::json!(["salt"]));
    assert_eq!(json["classes"][2]["accuracy"], 0.0);
    let right = four.metrics(&four.labels, &["--dataset", "demo"]);
    assert!(!stdout_of(&right).contains("never predicted"));
    let json: Value = serde_json::from_str(&stdout_of(&[&right[..], &["--json"]].concat())).unwrap();
    assert_eq!(json["never_predicted"], serde_json::json!([]));
}

#[test]
fn predictions_with_numbers_that_are_no_classes_are_left_out() {
    let four = Labels::new(3);
    let folder = four.bench.path().join("arrays");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("a.npy");
    for (number, shown) in [(f32::NAN, "nan"), (f32::INFINITY, "inf"), (-0.5, "-0.5"), (0.5, "0.5"), (-2.0, "-2")] {
        let map = Array2::from_shape_fn((8, 8), |(y, x)| if (x, y) == (3, 5) { number } else { 1.0 });
        ndarray_npy::write_npy(&path, &map).unwrap();
        let folder = text(&folder);
        for more in [&["--num-class", "3"][..], &["--dataset", "demo"]] {
            let said = stderr_of(&four.metrics(&folder, more), 1);
            assert!(said.contains(&format!("predicted value {shown} at pixel (3, 5)")), "{shown}: {said}");
        }
    }
    // Probabilities of all classes are no label map.
    ndarray_npy::write_npy(&path, &ndarray::Array3::<f32>::zeros((4, 8, 8))).unwrap();
    let said = stderr_of(&four.metrics(&text(&folder), &["--num-class", "3"]), 1);
    assert!(said.contains("has shape [4, 8, 8]"), "{said}");
}

#[test]
fn probabilities_that_are_none_are_not_drawn() {
    let four = Labels::new(3);
    let (image, out) = (four.bench.path().join("a.png"), text(&four.bench.path().join("out")));
    GrayImage::from_pixel(8, 8, Luma([90])).save(&image).unwrap();
    let prediction = Path::new(&four.labels).join("a.png");
    for (number, shown) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (-0.25, "-0.25"), (1.5, "1.5")] {
        let map = Array2::from_shape_fn((8, 8), |(y, x)| if (x, y) == (3, 5) { number } else { 0.5 });
        ndarray_npy::write_npy(prediction.with_file_name("a_prob.npy"), &map).unwrap();
        let arguments = ["concat", "--image-predict", &text(&prediction), "--images", &text(&image)];
        let said = stderr_of(&[&arguments[..], &["--dataset", "demo", "--prob", "--output-path", &out]].concat(), 1);
        assert!(said.contains(&format!("probability {shown} at pixel (3, 5) is not between 0 and 1")), "{said}");
    }
}
