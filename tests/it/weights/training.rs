//! Recipes, trainings and predictions that begin with weights.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use segtool::nn::model::{NetworkConfig, Variant};
use segtool::weights::Weights;
use tempfile::tempdir;

use super::foreign;
use crate::common::references::cases;
use crate::common::tensors::torchvision;
use crate::common::{fixture_path, output_of, read_json, small_data, stderr_of, stdout_of, text};

#[test]
fn a_recipe_says_what_weights_do_not_show() {
    let folder = tempdir().unwrap();
    let pspnet = |variant: &str| {
        let network = format!(
            "architecture = \"encoder-decoder\"\nencoder = {{ variant = \"{variant}\", stem = \"deep\", dilation = \"none\" }}\n\
             decoder = {{ kind = \"pyramid\", deep_supervision = {{ weight = 0.4 }} }}"
        );
        recipe(folder.path(), &network)
    };
    let (name, case) = cases().remove_entry("csail-resnet50dilated-ppm").unwrap();
    let files = foreign(&case, &name, folder.path());
    let output = text(&folder.path().join("o.safetensors"));
    let [a, b] = &files[..] else { panic!("{files:?}") };
    let said = stderr_of(&["import", &text(a), &text(b), "--recipe", &pspnet("resnet50"), "--output", &output], 0);
    assert!(said.contains("encoder.dilation: none"), "{said}");
    let NetworkConfig::EncoderDecoder(found) =
        Weights::open(&[output.clone().into()], None).unwrap().network().unwrap().clone()
    else {
        panic!("{said}");
    };
    assert_eq!(found.decoder.deep_supervision(), None, "the file has no auxiliary head");
    let said = stderr_of(&["import", &text(a), &text(b), "--recipe", &pspnet("resnet101"), "--output", &output], 1);
    assert!(said.contains("encoder.variant is \"resnet50\", but in the recipe it is \"resnet101\""), "{said}");
    let said = stderr_of(&["import", &text(a), &text(b), "--dataset", "seeps", "--output", &output], 0);
    assert!(said.contains("normalisation: each image by its own"), "{said}");
    let said = stderr_of(&["import", &text(a), &text(b), "--dataset", "demo", "--output", &output], 2);
    assert!(said.contains("measures its normalisation in training"), "{said}");
}

/// A recipe of one epoch on made sections, with the network of a built-in one.
fn recipe(folder: &Path, network: &str) -> String {
    let path = folder.join("recipe.toml");
    let text_ = format!(
        "name = \"r\"\ndataset = \"demo\"\n[network]\n{network}\n[training]\nepochs = 4\nbatch_size = 3\nlearning_rate = 0.02\n\
         optimizer = {{ kind = \"adam\" }}\nschedule = {{ kind = \"constant\" }}\nloss = [{{ kind = \"cross-entropy\" }}]\n"
    );
    fs::write(&path, text_).unwrap();
    text(&path)
}

fn train(folder: &Path, recipe: &str, more: &[&str]) -> std::process::Output {
    let data = |name: &str| text(&folder.join("data").join(name));
    let (images, labels, run) = (data("train_images.txt"), data("train_labels.txt"), text(&folder.join("run")));
    let start = ["train", "--recipe", recipe, "--train-list", &images, "--label-list", &labels, "--output-path", &run];
    output_of(&[&start[..], &["--overwrite", "--device", "flex"], more].concat())
}

fn losses(folder: &Path) -> Vec<f64> {
    let log = fs::read_to_string(folder.join("run/log.csv")).unwrap();
    let column = log.lines().next().unwrap().split(',').position(|name| name.contains("loss")).unwrap();
    log.lines().skip(1).map(|line| line.split(',').nth(column).unwrap().parse().unwrap()).collect()
}

