//! Command lines of the scripts that segtool stands for, word for word with the script's name exchanged.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use image::{GrayImage, Luma, RgbImage};
use ndarray::Array2;
use segtool::data::Dataset;
use serde_json::Value;

use crate::common::{read_json, small_data};

/// Runs a command line, split at blanks, in a folder.
fn run(folder: &Path, line: &str) -> Output {
    let words = line.split_whitespace();
    Command::new(env!("CARGO_BIN_EXE_segtool")).args(words).current_dir(folder).output().unwrap()
}

/// Standard output and standard error of a line that must succeed.
fn said(folder: &Path, line: &str) -> String {
    let output = run(folder, line);
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{line}\n{text}");
    text
}

/// Standard error of a line that must fail.
fn refused(folder: &Path, line: &str, code: i32) -> String {
    let output = run(folder, line);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{line}\n{text}");
    text
}

fn config(run: &Path) -> Value {
    read_json(run.join("config.json"))
}

/// Data, and a small run of the Capstone's network with the name of its weights.
fn capstone() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let copy = |from: &str, to: &str| fs::copy(folder.path().join(from), folder.path().join(to)).unwrap();
    copy("data/train_images.txt", "data/data_train.txt");
    copy("data/train_labels.txt", "data/data_label.txt");
    let line = "train --recipe pspnet50-capstone --width 2 --dataset demo --augment none --num-epoch 1 --batch-size 3 \
                --train-list data/val_images.txt --label-list data/val_labels.txt --output-path pspnet50_ade20k";
    said(folder.path(), line);
    folder
}

#[test]
fn the_lines_of_training_work_with_a_recipe_and_a_folder_of_their_own() {
    let folder = capstone();
    let line = "train -train data/data_train.txt -lab data/data_label.txt --weights pspnet50_ade20k";
    for (i, more) in [
        "--num_epoch 2 --learning_rate 0.0001",
        "--num_epoch 1 --learning_rate 0.00001 --optimizer SGD",
        "--num_epoch 2 --learning_rate 0.00001 -optimizer SGD",
    ]
    .iter()
    .enumerate()
    {
        let text = said(folder.path(), &format!("{line} {more}"));
        let name =
            if i == 0 { "runs/pspnet50-capstone".to_owned() } else { format!("runs/pspnet50-capstone-{}", i + 1) };
        assert!(text.contains("no --recipe: using that of pspnet50_ade20k, pspnet50-capstone"), "{text}");
        assert!(text.contains(&format!("no --output-path: the run goes to {name}")), "{text}");
        let config = config(&folder.path().join(name));
        assert_eq!(config["recipe"]["training"]["optimizer"]["kind"], "sgd");
        assert_eq!(config["recipe"]["network"]["encoder"]["width"], 2);
        assert_eq!(config["dataset"]["name"], "demo");
        // The script's words are in the run.
        let (epochs, rate) = [(2, 1e-4), (1, 1e-5), (2, 1e-5)][i];
        assert_eq!(config["recipe"]["training"]["epochs"], epochs);
        assert_eq!(config["recipe"]["training"]["learning_rate"], rate);
    }
}

#[test]
fn without_weights_the_recipe_is_the_scripts_and_ckpt_and_modelname_name_the_folder() {
    let folder = capstone();
    let line = "train -train data/data_train.txt -lab data/data_label.txt --num_epoch 1 --optimizer Adam --batch_size 3 \
                --width 2 --augment none --dataset demo --ckpt weights/ --modelname pspade20k --save_epoch 1 --num_gpus 1";
    let text = said(folder.path(), line);
    assert!(text.contains("--num-gpus is left out"), "{text}");
    assert!(folder.path().join("weights/pspade20k/epochs/epoch_0001.safetensors").exists());
    assert!(text.contains("no --recipe: using pspnet50-capstone"), "{text}");
    let config = config(&folder.path().join("weights/pspade20k"));
    assert_eq!(config["recipe"]["name"], "pspnet50-capstone");
    assert_eq!(config["recipe"]["training"]["optimizer"]["kind"], "adam");
    // Masks in folders are the earthquake system's.
    let text = refused(folder.path(), "train --mask_folders data --output_path q", 1);
    assert!(text.contains("no --recipe: using unet-earthquake"), "{text}");
}

#[test]
fn the_lines_of_prediction_work_with_a_run_or_with_weights() {
    let folder = capstone();
    fs::copy(folder.path().join("data/val_images.txt"), folder.path().join("data/psptest1_list")).unwrap();
    let line = "predict -m pspnet50_ade20k --input_list data/psptest1_list --output_path results/ -f";
    said(folder.path(), line);
    let first = fs::read(folder.path().join("results/009.npy")).unwrap();
    fs::remove_dir_all(folder.path().join("results")).unwrap();
    // Weights in a file of their own, and no folder named.
    let weights = folder.path().join("pspnet50_ade20k/model.safetensors");
    fs::copy(weights, folder.path().join("pspade20k_epoch0_sgd_lrn5")).unwrap();
    fs::rename(folder.path().join("pspnet50_ade20k"), folder.path().join("elsewhere")).unwrap();
    let line = "predict -m pspnet50_ade20k -il data/psptest1_list -f --weights  pspade20k_epoch0_sgd_lrn5";
    said(folder.path(), line);
    assert_eq!(fs::read(folder.path().join("predictions/009.npy")).unwrap(), first);
    let text = refused(folder.path(), "predict -m pspnet50_ade20k --input_list data/psptest1_list -f", 2);
    assert!(text.contains("needs --weights"), "{text}");
}

