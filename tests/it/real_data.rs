//! Real data sets are read, and one is learned from, where they are.

use segtool::base::Size;
use segtool::data::{Dataset, pair_lists, survey};

use crate::common::real::unpacked;
use crate::common::{segtool, stdout_of, text};

/// Pairs and sizes of a split, every label value checked; and the labelled pixels of each class.
fn surveyed(name: &str, labels: &str) -> Option<(usize, Vec<Size>, Vec<u64>)> {
    let folder = tempfile::tempdir().unwrap();
    let data = unpacked(name, folder.path())?;
    let pairs = pair_lists(&data.join("val_images.txt"), &data.join(labels), &|_| {}).unwrap();
    let survey = survey(&pairs, &[], &Dataset::find(name).unwrap(), &|_| ()).unwrap();
    Some((pairs.len(), survey.sizes, survey.class_pixels))
}

#[test]
fn seeps_are_read() {
    let Some((count, sizes, pixels)) = surveyed("seeps", "val_masks.txt") else { return };
    assert_eq!((count, sizes), (73, vec![Size { width: 256, height: 256 }]));
    assert_eq!(pixels.iter().sum::<u64>(), 73 * 256 * 256);
    assert!(pixels[0] > 95 * pixels.iter().sum::<u64>() / 100 && pixels[1] > 0, "{pixels:?}");
}

#[test]
fn camvid_is_read() {
    let Some((count, sizes, pixels)) = surveyed("camvid", "val_labels.txt") else { return };
    assert_eq!((count, sizes), (34, vec![Size { width: 480, height: 360 }]));
    assert!(pixels.iter().all(|&n| n > 0) && pixels.iter().sum::<u64>() < 34 * 480 * 360, "{pixels:?}");
}

#[test]
fn parihaka_is_read() {
    let Some((count, sizes, pixels)) = surveyed("parihaka", "val_masks.txt") else { return };
    assert_eq!((count, sizes), (13, vec![Size { width: 888, height: 727 }]));
    assert_eq!(pixels.len(), 4);
}

#[test]
fn seep_tiles_are_trained_on_predicted_and_scored() {
    let folder = tempfile::tempdir().unwrap();
    let Some(data) = unpacked("seeps", folder.path()) else { return };
    let list = |name: &str| {
        let lines = std::fs::read_to_string(data.join(name)).unwrap();
        let shortened = data.join(format!("some_{name}"));
        std::fs::write(&shortened, lines.lines().take(12).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        text(&shortened)
    };
    let (images, masks) = (list("val_images.txt"), list("val_masks.txt"));
    let (run, out) = (folder.path().join("run"), text(&folder.path().join("out")));
    let run_text = text(&run);
    segtool("train")
        .args(&["--recipe", "unet-seeps-binary", "--width", "4", "--num-epoch", "4"])
        .args(&["--batch-size", "6", "--learning-rate", "0.003", "--device", "flex"])
        .arg("--train-list", &images)
        .arg("--label-list", &masks)
        .arg("--output-path", &run)
        .run();
    let log = std::fs::read_to_string(run.join("log.csv")).unwrap();
    let column = log.lines().next().unwrap().split(',').position(|name| name == "train_loss").unwrap();
    let losses: Vec<f64> =
        log.lines().skip(1).map(|line| line.split(',').nth(column).unwrap().parse().unwrap()).collect();
    assert!(losses.len() == 4 && losses[3] < losses[0] - 0.1, "{losses:?}");

    let predict = ["predict", "--run", &run_text, "--input-list", &images, "--output-path", &out, "--device", "flex"];
    stdout_of(&[predict.as_slice(), &["--prob"]].concat());
    let predictions = text(&folder.path().join("out/predictions.txt"));
    let metrics = ["metrics", "--list-predict", &predictions, "--list-true", &masks, "--dataset", "seeps"];
    let scores = stdout_of(&[metrics.as_slice(), &["--merge-classes", "--json"]].concat());
    let scores: serde_json::Value = serde_json::from_str(&scores).unwrap();
    assert_eq!((&scores["images"], &scores["pixels"]), (&12.into(), &(12 * 256 * 256).into()));
    assert!(scores["classes"][1]["name"] == "seep", "{scores}");
}
