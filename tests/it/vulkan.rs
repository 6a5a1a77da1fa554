//! Vulkan, in builds with the feature: what it computes equals flex, and what cannot work is refused. A machine without an
//! adapter skips what needs one; Mesa's lavapipe, a program in the place of a GPU, is enough.

use std::path::Path;

use ndarray::Array3;
use ndarray_npy::read_npy;
use segtool::nn::device::DeviceChoice;
use serde_json::Value;

use crate::common::{assert_says, relative_error, segtool, small_data, small_recipe, stderr_of, stdout_of, text};

/// Whether there is an adapter; says why the test is skipped if there is none.
#[allow(clippy::print_stdout)]
fn there() -> bool {
    DeviceChoice::Vulkan(0).resolve().map_err(|reason| println!("skipped: {reason}")).is_ok()
}

/// Trains the small recipe on a device, whose losses by epoch it returns.
fn train(folder: &Path, device: &str, run: &str) -> Vec<f64> {
    let list = |name: &str| text(&folder.join(format!("data/{name}.txt")));
    let train = segtool("train").arg("--recipe", small_recipe(folder, 3)).arg("--device", device);
    let train = train.arg("--train-list", list("train_images")).arg("--label-list", list("train_labels"));
    let train = train.arg("--val-list", list("val_images")).arg("--val-label-list", list("val_labels"));
    let said = train.arg("--output-path", folder.join(run)).says();
    assert_says(&said, &[&format!("on {}", DeviceChoice::described(device.parse().unwrap()))]);
    let log = std::fs::read_to_string(folder.join(run).join("log.csv")).unwrap();
    let mut rows = log.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let column = rows.next().unwrap().iter().position(|name| *name == "train_loss").unwrap();
    rows.map(|row| row[column].parse().unwrap()).collect()
}

#[test]
fn output_loss_and_gradients_equal_flex() {
    if !there() {
        return;
    }
    for (recipe, width) in [("unet-seeps", "2"), ("pspnet50-ade20k", "4"), ("attention-unet-seeps", "2")] {
        let small = ["--recipe", recipe, "--width", width, "--batch", "2", "--size", "33", "--classes", "3"];
        let said = stdout_of(&[&["bench", "--check", "--json", "--device", "vulkan"], &small[..]].concat());
        let found: Vec<Value> = serde_json::from_str(&said).unwrap();
        assert!(found.len() > 10, "{recipe}: {said}");
        // Output and loss; the command itself limits the gradients.
        for difference in &found[..2] {
            assert!(difference["error"].as_f64().unwrap() < 1e-4, "{recipe}: {difference}");
        }
    }
}

#[test]
fn a_training_and_its_predictions_equal_those_of_flex() {
    if !there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    small_data(folder.path());
    let losses = ["flex", "vulkan"].map(|device| train(folder.path(), device, device));
    assert!(losses[0].len() == 3 && losses[0][2] < losses[0][0], "{losses:?}");
    for (flex, vulkan) in losses[0].iter().zip(&losses[1]) {
        assert!((flex - vulkan).abs() < 1e-2 * flex, "{losses:?}");
    }
    let probabilities = |device: &str| -> Array3<f32> {
        let maps = at(device).join("maps");
        let predict = segtool("predict").arg("--run", at("flex")).arg("--device", device).flag("--prob-all");
        predict.arg("--output-path", &maps).arg("--input-list", at("data/val_images.txt")).run();
        read_npy(maps.join("009_probs.npy")).unwrap()
    };
    let [flex, vulkan] = ["flex", "vulkan"].map(probabilities);
    assert!(relative_error(vulkan.as_slice().unwrap(), flex.as_slice().unwrap()) < 1e-4);
}

#[test]
fn adapters_are_listed_by_name() {
    if !there() {
        return;
    }
    let listed = stdout_of(&["info", "--devices"]);
    let described = DeviceChoice::Vulkan(0).described();
    let name = described.strip_prefix("vulkan:0 (").unwrap().strip_suffix(')').unwrap();
    assert_says(&listed, &["flex ", "vulkan:0", name, "driver"]);
    let said = stderr_of(&["bench", "--recipe", "unet-seeps", "--device", "vulkan:99"], 1);
    assert_says(&said, &["vulkan:99", "does not exist", &format!("vulkan:0 is {name}")]);
}

#[test]
fn what_does_not_work_on_vulkan_is_refused() {
    if !there() {
        return;
    }
    for (precision, words) in [("bf16", "only libtorch devices"), ("tf32", "only NVIDIA GPUs (libtorch-cuda:N)")] {
        let arguments = ["bench", "--recipe", "unet-seeps", "--device", "vulkan", "--precision", precision];
        assert_says(&stderr_of(&arguments, 2), &["device 'vulkan:0'", words]);
    }
    let train =
        segtool("train").arg("--images", "a").arg("--labels", "b").arg("--device", "vulkan").arg("--processes", "2");
    assert_says(&train.fails_with(2), &["2 processes cannot compute on vulkan:0", "--device cpu"]);
}
