//! Data sets in the folders in which they are published.

use std::fs;
use std::path::Path;

use image::{GrayImage, Luma, RgbImage};
use segtool::data::{
    Dataset, Pair, find_layout, pair_folders, pair_mask_folders, pair_predictions, pair_suffixed, read_pairs,
};
use serde_json::{Value, json};

use crate::common::{assert_says, segtool, small_recipe, stdout_of, text};

/// Makes small images: colours of `.jpg`, otherwise grey with these values.
fn write(root: &Path, names: &[&str], values: [u8; 2]) {
    for name in names {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if name.ends_with(".jpg") || name.contains("leftImg8bit") {
            RgbImage::from_fn(16, 12, |x, y| image::Rgb([x as u8 * 9, y as u8 * 9, 30])).save(&path).unwrap();
        } else {
            GrayImage::from_fn(16, 12, |x, _| Luma([values[usize::from(x > 7)]])).save(&path).unwrap();
        }
    }
}

/// The pairs by their names below the root.
fn names(pairs: &[Pair], root: &Path) -> Vec<[String; 2]> {
    let below = |path: &Path| path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
    pairs.iter().map(|pair| [below(&pair.image), below(pair.label.name())]).collect()
}

#[test]
fn cityscapes_pascal_voc_mmsegmentation_and_ade20k_are_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("cityscapes");
    write(
        &root,
        &["leftImg8bit/train/aachen/aachen_0_1_leftImg8bit.png", "leftImg8bit/val/ulm/ulm_0_1_leftImg8bit.png"],
        [0, 0],
    );
    for ending in ["labelIds", "color", "instanceIds"] {
        write(
            &root,
            &[
                &format!("gtFine/train/aachen/aachen_0_1_gtFine_{ending}.png"),
                &format!("gtFine/val/ulm/ulm_0_1_gtFine_{ending}.png"),
            ],
            [7, 26],
        );
    }
    let layout = find_layout(&root, &|_| ()).unwrap();
    assert_eq!(
        names(&layout.train, &root),
        [["leftImg8bit/train/aachen/aachen_0_1_leftImg8bit.png", "gtFine/train/aachen/aachen_0_1_gtFine_labelIds.png"]]
    );
    assert_eq!((layout.validation.len(), layout.dataset.unwrap().name), (1, "cityscapes".into()));
    // Predictions, which lie side by side, find their labels in the folders below.
    let predictions = folder.path().join("predictions");
    write(&predictions, &["ulm_0_1_leftImg8bit.png"], [7, 7]);
    assert_eq!(pair_predictions(&predictions, &root.join("gtFine/val"), &|_| ()).unwrap().len(), 1);

    let root = folder.path().join("VOCdevkit");
    write(&root, &["VOC2012/JPEGImages/a.jpg", "VOC2012/JPEGImages/b.jpg", "VOC2012/JPEGImages/c.jpg"], [0, 0]);
    write(&root, &["VOC2012/SegmentationClass/a.png", "VOC2012/SegmentationClass/b.png"], [0, 15]);
    let sets = root.join("VOC2012/ImageSets/Segmentation");
    fs::create_dir_all(&sets).unwrap();
    fs::write(sets.join("train.txt"), "a\n").unwrap();
    fs::write(sets.join("val.txt"), "b\n").unwrap();
    let layout = find_layout(&root, &|_| ()).unwrap();
    let first = ["VOC2012/JPEGImages/a.jpg", "VOC2012/SegmentationClass/a.png"];
    assert_eq!((names(&layout.train, &root), layout.validation.len()), (vec![first.map(String::from)], 1));
    assert_eq!(layout.dataset.unwrap().name, "voc2012");

    for (images, labels, parts) in
        [("img_dir", "ann_dir", ["train", "val"]), ("images", "annotations", ["training", "validation"])]
    {
        let root = folder.path().join(images);
        for part in parts {
            write(&root, &[&format!("{images}/{part}/a.jpg"), &format!("{labels}/{part}/a.png")], [1, 2]);
        }
        let layout = find_layout(&root, &|_| ()).unwrap();
        assert_eq!((layout.train.len(), layout.validation.len()), (1, 1), "{images}");
    }
}