/// A prediction, its label and its image as ADE20K's folders have them.
fn ade20k(folder: &Path) {
    let places =
        ["results", "data/ADEChallengeData2016/images/validation", "data/ADEChallengeData2016/annotations/validation"];
    places.iter().for_each(|place| fs::create_dir_all(folder.join(place)).unwrap());
    for number in [1, 2] {
        let stem = format!("ADE_val_0000000{number}");
        let map = Array2::from_shape_fn((8, 12), |(_, x)| if x < 6 { 1i64 } else { 4 });
        ndarray_npy::write_npy(folder.join(format!("results/{stem}.npy")), &map).unwrap();
        RgbImage::from_pixel(12, 8, image::Rgb([90, 80, 70]))
            .save(folder.join(places[1]).join(format!("{stem}.png")))
            .unwrap();
        GrayImage::from_fn(12, 8, |x, _| Luma([if x < 4 { 0 } else { 4 }]))
            .save(folder.join(places[2]).join(format!("{stem}.png")))
            .unwrap();
    }
    fs::write(folder.join("LIST_OF_PREDICTION_NPY"), "results/ADE_val_00000001.npy\nresults/ADE_val_00000002.npy\n")
        .unwrap();
}

#[test]
fn the_lines_of_concat_find_image_and_label_where_the_script_did() {
    let folder = tempfile::tempdir().unwrap();
    ade20k(folder.path());
    said(folder.path(), "concat --image_predict results/ADE_val_00000001.npy");
    let drawn = image::open(folder.path().join("ADE_val_00000001_concat.png")).unwrap().to_rgb8();
    assert_eq!(drawn.dimensions(), (36, 8));
    let colors = Dataset::find("ade20k").unwrap().colors();
    let at = |x| drawn.get_pixel(x, 4).0;
    // Image, label (0 is not labelled) and prediction.
    assert_eq!([at(2), at(13), at(20), at(25), at(33)], [[90, 80, 70], [0; 3], colors[3], colors[0], colors[3]]);

    for line in [
        "concat --image_predict LIST_OF_PREDICTION_NPY --output_path listed",
        "concat --list_predict LIST_OF_PREDICTION_NPY --output_path listed",
        "concat --image_predict results/ADE_val_00000001.npy results/ADE_val_00000002.npy --output_path listed",
    ] {
        let text = said(folder.path(), line);
        assert!(text.contains("2 figures in listed"), "{text}");
        assert_eq!(fs::read_dir(folder.path().join("listed")).unwrap().count(), 2);
        fs::remove_dir_all(folder.path().join("listed")).unwrap();
    }
}

#[test]
fn the_lines_of_metrics_have_150_classes_where_they_name_none() {
    let folder = tempfile::tempdir().unwrap();
    ade20k(folder.path());
    fs::copy(folder.path().join("LIST_OF_PREDICTION_NPY"), folder.path().join("pred_list")).unwrap();
    let labels = [1, 2].map(|n| format!("data/ADEChallengeData2016/annotations/validation/ADE_val_0000000{n}.png\n"));
    fs::write(folder.path().join("label_list"), labels.concat()).unwrap();
    let text = said(folder.path(), "metrics --List_predict pred_list --List_true label_list");
    // Of 8 labelled columns, 6 are right; the IoU of the one class that is there is 6/8.
    assert!(text.contains("the 150 classes of ADE20K") && text.contains("Mean Accuracy is 0.750000"), "{text}");
    assert!(text.contains(&format!("Mean IOU is {:.6}", 0.75 / 150.0)), "{text}");
    let text = said(folder.path(), "metrics --List_predict pred_list --List_true label_list --num_class 10");
    assert!(text.contains(&format!("Mean IOU is {:.6}", 0.75 / 10.0)) && !text.contains("classes of ADE20K"), "{text}");
}

#[test]
fn the_lines_of_rgb2gray_work() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("INPUT_FOLDER")).unwrap();
    RgbImage::from_pixel(4, 4, image::Rgb([255, 0, 0])).save(folder.path().join("INPUT_FOLDER/a.png")).unwrap();
    for (method, value) in [("", 77), ("--method Gleam", 85)] {
        said(
            folder.path(),
            &format!("rgb2gray --input_folder INPUT_FOLDER --output_folder OUTPUT_FOLDER {method} --overwrite"),
        );
        let gray = image::open(folder.path().join("OUTPUT_FOLDER/a.png")).unwrap().to_luma8();
        assert!(gray.get_pixel(0, 0).0[0].abs_diff(value) <= 1, "{method}: {:?}", gray.get_pixel(0, 0));
    }
}

