//! The programs in `examples/` do what they say.

#![allow(unreachable_pub)] // of programs, not of a library

#[path = "../../examples/foreign_weights.rs"]
mod foreign_weights;
#[path = "../../examples/predict_folder.rs"]
mod predict_folder;
#[path = "../../examples/score.rs"]
mod score;
#[path = "../../examples/train.rs"]
mod train;

use std::fs;

use segtool::train::Outcome;
use segtool::{Error, Image};

use crate::common::{small_data, small_recipe};

#[test]
fn a_folder_is_trained_on_predicted_and_scored_and_its_weights_are_loaded_without_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let (pairs, _) = small_data(folder.path());
    let (images, labels, run) = (folder.path().join("images"), folder.path().join("labels"), folder.path().join("run"));
    for (i, pair) in pairs.iter().enumerate() {
        for (from, to) in [(pair.image.as_path(), &images), (pair.label.name(), &labels)] {
            fs::create_dir_all(to).unwrap();
            fs::copy(from, to.join(format!("{i}.png"))).unwrap();
        }
    }
    let recipe = small_recipe(folder.path(), 2);
    let outcome = train::train(&recipe, "demo", images.clone(), labels.clone(), &run).unwrap();
    assert!(matches!(outcome, Outcome::Finished { best: Some(_), forest: None }), "{outcome:?}");

    let predictions = folder.path().join("predictions");
    let written = predict_folder::predict_folder(&run, &images, &predictions).unwrap();
    assert_eq!(written.len(), pairs.len());
    assert!(predictions.join("0_color.png").is_file());
    let scores = score::score(&predictions, &labels, "demo").unwrap();
    assert_eq!(scores.pixels, (pairs.len() * 32 * 32) as u64);

    let image = images.join("0.png");
    let prediction = foreign_weights::predict(&[run.join("model.safetensors")], &image).unwrap();
    let (npy, again) = (folder.path().join("again.npy"), &written[0]);
    prediction.write_npy(&npy).unwrap();
    assert_eq!(Image::read(&npy).unwrap(), Image::read(again).unwrap());
}

#[test]
fn a_second_training_into_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let (recipe, run) = (small_recipe(folder.path(), 1), folder.path().join("run"));
    let [images, labels] = ["images", "labels"].map(|name| folder.path().join("data").join(name));
    let once = || train::train(&recipe, "demo", images.clone(), labels.clone(), &run);
    once().unwrap();
    let before = fs::read(run.join("model.safetensors")).unwrap();
    let message = once().unwrap_err().to_string();
    assert!(message.contains("already holds a run"), "{message}");
    assert_eq!(fs::read(run.join("model.safetensors")).unwrap(), before);
    // A forest is refused alike, before its data are read.
    let error = train::train("hypercolumn-core", "demo", "nowhere".into(), "nowhere".into(), &run).unwrap_err();
    assert!(matches!(error, Error::Occupied { .. }), "{error}");
}