#[test]
fn nnunet_names_its_classes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, &["imagesTr/x_0000.png", "imagesTr/y_0000.png", "labelsTr/x.png", "labelsTr/y.png"], [0, 1]);
    let write_json = |labels: Value| {
        let file =
            json!({ "channel_names": { "0": "gray" }, "labels": labels, "numTraining": 2, "file_ending": ".png" });
        fs::write(root.join("dataset.json"), file.to_string()).unwrap();
        find_layout(root, &|_| ()).map_err(|e| e.to_string())
    };
    let layout = write_json(json!({ "background": 0, "tumour": 1, "ignore": 2 })).unwrap();
    assert_eq!(names(&layout.train, root)[1], ["imagesTr/y_0000.png", "labelsTr/y.png"]);
    let dataset = layout.dataset.unwrap();
    assert_eq!((dataset.class_named("tumour"), dataset.bands, dataset.ignore.len()), (Some(1), 1, 1));
    // As version 1 had them.
    let dataset = write_json(json!({ "0": "background", "1": "tumour" })).unwrap().dataset.unwrap();
    assert_eq!(dataset.class_count(), 2);
    let described = |name: &str| {
        let file = json!({ "name": name, "labels": { "background": 0, "tumour": 1 } });
        fs::write(root.join("dataset.json"), file.to_string()).unwrap();
        find_layout(root, &|_| ()).unwrap().dataset.unwrap().name
    };
    // Quotes, and an umlaut of two characters, as macOS writes it.
    for name in ["\"Ka\u{308}se\"", "C:\\tumours"] {
        assert_eq!(described(name), name);
    }
    let refused = write_json(json!({ "background": 0, "whole": [1, 2] })).unwrap_err();
    assert_says(&refused, &["dataset.json", "'whole'", "regions of several values"]);
    write(root, &["imagesTr/x_0001.png"], [0, 1]);
    assert_says(&write_json(json!({ "background": 0, "a": 1 })).unwrap_err(), &["several files for each image"]);
}

#[test]
fn folders_of_masks_are_recognised_beside_hidden_folders() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, &["0001/images/a.jpg", "0001/masks/0.png", "0001/masks/1.png"], [0, 255]);
    fs::create_dir(root.join(".ipynb_checkpoints")).unwrap();
    let layout = find_layout(root, &|_| ()).unwrap();
    assert_eq!((layout.name, layout.train), ("folders of masks", pair_mask_folders(root).unwrap()));
}

#[test]
fn suffixes_folders_below_and_odgt_lists_are_paired() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, &["flat/a.jpg", "flat/a_mask.png", "flat/b.jpg", "flat/b_mask.png"], [0, 1]);
    let flat = root.join("flat");
    let pairs = pair_suffixed(&flat, &flat, "_mask", &|_| ()).unwrap();
    assert_eq!(names(&pairs, &flat), [["a.jpg", "a_mask.png"], ["b.jpg", "b_mask.png"]]);
    write(root, &["images/x/a.jpg", "images/y/a.jpg", "labels/x/a.png", "labels/y/a.png"], [0, 1]);
    let pairs = pair_folders(&root.join("images"), &root.join("labels"), &|_| ()).unwrap();
    assert_eq!(names(&pairs, root), [["images/x/a.jpg", "labels/x/a.png"], ["images/y/a.jpg", "labels/y/a.png"]]);
    write(root, &["labels/z/a.png"], [0, 1]);
    let refused = pair_folders(&root.join("images"), &root.join("labels"), &|_| ()).unwrap_err().to_string();
    assert_says(&refused, &["do not match", "z/a.png"]);
    let line = |name: &str| json!({ "fpath_img": format!("images/{name}.jpg"), "fpath_segm": format!("labels/{name}.png"), "width": 16, "height": 12 });
    let list = root.join("training.odgt");
    fs::write(&list, format!("{}\n{}\n", line("x/a"), line("y/a"))).unwrap();
    assert_eq!(read_pairs(&list, &|_| ()).unwrap().len(), 2);
    fs::write(&list, "images/x/a.jpg\n").unwrap();
    assert_says(&read_pairs(&list, &|_| ()).unwrap_err().to_string(), &["training.odgt: line 1", "fpath_segm"]);
}