#[test]
fn training_begins_with_weights() {
    let folder = tempdir().unwrap();
    small_data(folder.path());
    let encoder = torchvision(Variant::Resnet34, 4, folder.path());
    let c1 = "architecture = \"encoder-decoder\"\nencoder = { variant = \"resnet34\", stem = \"deep\" }\n\
              decoder = { kind = \"c1\", deep_supervision = { weight = 0.4 } }";
    // An encoder of 3 bands on data of 1: stem and width follow the file, the first convolution is summed.
    let output = train(folder.path(), &recipe(folder.path(), c1), &["--weights", &text(&encoder)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for expected in [
        "encoder.stem: deep -> conv7",
        "encoder.width: 64 -> 4",
        "spread over 1 bands instead of 3",
        "newly initialised (the file holds an encoder alone)",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let found = losses(folder.path());
    assert!(found[3] < found[0], "{found:?}");
    // The run's weights go on as they are, whole ...
    let kept = folder.path().join("kept.safetensors");
    fs::copy(folder.path().join("run/model.safetensors"), &kept).unwrap();
    let recipe_ = recipe(folder.path(), c1);
    let output = train(folder.path(), &recipe_, &["--weights", &text(&kept)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("newly initialised"), "{said}");
    assert!(losses(folder.path())[0] < found[0], "{:?} {found:?}", losses(folder.path()));
    // ... and with other classes only when asked.
    let merged = ["--weights", &text(&kept), "--merge-classes"];
    let output = train(folder.path(), &recipe_, &merged);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("add --new-head"), "{said}");
    let output = train(folder.path(), &recipe_, &[&merged[..], &["--new-head"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("newly initialised (new head): decoder.conv_last.weight, decoder.conv_last.bias"), "{said}");
    // Where they began is on record.
    let config = read_json(folder.path().join("run/config.json"));
    assert_eq!(config["weights"][0].as_str().unwrap(), text(&kept));
    // Weights of another encoder, or of another network.
    let other = torchvision(Variant::Resnet18, 4, folder.path());
    let output = train(folder.path(), &recipe_, &["--weights", &text(&other)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the recipe's encoder is resnet34"), "{said}");
    let output = train(folder.path(), &recipe_, &["--weights", &text(&fixture_path("unet_seeps_zip.pth"))]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("use a recipe of that network"), "{said}");
}

#[test]
fn pspnet_with_a_new_head_and_the_attention_unet_learn() {
    let folder = tempdir().unwrap();
    small_data(folder.path());
    let pspnet = "architecture = \"encoder-decoder\"\nencoder = { variant = \"resnet50\", stem = \"deep\", dilation = \"throughout\", width = 4 }\n\
                  decoder = { kind = \"pyramid\", deep_supervision = { weight = 0.4, width = 8 } }\n\
                  resampling = { interpolation = \"bilinear\", align_corners = true }";
    let first = recipe(folder.path(), pspnet);
    assert!(train(folder.path(), &first, &["--num-epoch", "1"]).status.success());
    let weights = folder.path().join("first.safetensors");
    fs::copy(folder.path().join("run/model.safetensors"), &weights).unwrap();
    let output = train(folder.path(), &first, &["--weights", &text(&weights), "--new-head"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let reported = "newly initialised (new head): decoder.conv_last.4.weight, decoder.conv_last.4.bias, decoder.conv_last_deepsup.weight";
    assert!(said.contains(reported), "{said}");
    let found = losses(folder.path());
    assert!(found[3] < found[0], "{found:?}");
    let attention = "architecture = \"unet-attention\"\nwidth = 4";
    let output = train(folder.path(), &recipe(folder.path(), attention), &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = losses(folder.path());
    assert!(found[3] < found[0], "{found:?}");
}

#[test]
fn predictions_from_weights_need_no_run() {
    let folder = tempdir().unwrap();
    let (_, val) = small_data(folder.path());
    let output =
        train(folder.path(), &recipe(folder.path(), "architecture = \"unet-seeps\"\nwidth = 4\ndepth = 2"), &[]);
    assert!(output.status.success());
    let run = folder.path().join("run");
    let predict = |given: &[&str], to: &str| {
        let to = folder.path().join(to);
        let (output, image) = (text(&to), text(&val[0].image));
        let more = ["--output-path", &output, "--prob", "--device", "flex", &image];
        stdout_of(&[&["predict"], given, &more].concat());
        let files: HashMap<_, _> = fs::read_dir(&to)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "npy"))
            .map(|path| (path.file_name().unwrap().to_owned(), fs::read(&path).unwrap()))
            .collect();
        assert_eq!(files.len(), 2);
        files
    };
    let weights = text(&run.join("model.safetensors"));
    let expected = predict(&["--run", &text(&run)], "a");
    assert_eq!(predict(&["--weights", &weights], "b"), expected);
    assert_eq!(predict(&["--weights", &weights, "--dataset", "demo"], "c"), expected);
    let said = stderr_of(&["predict", "--weights", &weights, "--dataset", "camvid", "--output-path", "d", "x.png"], 1);
    assert!(said.contains("the weights have 4 outputs, but data set 'camvid' has 11 classes"), "{said}");
}