#[test]
fn a_scripts_name_as_a_command_gets_a_tip() {
    let folder = tempfile::tempdir().unwrap();
    for (line, ours) in [
        ("pspnet_train.py -train a -lab b", "segtool train"),
        ("models/pspnet_pred.py -m pspnet50_ade20k", "segtool predict"),
        ("src/metrics_acc_iou.py --List_predict p", "segtool metrics"),
        ("concat_image --image_predict p.npy", "segtool concat"),
        ("rgb2gray.py --input_folder a", "segtool rgb2gray"),
    ] {
        let text = refused(folder.path(), line, 2);
        assert!(text.contains(&format!("use `{ours}`")), "{line}: {text}");
    }
    assert!(!refused(folder.path(), "nonsense", 2).contains("use `segtool"));
}

#[test]
fn names_of_options_are_taken_in_any_spelling() {
    let folder = capstone();
    let line = "train --Train_List data/data_train.txt --label_list data/data_label.txt --recipe pspnet50_ade20k \
                --num-epoch 1 --Output-Path r --overwrite";
    for (more, kind) in [
        ("--optimizer SGD", "sgd"),
        ("-optimizer AdamW", "adamw"),
        ("--optimizer adam_w", "adamw"),
        ("--set training.optimizer.kind=adam-w", "adamw"),
        ("--optimizer ADAM --loss Cross_Entropy+DICE --device FLEX --precision Float32 --best-by Mean_IoU", "adam"),
    ] {
        said(folder.path(), &format!("{line} {more}"));
        assert_eq!(config(&folder.path().join("r"))["recipe"]["training"]["optimizer"]["kind"], kind, "{more}");
    }
}

#[test]
fn a_data_sets_name_wins_over_a_folder_that_is_no_run() {
    let folder = capstone();
    said(folder.path(), "predict --run pspnet50_ade20k --input-list data/val_images.txt --output-path p");
    let line = "metrics --list-predict p/predictions.txt --list-true data/val_labels.txt --json --dataset";
    fs::create_dir(folder.path().join("demo")).unwrap();
    let with_name = said(folder.path(), &format!("{line} demo"));
    fs::remove_dir(folder.path().join("demo")).unwrap();
    assert_eq!(said(folder.path(), &format!("{line} demo")), with_name);
    let line =
        "concat --list-predict p/predictions.txt --image-list data/val_images.txt --output-path f --dataset camvid";
    fs::create_dir(folder.path().join("camvid")).unwrap();
    said(folder.path(), line);
    let text = refused(folder.path(), &line.replace("camvid", "p"), 1);
    assert!(text.contains("p: is neither a run folder") && text.contains("camvid"), "{text}");
    // A run of that name is meant.
    fs::rename(folder.path().join("pspnet50_ade20k"), folder.path().join("parihaka")).unwrap();
    let line = "train --recipe unet-demo --width 2 --num-epoch 1 --images data/images --labels data/labels \
                --output-path t --dataset parihaka --overwrite";
    said(folder.path(), line);
    assert_eq!(config(&folder.path().join("t"))["dataset"]["name"], "demo");
    // And a folder without weights does not hide those of its name: the cache is asked for them, not the folder.
    fs::create_dir(folder.path().join("resnet18-imagenet")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_segtool"))
        .args(["import", "resnet18-imagenet", "--output", "w.safetensors"])
        .env("SEGTOOL_CACHE", "/proc/none")
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("/proc/none"), "{text}");
}

#[test]
fn a_run_is_not_trained_over_its_own_weights_whichever_way_its_folder_is_named() {
    let folder = capstone();
    let line = "train -train data/val_images.txt -lab data/val_labels.txt --num_epoch 1 --overwrite --weights";
    said(folder.path(), &format!("{line} pspnet50_ade20k"));
    let model = folder.path().join("runs/pspnet50-capstone/model.safetensors");
    let before = fs::read(&model).unwrap();
    for more in ["", " --output-path runs/pspnet50-capstone"] {
        let text = refused(folder.path(), &format!("{line} runs/pspnet50-capstone{more}"), 1);
        assert!(text.contains("runs/pspnet50-capstone") && text.contains("--output-path"), "{text}");
    }
    assert_eq!(fs::read(&model).unwrap(), before);
}

/// Other programs keep a config.json beside their weights, too.
#[test]
fn a_folder_of_weights_with_a_configuration_is_no_run() {
    let folder = capstone();
    let hub = folder.path().join("hub");
    fs::create_dir(&hub).unwrap();
    fs::copy(folder.path().join("pspnet50_ade20k/model.safetensors"), hub.join("model.safetensors")).unwrap();
    fs::write(hub.join("config.json"), "{\"decoder_channels\": [256, 128]}").unwrap();
    let text =
        run(folder.path(), "train -train data/val_images.txt -lab data/val_labels.txt --num_epoch 1 --weights hub");
    let text = String::from_utf8_lossy(&text.stderr).into_owned();
    assert!(text.contains("no --recipe: using pspnet50-capstone") && !text.contains("damaged"), "{text}");
    let text = refused(folder.path(), "metrics --run hub --images data/images --labels data/labels", 1);
    assert!(text.contains("hub") && !text.contains("damaged"), "{text}");
}
