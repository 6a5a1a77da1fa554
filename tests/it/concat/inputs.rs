//! Images, labels and predictions from lists, folders and masks.

use std::fs;

use segtool::data::Dataset;

use super::{Bench, HEIGHT, WIDTH, camvid, photo, stripe_colors, stripes};
use crate::common::{assert_says, stderr_of, stdout_of};

#[test]
fn lists_are_drawn_line_by_line_with_the_old_flags() {
    let bench = Bench::new();
    let lists = ["predictions.txt", "images.txt", "labels.txt"].map(|name| bench.text(name));
    let [predictions, images, labels] = lists.each_ref().map(String::as_str);
    let out = bench.text("out");
    let arguments = ["concat", "--List_predict", predictions, "--Image_list", images, "--label_list", labels];
    let said = stdout_of(&[arguments.as_slice(), &["--dataset", "camvid", "--output_path", &out]].concat());
    assert_says(&said, &["3 figures in"]);
    assert!(["a", "b", "c"].iter().all(|stem| bench.path(&format!("out/{stem}_concat.png")).exists()));
}

#[test]
fn a_folder_of_predictions_leaves_probabilities_out() {
    let bench = Bench::new();
    bench.write_probability(0.5);
    let [predictions, images, labels, out] = ["predictions", "images", "labels", "out"].map(|name| bench.text(name));
    let arguments = ["concat", "--predictions", &predictions, "--images", &images, "--labels", &labels];
    let said = stdout_of(&[arguments.as_slice(), &["--dataset", "camvid", "--output-path", &out]].concat());
    assert_says(&said, &["3 figures in"]);
    assert_eq!(fs::read_dir(bench.path("out")).unwrap().count(), 3);
}

#[test]
fn the_image_beside_the_prediction_is_found() {
    let bench = Bench::new();
    fs::copy(bench.path("images/a.png"), bench.path("predictions/a.png")).unwrap();
    let (prediction, label, out) = (bench.text("predictions/a.npy"), bench.text("labels/a.png"), bench.text("out"));
    let arguments = ["concat", "--image-predict", &prediction, "--labels", &label, "--dataset", "camvid"];
    stdout_of(&[arguments.as_slice(), &["--output-path", &out]].concat());
    assert_eq!(image::open(bench.path("out/a_concat.png")).unwrap().width(), 3 * WIDTH);
}

/// The same images in folders with their masks, of 0 and 255, and predictions of them.
fn masks(bench: &Bench) {
    for stem in ["a", "b"] {
        for folder in ["images", "masks"] {
            fs::create_dir_all(bench.path(&format!("ids/{stem}/{folder}"))).unwrap();
        }
        fs::copy(bench.path(&format!("images/{stem}.png")), bench.path(&format!("ids/{stem}/images/{stem}.png")))
            .unwrap();
        for (name, values) in [("1", [255, 0, 0]), ("2", [0, 255, 0])] {
            stripes(values).save(bench.path(&format!("ids/{stem}/masks/{name}.png"))).unwrap();
        }
    }
    fs::remove_file(bench.path("predictions/c.npy")).unwrap();
    fs::create_dir(bench.path("masked")).unwrap();
    for stem in ["a", "b"] {
        stripes([255, 0, 255]).save(bench.path(&format!("masked/{stem}.png"))).unwrap();
    }
}