#[test]
fn a_root_is_trained_on_with_its_validation_part_and_its_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("VOC2012");
    write(&root, &["JPEGImages/a.jpg", "JPEGImages/b.jpg", "JPEGImages/c.jpg"], [0, 0]);
    write(&root, &["SegmentationClass/a.png", "SegmentationClass/b.png", "SegmentationClass/c.png"], [0, 15]);
    let sets = root.join("ImageSets/Segmentation");
    fs::create_dir_all(&sets).unwrap();
    fs::write(sets.join("train.txt"), "a\nb\n").unwrap();
    fs::write(sets.join("val.txt"), "c\n").unwrap();
    let (recipe, run) = (small_recipe(folder.path(), 1), folder.path().join("run"));
    let said = segtool("train")
        .args(&["--recipe", &recipe, "--images", &text(&root), "--output-path", &text(&run), "--device", "flex"])
        .says();
    assert_says(&said, &["holds Pascal VOC: 2 images for training, 1 for validation", "data set voc2012"]);
    let scores = stdout_of(&["metrics", "--run", &text(&run), "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&scores).unwrap()["images"], json!(1));
    let nothing = folder.path().join("nothing");
    fs::create_dir(&nothing).unwrap();
    let refused = segtool("train")
        .args(&["--recipe", &recipe, "--images", &text(&nothing)])
        .arg("--output-path", folder.path().join("no"))
        .fails_with(1);
    assert_says(&refused, &["does not have a known layout", "Cityscapes", "--labels"]);
}

/// A small copy of Cityscapes, with one city for each part.
fn cityscapes(root: &Path) {
    for (part, city) in [("train", "aachen"), ("val", "ulm")] {
        let name = |folder: &str, ending: &str| format!("{folder}/{part}/{city}/{city}_0_1_{ending}.png");
        write(root, &[&name("leftImg8bit", "leftImg8bit"), &name("gtFine", "gtFine_labelIds")], [7, 26]);
    }
}

#[test]
fn predictions_are_scored_and_drawn_with_the_labels_of_a_root() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    let root = folder.path().join("cityscapes");
    cityscapes(&root);
    let predictions = folder.path().join("predictions");
    let predict = |name: &str, [left, right]: [u8; 2]| {
        fs::create_dir_all(&predictions).unwrap();
        let map = GrayImage::from_fn(16, 12, |x, _| Luma([if x > 7 { right } else { left }]));
        map.save(predictions.join(name)).unwrap();
    };
    // Road on the left, a car that was missed on the right.
    predict("ulm_0_1_leftImg8bit.png", [7, 7]);
    let score = |more: &[&str]| {
        let said = stdout_of(&[&["metrics", "--predictions", &at("predictions"), "--json"], more].concat());
        serde_json::from_str::<Value>(&said).unwrap()
    };
    let scored = score(&["--images", &at("cityscapes")]);
    assert_eq!((&scored["images"], &scored["pixel_accuracy"]), (&json!(1), &json!(0.5)));
    assert_eq!(scored["classes"][0]["name"], "road");
    assert_eq!(score(&["--labels", &at("cityscapes/gtFine/val"), "--dataset", "cityscapes"]), scored);
    let drawn =
        segtool("concat").args(&["--predictions", &at("predictions"), "--images", &at("cityscapes"), "--errors"]);
    assert_says(&drawn.args(&["--output-path", &at("figures")]).says(), &["holds Cityscapes"]);
    let figure = image::open(folder.path().join("figures/ulm_0_1_leftImg8bit_concat.png")).unwrap().to_rgb8();
    // Image, label, prediction, errors; the label's car on the right.
    assert_eq!(figure.width() / 16, 4, "{}", figure.width());
    // The part for training is scored if it was predicted; half of one part is not.
    fs::remove_dir_all(&predictions).unwrap();
    predict("aachen_0_1_leftImg8bit.png", [7, 26]);
    assert_eq!(score(&["--images", &at("cityscapes")])["pixel_accuracy"], json!(1.0));
    let said = segtool("metrics").args(&["--predictions", &at("predictions"), "--images", &at("cityscapes")]).says();
    assert_says(&said, &["the predictions are of the training images: 1 image"]);
    let image = at("cityscapes/leftImg8bit/val/ulm/ulm_0_1_leftImg8bit.png");
    let refused = segtool("metrics").args(&["--predictions", &at("predictions"), "--images", &image]);
    assert_says(&refused.fails_with(2), &["--labels is missing"]);
    predict("zurich_0_1_leftImg8bit.png", [7, 26]);
    let refused = segtool("metrics").args(&["--predictions", &at("predictions"), "--images", &at("cityscapes")]);
    assert_says(&refused.fails_with(1), &["do not match", "zurich_0_1"]);
    let both = segtool("metrics").args(&["--predictions", &at("predictions"), "--images", &at("cityscapes")]);
    assert_says(
        &both.args(&["--labels", &at("cityscapes/gtFine/val")]).fails_with(2),
        &["--images is not needed with"],
    );
}

