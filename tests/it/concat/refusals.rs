//! What cannot be drawn, and command lines that do not fit.

use std::fs;

use image::RgbImage;

use super::{Bench, HEIGHT, VOID, WIDTH, photo, stripes};
use crate::common::{assert_says, stderr_of};

#[test]
fn errors_need_labels() {
    let bench = Bench::new();
    assert_says(&bench.refused(&["--errors"], 2), &["--labels"]);
}

#[test]
fn probabilities_that_are_missing_or_of_another_type_are_named() {
    let bench = Bench::new();
    assert_says(&bench.refused(&["--prob"], 1), &["a_prob.npy", "predicting with --prob"]);
    fs::copy(bench.path("predictions/a.npy"), bench.path("predictions/a_prob.npy")).unwrap();
    assert_says(&bench.refused(&["--prob"], 1), &["a_prob.npy: has type '<i8', but probabilities are float32"]);
}

#[test]
fn a_prediction_without_a_partner_is_named_before_any_work() {
    let bench = Bench::new();
    fs::remove_file(bench.path("labels/b.png")).unwrap();
    let [predictions, images, labels, out] = ["predictions", "images", "labels", "out"].map(|name| bench.text(name));
    let arguments = ["concat", "--predictions", &predictions, "--images", &images, "--labels", &labels];
    let message = stderr_of(&[arguments.as_slice(), &["--output-path", &out]].concat(), 1);
    assert_says(&message, &["1 of 3 predictions have no label image", "b.npy", "--label-list"]);
    assert!(!bench.path("out").exists());
}

#[test]
fn lists_of_unequal_length_are_refused() {
    let bench = Bench::new();
    fs::write(bench.path("labels.txt"), "labels/a.png\n").unwrap();
    assert_says(&bench.draw_lists(1), &["they name 1 and ", "predictions.txt has entries without a partner"]);
    fs::write(bench.path("labels.txt"), "labels/a.png\n".repeat(5)).unwrap();
    assert_says(&bench.draw_lists(1), &["they name 5 and ", "labels.txt has entries without a partner"]);
    assert!(!bench.path("out").exists());
}

#[test]
fn what_cannot_be_drawn_is_skipped_and_named() {
    let bench = Bench::new();
    image::open(bench.path("images/a.png")).unwrap().crop(0, 0, 50, 40).save(bench.path("images/a.png")).unwrap();
    let whole = fs::read(bench.path("predictions/b.npy")).unwrap();
    fs::write(bench.path("predictions/b.npy"), &whole[..whole.len() - 9]).unwrap();
    let message = bench.draw_lists(3);
    assert_says(&message, &["a.png is 50x40", "a.npy is 120x90", "b.npy: the .npy file is cut short"]);
    assert_says(&message, &["2 of 3 predictions were skipped"]);
    assert!(bench.path("out/c_concat.png").exists() && !bench.path("out/b_concat.png").exists());
}

#[test]
fn nothing_to_draw_is_a_failure() {
    let bench = Bench::new();
    for stem in ["a", "b", "c"] {
        RgbImage::from_fn(WIDTH, HEIGHT, photo).save(bench.path(&format!("labels/{stem}.jpg"))).unwrap();
    }
    fs::write(bench.path("labels.txt"), "labels/a.jpg\nlabels/b.jpg\nlabels/gone.png\n").unwrap();
    let message = bench.draw_lists(1);
    assert_says(&message, &["a JPEG cannot hold labels", "gone.png: No such file", "none of the 3 predictions"]);
}

#[test]
fn values_outside_the_data_set_are_named() {
    let bench = Bench::new();
    bench.predict("a", [0, 40, 3]);
    assert_says(&bench.refused(&[], 1), &["a.npy: predicted value 40 at pixel (40, 0)", "'camvid'"]);
    bench.predict("a", [0, 1, 3]);
    stripes([0, 77, VOID]).save(bench.path("labels/a.png")).unwrap();
    assert_says(&bench.refused(&["--labels", "labels"], 1), &["a.png: label 77 at pixel (40, 0)"]);
}

#[test]
fn two_predictions_of_one_stem_are_refused() {
    let bench = Bench::new();
    fs::write(bench.path("predictions.txt"), "predictions/a.npy\n".repeat(3)).unwrap();
    assert_says(&bench.draw_lists(1), &["would both be written as", "a_concat.png"]);
    assert!(!bench.path("out").exists());
}

#[test]
fn wrong_command_lines_end_with_2() {
    let bench = Bench::new();
    for more in [
        ["--overlay", "1.5"],
        ["--scale", "0"],
        ["--max-width", "0"],
        ["--num-class", "3"],
        ["--predictions", "x"],
        ["--label-list", "--errors=1"],
    ] {
        bench.refused(&more, 2);
    }
    assert_says(&bench.refused(&["--format", "gif"], 2), &["choose png or jpeg"]);
    stderr_of(&["concat", "--output-path", "x"], 2);
}