#[test]
fn folders_with_masks_are_images_and_labels() {
    let bench = Bench::new();
    masks(&bench);
    let [predictions, ids, images, out] = ["masked", "ids", "images", "out"].map(|name| bench.text(name));
    let drawn = |arguments: &[&str]| {
        stdout_of(&[&["concat", "--dataset", "earthquake", "--output-path", &out], arguments].concat());
        image::open(bench.path("out/b_concat.png")).unwrap().to_rgb8()
    };
    let colors = Dataset::find("earthquake").unwrap().colors();
    let (merged, predicted) = ([colors[1], colors[1], colors[0]], [colors[1], colors[0], colors[1]]);
    // Images and labels, images alone, labels alone beside images from elsewhere.
    let both = drawn(&["--predictions", &predictions, "--mask-folders", &ids]);
    assert_eq!((both.width(), both.get_pixel(33, 44)), (3 * WIDTH, &photo(33, 44)));
    assert_eq!((stripe_colors(&both, 1), stripe_colors(&both, 2)), (merged, predicted));
    let without = drawn(&["--predictions", &predictions, "--images", &ids]);
    assert_eq!((without.width(), stripe_colors(&without, 1)), (2 * WIDTH, predicted));
    let elsewhere = drawn(&["--predictions", &predictions, "--images", &images, "--mask-folders", &ids]);
    assert_eq!(elsewhere, both);
    let labels = drawn(&["--mask-folders", &ids]);
    assert_eq!((labels.width(), stripe_colors(&labels, 1)), (2 * WIDTH, merged));

    // Two predictions of one image do not become one.
    fs::write(bench.path("twice.txt"), "masked/a.png\npredictions/a.npy\n").unwrap();
    let twice = bench.text("twice.txt");
    let arguments = ["concat", "--list-predict", &twice, "--mask-folders", &ids, "--output-path", &out];
    assert_says(&stderr_of(&arguments, 1), &["would both be written as", "a_concat.png"]);

    fs::remove_dir_all(bench.path("ids/b")).unwrap();
    let arguments = ["concat", "--predictions", &predictions, "--mask-folders", &ids, "--output-path", &out];
    assert_says(&stderr_of(&arguments, 1), &["1 of 2 predictions have no image", "b.png", "ids"]);
}

#[test]
fn labels_are_drawn_without_predictions() {
    let bench = Bench::new();
    let [images, labels, out] = ["images", "labels", "out"].map(|name| bench.text(name));
    let common = ["concat", "--dataset", "camvid", "--output-path", &out, "--titles", "--legend"];
    let said = stdout_of(&[&common[..], &["--images", &images, "--labels", &labels]].concat());
    assert_says(&said, &["3 figures in"]);
    let [image_list, label_list] = ["images.txt", "labels.txt"].map(|name| bench.text(name));
    stdout_of(&[&common[..], &["--image-list", &image_list, "--label-list", &label_list]].concat());
    // Beside the labels, an image of the same stem.
    fs::write(bench.path("one.txt"), "labels/x.png\n").unwrap();
    fs::copy(bench.path("labels/a.png"), bench.path("labels/x.png")).unwrap();
    image::open(bench.path("images/a.png")).unwrap().save(bench.path("labels/x.jpg")).unwrap();
    let one = bench.text("one.txt");
    stdout_of(&["concat", "--dataset", "camvid", "--output-path", &out, "--label-list", &one]);
    let drawn = image::open(bench.path("out/x_concat.png")).unwrap().to_rgb8();
    assert_eq!(drawn.dimensions(), (2 * WIDTH, HEIGHT));
    assert_eq!(stripe_colors(&drawn, 1), [camvid(0), camvid(1), [0; 3]]);
    for more in [["--errors"], ["--prob"]] {
        let arguments = [&common[..5], &["--images", &images, "--labels", &labels], &more].concat();
        assert_says(&stderr_of(&arguments, 2), &["--image-predict"]);
    }
}

/// Label images are looked at before anything is drawn, also where images are decoded on all cores.
#[test]
fn tiffs_are_drawn_with_labels_and_a_data_set() {
    let bench = Bench::new();
    for stem in ["a", "b", "c"] {
        let image = bench.path(&format!("images/{stem}.png"));
        image::open(&image).unwrap().save(image.with_extension("tif")).unwrap();
        fs::remove_file(image).unwrap();
    }
    let [predictions, images, labels, out] = ["predictions", "images", "labels", "out"].map(|name| bench.text(name));
    let inputs = ["concat", "--predictions", &predictions, "--images", &images, "--labels", &labels];
    for more in [&[][..], &["--workers", "2"]] {
        let said = stdout_of(&[&inputs[..], &["--dataset", "camvid", "--output-path", &out], more].concat());
        assert!(said.starts_with("3 figures in "), "{said}");
    }
}
