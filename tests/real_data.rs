//! Real data sets, where they are: `SEGTOOL_DATA` names a folder with `seeps.tar.gz`, `camvid.tar.gz` and
//! `parihaka.tar.gz`, each holding images, label images and the lists `train_*.txt` and `val_*.txt`.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use segtool::data::{Descriptor, pair_lists, survey};
use segtool::error::Size;
use segtool::event::Event;

use common::{stdout_of, text};

/// Unpacks a data set; `None`, saying so, where it is not there.
fn unpacked(name: &str, folder: &Path) -> Option<PathBuf> {
    let archive = std::env::var_os("SEGTOOL_DATA").map(|data| Path::new(&data).join(format!("{name}.tar.gz")));
    let Some(archive) = archive.filter(|archive| archive.exists()) else {
        #[allow(clippy::print_stdout)]
        {
            println!("skipped: SEGTOOL_DATA does not name a folder with {name}.tar.gz");
        }
        return None;
    };
    assert!(Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(folder).status().unwrap().success());
    Some(folder.join(name))
}

/// Pairs and sizes of a split, every label value checked; and the labelled pixels of each class.
fn surveyed(name: &str, labels: &str) -> Option<(usize, Vec<Size>, Vec<u64>)> {
    let folder = tempfile::tempdir().unwrap();
    let data = unpacked(name, folder.path())?;
    let pairs = pair_lists(&data.join("val_images.txt"), &data.join(labels)).unwrap();
    let survey = survey(&pairs, &Descriptor::find(name).unwrap(), &|_: Event| {}).unwrap();
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
fn a_few_seep_tiles_are_learned_predicted_and_scored() {
    let folder = tempfile::tempdir().unwrap();
    let Some(data) = unpacked("seeps", folder.path()) else { return };
    // The tiles of the validation list that hold the most seep, so that there is something to learn.
    let pairs = pair_lists(&data.join("val_images.txt"), &data.join("val_masks.txt")).unwrap();
    let merged = Descriptor::find("seeps").unwrap().merged();
    let seep = |pair| survey(std::slice::from_ref(pair), &merged, &|_: Event| {}).unwrap().class_pixels[1];
    let mut ranked: Vec<_> = pairs.iter().map(|pair| (seep(pair), pair)).collect();
    ranked.sort_by_key(|(pixels, _)| std::cmp::Reverse(*pixels));
    let list = |name: &str, path: fn(&segtool::data::Pair) -> &PathBuf| {
        let lines: String = ranked.iter().take(6).map(|(_, p)| format!("{}\n", path(p).display())).collect();
        let list = folder.path().join(name);
        std::fs::write(&list, lines).unwrap();
        text(&list)
    };
    let (images, masks) = (list("images.txt", |p| &p.image), list("masks.txt", |p| &p.label));
    let (run, out) = (text(&folder.path().join("run")), text(&folder.path().join("out")));
    let (recipe, device) = ("unet-seeps-binary", "flex");
    let mut arguments = vec!["train", "--recipe", recipe, "--width", "4", "--num-epoch", "12", "--batch-size", "6"];
    arguments.extend(["--learning-rate", "0.01", "--train-list", &images, "--label-list", &masks]);
    arguments.extend(["--output-path", &run, "--device", device]);
    stdout_of(&arguments);
    stdout_of(&[
        "predict",
        "--run",
        &run,
        "--input-list",
        &images,
        "--output-path",
        &out,
        "--device",
        device,
        "--prob",
    ]);
    let predictions = text(&folder.path().join("out/predictions.txt"));
    let mut arguments = vec!["metrics", "--list-predict", &predictions, "--list-true", &masks, "--dataset", "seeps"];
    arguments.extend(["--merge-classes", "--json"]);
    let scores: serde_json::Value = serde_json::from_str(&stdout_of(&arguments)).unwrap();
    let iou = scores["classes"][1]["iou"].as_f64().unwrap();
    assert!(iou > 0.2, "the network did not learn the tiles it saw: {scores}");
}