#[test]
fn labels_with_a_suffix_are_scored_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    write(folder.path(), &["flat/a.jpg", "flat/a_mask.png", "flat/b.jpg", "flat/b_mask.png"], [0, 1]);
    write(folder.path(), &["predictions/a.png", "predictions/b.png"], [0, 1]);
    let labels = ["--labels", &at("flat"), "--label-suffix", "_mask"];
    let arguments =
        ["metrics", "--predictions", &at("predictions"), "--num-class", "2", "--convention", "mmseg", "--json"];
    let scored: Value = serde_json::from_str(&stdout_of(&[&arguments[..], &labels].concat())).unwrap();
    assert_eq!((&scored["images"], &scored["mean_iou"]), (&json!(2), &json!(1.0)));
    for predictions in [&["--predictions", &at("predictions")][..], &[]] {
        let out = at(&format!("figures{}", predictions.len()));
        stdout_of(&[&["concat", "--images", &at("flat"), "--output-path", &out], &labels[..], predictions].concat());
        assert_eq!(fs::read_dir(&out).unwrap().count(), 2);
        let path = fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
        // Image, label and perhaps prediction; the label has two classes beside each other.
        let figure = image::open(path).unwrap().to_rgb8();
        assert_eq!(figure.width(), if predictions.is_empty() { 32 } else { 48 });
        let [left, right] = [18, 30].map(|x| *figure.get_pixel(x, 6));
        assert_ne!(left, right);
        assert_eq!([left, right], [20, 28].map(|x| *figure.get_pixel(x, 9)));
        if !predictions.is_empty() {
            assert_eq!([left, right], [34, 46].map(|x| *figure.get_pixel(x, 6)));
        }
    }
    let empty = ["concat", "--images", &at("flat"), "--labels", &at("flat"), "--label-suffix", ""];
    let refused = segtool(empty[0]).args(&empty[1..]).args(&["--predictions", &at("predictions")]);
    assert_says(&refused.args(&["--output-path", &at("none")]).fails_with(2), &["--label-suffix"]);
}

#[test]
fn labels_in_folders_in_folders_are_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    write(folder.path(), &["images/x/a.jpg", "labels/x/a_mask.png", "plain/y/a.png", "predictions/a.png"], [0, 1]);
    for (labels, name) in [
        (["--labels", &at("plain")].to_vec(), "plain"),
        (["--labels", &at("labels"), "--label-suffix", "_mask"].to_vec(), "suffixed"),
    ] {
        let out = at(&format!("figures-{name}"));
        let inputs = ["concat", "--predictions", &at("predictions"), "--images", &at("images"), "--output-path", &out];
        stdout_of(&[&inputs[..], &labels].concat());
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "{name}");
    }
}

#[test]
fn parts_that_are_numbered_alike_are_drawn_as_they_are_scored() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    let root = folder.path().join("set");
    for part in ["train", "val"] {
        write(&root, &[&format!("img_dir/{part}/001.jpg"), &format!("ann_dir/{part}/001.png")], [0, 1]);
    }
    write(folder.path(), &["predictions/001.png"], [0, 1]);
    let inputs = ["--predictions", &at("predictions"), "--images", &at("set")];
    let scores = ["metrics", "--num-class", "2", "--convention", "mmseg", "--json"];
    let scored: Value = serde_json::from_str(&stdout_of(&[&scores[..], &inputs].concat())).unwrap();
    assert_eq!(scored["images"], json!(1));
    stdout_of(&[&["concat", "--output-path", &at("figures")], &inputs[..]].concat());
    assert_eq!(fs::read_dir(at("figures")).unwrap().count(), 1);
}

#[test]
fn published_data_sets_have_the_values_of_their_publications() {
    let of = |name: &str| Dataset::find(name).unwrap();
    let value = |name: &str, class: &str| {
        let dataset = of(name);
        let place = dataset.class_named(class).unwrap_or_else(|| panic!("{name} has no {class}"));
        let class = &dataset.classes[usize::from(place)];
        (class.values[0], class.color)
    };
    assert_eq!(value("cityscapes", "bicycle"), (33, [119, 11, 32]));
    assert_eq!(value("cityscapes-trainids", "bicycle"), (18, [119, 11, 32]));
    assert_eq!(value("voc2012", "tvmonitor"), (20, [0, 64, 128]));
    assert_eq!(value("loveda", "agricultural"), (7, [255, 195, 128]));
    assert_eq!(value("potsdam", "car"), (5, [255, 255, 0]));
    assert_eq!(value("vaihingen", "tree"), (4, [0, 255, 0]));
    assert_eq!(value("isaid", "Harbor"), (15, [0, 100, 155]));
    assert_eq!(value("f3-facies", "Zechstein"), (5, [215, 48, 39]));
    let classes =
        [("cityscapes", 19), ("voc2012", 21), ("coco-stuff", 171), ("isaid", 16), ("f3-facies", 6), ("loveda", 7)];
    for (name, count) in classes {
        assert_eq!(of(name).class_count(), count, "{name}");
    }
    let stuff = of("coco-stuff");
    let values = ["person", "toothbrush", "banner", "wood"]
        .map(|name| stuff.classes[usize::from(stuff.class_named(name).unwrap())].values[0]);
    assert_eq!(values, [0, 89, 91, 181]);
}
