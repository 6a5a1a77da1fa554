//! The commands as a user types them, on small data.

use std::fs;
use std::path::Path;

use ndarray::Array3;
use serde_json::Value;

use crate::common::{read_json, segtool, small_data, small_recipe, stderr_of, stdout_of, text};

#[test]
fn folders_a_validation_share_and_merged_classes_end_in_a_run_that_describes_itself() {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let recipe = small_recipe(folder.path(), 2);
    let data = folder.path().join("data");
    let run = folder.path().join("run");
    segtool("train")
        .arg("--recipe", recipe)
        .arg("--images", data.join("images"))
        .arg("--labels", data.join("labels"))
        .args(&["--val-fraction", "0.25", "--merge-classes", "--optimizer", "sgd", "--learning-rate", "0.05"])
        .args(&["--batch-size", "3", "--width", "2", "--seed", "4", "--device", "flex", "--precision", "float32"])
        .arg("--output-path", &run)
        .run();
    let config = read_json(run.join("config.json"));
    assert_eq!(config["seed"], 4);
    assert_eq!(config["device"], "flex");
    assert_eq!(config["recipe"]["network"]["width"], 2);
    assert_eq!(config["recipe"]["network"]["outputs"], 2);
    assert_eq!(config["recipe"]["training"]["optimizer"]["kind"], "sgd");
    assert_eq!(config["recipe"]["training"]["batch_size"], 3);
    assert_eq!(config["recipe"]["training"]["precision"], "float32");
    assert_eq!(config["dataset"]["classes"][1]["values"], serde_json::json!([1, 2, 3]));
    // The measured normalisation is stored.
    assert_eq!(config["dataset"]["normalisation"]["kind"], "fixed");
    let samples = read_json(run.join("samples.json"));
    assert_eq!((samples["train"].as_array().unwrap().len(), samples["validation"].as_array().unwrap().len()), (9, 3));
    let log = fs::read_to_string(run.join("log.csv")).unwrap();
    assert!(
        log.starts_with(
            "epoch,phase,learning_rate,train_loss,val_loss,pixel_accuracy,mean_iou,iou shale,iou foreground,"
        ),
        "{log}"
    );
    assert_eq!(log.lines().count(), 3);
    let curves = image::open(run.join("curves.png")).unwrap();
    assert!(curves.width() > 400 && curves.to_luma8().pixels().any(|p| p[0] < 128));

    // The run folder is enough to predict, and stands for its data set when scoring.
    let out = folder.path().join("out");
    segtool("predict")
        .arg("--run", &run)
        .arg("--input-list", data.join("val_images.txt"))
        .arg("--output-path", &out)
        .arg("--device", "flex")
        .run();
    let scores = segtool("metrics")
        .arg("--list-predict", out.join("predictions.txt"))
        .arg("--list-true", data.join("val_labels.txt"))
        .arg("--dataset", &run)
        .flag("--json")
        .run();
    let scores: Value = serde_json::from_str(&scores).unwrap();
    assert_eq!(scores["classes"].as_array().unwrap().len(), 2);
    assert_eq!((&scores["images"], &scores["pixels"]), (&3.into(), &(3 * 32 * 32).into()));
}

#[test]
fn prediction_does_not_depend_on_the_batch_and_probabilities_match() {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let recipe = small_recipe(folder.path(), 1);
    let data = folder.path().join("data");
    let run = text(&folder.path().join("run"));
    segtool("train")
        .arg("--recipe", recipe)
        .arg("--train-list", data.join("train_images.txt"))
        .arg("--label-list", data.join("train_labels.txt"))
        .arg("--output-path", &run)
        .arg("--device", "flex")
        .run();
    // Another size in between, odd and no multiple of anything.
    image::GrayImage::from_fn(21, 13, |x, y| image::Luma([(x * 9 + y * 5) as u8]))
        .save(data.join("images/odd.png"))
        .unwrap();
    fs::write(data.join("mixed.txt"), "images/000.png\nimages/001.png\nimages/odd.png\nimages/002.png\n").unwrap();
    let mixed = text(&data.join("mixed.txt"));
    let mut results = Vec::new();
    for batch in ["1", "3"] {
        let out = folder.path().join(format!("out{batch}"));
        let out_text = text(&out);
        let arguments = ["predict", "--run", &run, "--input-list", &mixed, "--output-path", &out_text, "--prob"];
        stdout_of(&[arguments.as_slice(), &["--batch-size", batch, "--device", "flex"]].concat());
        assert_eq!(fs::read_to_string(out.join("predictions.txt")).unwrap(), "000.npy\n001.npy\nodd.npy\n002.npy\n");
        let names = ["000.npy", "odd.npy", "002.npy"];
        results.push(names.map(|name| ndarray_npy::read_npy::<_, ndarray::Array2<u8>>(out.join(name)).unwrap()));
        let probability: ndarray::Array2<f32> = ndarray_npy::read_npy(out.join("odd_prob.npy")).unwrap();
        assert_eq!(probability.dim(), (13, 21));
        // The most probable of four classes has at least a quarter.
        assert!(probability.iter().all(|p| (0.25..=1.0).contains(p)));
    }
    assert_eq!(results[0][1].dim(), (13, 21));
    assert_eq!(results[0], results[1]);
    looks_average(folder.path(), &run, &mixed);
}

