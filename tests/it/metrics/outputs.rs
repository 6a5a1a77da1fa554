//! Tables and files with the scores, of files and of a run.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Golden, close, scored};
use crate::common::{small_data, small_recipe, stderr_of, stdout_of, text};

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
    let wrong = stderr_of(&[&lists[..], &["--confusion", &at("matrix.txt")]].concat(), 2);
    assert!(wrong.contains("must end in .png, .csv or .npy"), "{wrong}");
    let nowhere = stderr_of(&[&lists[..], &["--partial", &at("no/where.json")]].concat(), 1);
    assert!(nowhere.contains("cannot write"), "{nowhere}");
}

#[test]
fn two_outputs_are_not_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    let (one, again) = (at("a.csv"), at("./a.csv"));
    let arguments = ["metrics", "--predictions", &at(""), "--labels", &at(""), "--num-class", "2", "--per-image", &one];
    for flag in ["--confusion", "--partial"] {
        let said = stderr_of(&[&arguments[..], &[flag, &again]].concat(), 2);
        assert!(said.contains(flag) && said.contains("--per-image") && said.contains("the same file"), "{said}");
    }
    assert!(!folder.path().join("a.csv").exists());
}

/// Other systems take no such name.
#[cfg(target_os = "linux")]
#[test]
fn the_name_of_a_run_need_not_be_utf_8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use crate::common::{segtool, small_run};
    let (folder, data) = (tempfile::tempdir().unwrap(), small_run().with_file_name("data"));
    let run = folder.path().join(OsStr::from_bytes(b"r\xff"));
    std::os::unix::fs::symlink(small_run(), &run).unwrap();
    let scored = segtool("metrics").arg("--run", &run).args(&["--device", "flex"]);
    let scored = scored.arg("--image-list", data.join("val_images.txt"));
    let said = scored.arg("--list-true", data.join("val_labels.txt")).run();
    assert!(said.contains("3 images, 0 skipped"), "{said}");
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