/// Mirrored looks count half each, sizes all the same, windows and memory as little as the batch.
fn looks_average(folder: &Path, run: &str, list: &str) {
    let predicted = |name: &str, looks: &[&str]| -> Array3<f32> {
        let out = folder.join(name);
        let base = ["predict", "--run", run, "--input-list", list, "--output-path", &text(&out), "--prob-all"];
        stdout_of(&[&base[..], &["--device", "flex"], looks].concat());
        ndarray_npy::read_npy(out.join("odd_probs.npy")).unwrap()
    };
    let difference =
        |a: &Array3<f32>, b: &Array3<f32>| (a - b).iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let half = predicted("half", &["--scales", "0.5", "--flip"]);
    let own = predicted("own", &["--scales", "1", "--flip"]);
    assert!(difference(&half, &own) > 1e-3);
    let mean = (half + own) / 2.0;
    assert!(difference(&mean, &predicted("both", &["--scales", "0.5,1", "--flip"])) < 1e-5);
    let windows = ["--tile", "16", "--stride", "9", "--flip"];
    let one = predicted("windows", &[&windows[..], &["--batch-size", "1"]].concat());
    assert_eq!(one.dim().1, 13);
    // Just enough for one image at a time; the libraries of libtorch count, too.
    let little = if cfg!(feature = "libtorch") { "450MiB" } else { "40MiB" };
    for more in [&["--batch-size", "5"][..], &["--memory", little, "--workers", "5"]] {
        assert!(difference(&one, &predicted("more", &[&windows[..], more].concat())) < 1e-5, "{more:?}");
    }
}

#[test]
fn metrics_without_a_data_set_follow_the_original_script() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // Labels 1..3; 0 and 9 are not counted. Class 3 does not occur and is not predicted: 0 in the mean over K.
    image::GrayImage::from_vec(3, 2, vec![1, 1, 2, 2, 0, 9]).unwrap().save(path("label.png")).unwrap();
    let predicted = ndarray::array![[1i64, 2, 2], [2, 1, 1]];
    ndarray_npy::write_npy(path("pred.npy"), &predicted).unwrap();
    fs::write(path("p.txt"), "pred.npy\n").unwrap();
    fs::write(path("l.txt"), "label.png\n").unwrap();
    let (p, l) = (text(&path("p.txt")), text(&path("l.txt")));
    let said = stdout_of(&["metrics", "--List_predict", &p, "--List_true", &l, "--num_class", "3"]);
    // Class 1: 1 of 2 (label 2, predicted 1); class 2: 2 of 3; class 3: 0.
    let mean_iou = (1.0 / 2.0 + 2.0 / 3.0) / 3.0;
    assert!(said.contains("Mean Accuracy is 0.750000"), "{said}");
    assert!(said.contains(&format!("Mean IOU is {mean_iou:.6}")), "{said}");
}

/// What is said by a training of an epoch on small data with further arguments.
fn trained(folder: &Path, more: &[&str]) -> String {
    let (recipe, data) = (small_recipe(folder, 1), folder.join("data"));
    let (images, labels, run) = (text(&data.join("images")), text(&data.join("labels")), text(&folder.join("run")));
    let base = ["train", "--recipe", &recipe, "--images", &images, "--labels", &labels, "--output-path", &run];
    stderr_of(&[&base[..], &["--overwrite", "--device", "flex"], more].concat(), 0)
}

#[test]
fn what_concerns_many_classes_is_one_note() {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let said = trained(folder.path(), &["--dataset", "ade20k"]);
    let notes: Vec<&str> = said.lines().filter(|line| line.contains("occur in any label image")).collect();
    // Of the label values 0 to 3, 0 means not labelled.
    assert_eq!(notes.len(), 1, "{said}");
    assert!(
        notes[0].starts_with("note: classes 'floor', ") && notes[0].contains("and 142 more do not occur"),
        "{said}"
    );
}

#[test]
fn a_warm_up_that_is_longer_than_the_training_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let said = trained(folder.path(), &["--set", "training.schedule.warmup={steps=500}"]);
    // 12 images in batches of 2.
    assert!(said.contains("the warm-up takes 500 steps, but the training has only 6"), "{said}");
    let said = trained(folder.path(), &["--set", "training.schedule.warmup={steps=6}"]);
    assert!(!said.contains("warm-up"), "{said}");
}

#[test]
fn an_epochs_line_has_its_rate_and_memory_is_told_in_a_unit_that_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let said = trained(folder.path(), &["--set", "training.schedule.kind=constant"]);
    assert!(said.contains("epoch 1/1  learning rate 1.00e-2  loss "), "{said}");
    let memory: Vec<&str> = said.lines().filter(|line| line.contains("memory")).collect();
    assert!(memory.len() == 2 && memory.iter().all(|line| line.contains(" MiB")), "{said}");
    assert!(!said.contains("0.0 GiB") && !said.contains("0.0 MiB"), "{said}");
}
