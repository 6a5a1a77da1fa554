//! Forests over hypercolumns, learnt from a few labelled pixels, as users train them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::{GrayImage, Luma, RgbaImage};
use segtool::nn::device::DeviceChoice;
use segtool::nn::model::{FeatureEncoderConfig, ResNetFeaturesConfig, Tap, Variant, VggConfig};
use segtool::weights::save_encoder;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::common::made_core::{
    COLORS, Made, NAMES, RECTANGLES, bytes, core, label_value, labels_of, scores, stroke, truth,
};
use crate::common::{floats, read_json, read_tensors, segtool, stderr_of, stdout_of, text};

#[test]
fn a_few_labels_are_enough_for_the_whole_core() {
    let made = Made::new();
    let (run, out) = (made.path("run"), made.path("out"));
    let said = stdout_of(&made.training(&run, &[]));
    assert!(said.contains("by region") && said.contains("out-of-bag error") && said.contains("importance of pool2"));
    let scores = scores(&run);
    for split in ["by_region", "by_pixel", "out_of_bag"] {
        assert!(scores[split]["mean_f1"].as_f64().unwrap() > 0.95, "{split}: {}", scores[split]);
    }
    // Every labelled pixel is held out once by region, and one in twenty by pixel.
    let labelled = 6 * 23 * 7 + 2 * 41 * 3;
    assert_eq!(scores["by_region"]["pixels"], labelled);
    assert_eq!(scores["by_pixel"]["pixels"], 3 * 16 + 12);
    assert_eq!((&scores["features"], &scores["labelled_pixels"]), (&192.into(), &labelled.into()));
    let shares = scores["importances"].as_array().unwrap();
    let sum: f64 = shares.iter().map(|share| share["importance"].as_f64().unwrap()).sum();
    assert!(shares.len() == 2 && (sum - 1.0).abs() < 1e-9);
    let report = String::from_utf8(bytes(&run, "report.html")).unwrap();
    assert!(report.contains("F1 by class") && report.contains("Scores by region") && !report.contains("{{"));

    stdout_of(&["predict", "--run", &run, "--png", "--color", "--overlay", "--output-path", &out, &made.core]);
    let found = labels_of(&out, "core");
    let right = found.indexed_iter().filter(|((y, x), value)| **value == truth(*x as u32, *y as u32)).count();
    assert!(right as f64 / found.len() as f64 > 0.85, "{right} of {}", found.len());
    assert_eq!(fs::read_to_string(Path::new(&out).join("predictions.txt")).unwrap(), "core.npy\n");
    let colors = image::open(Path::new(&out).join("core_color.png")).unwrap().into_rgb8();
    assert_eq!(colors.get_pixel(20, 10).0, COLORS[1]);
    assert_eq!(image::open(Path::new(&out).join("core.png")).unwrap().into_luma8().get_pixel(20, 10).0, [1]);
    // What was learnt can be scored like any prediction, with the run's data set.
    let said = stdout_of(&["metrics", "--predictions", &out, "--labels", &label_folder(&made), "--dataset", &run]);
    assert!(said.contains("intact sandstone"), "{said}");
    // So can the run itself, also on strokes, whose transparent pixels are not labelled.
    let score = |labels: &str| {
        stdout_of(&["metrics", "--run", &run, "--images", &made.core, "--labels", labels, "--device", "flex"])
    };
    assert_eq!(score(&made.labels), said);
    let strokes = made.path("strokes_to_score.png");
    RgbaImage::from_fn(240, 40, stroke).save(&strokes).unwrap();
    assert_eq!(score(&strokes), said);
    // And on the validation set that it was trained with.
    let list = made.path("validation.txt");
    fs::write(&list, format!("{} {}\n", made.core, made.labels)).unwrap();
    let validated = made.path("validated");
    stdout_of(&made.training(&validated, &["--split", "none", "--val-list", &list]));
    assert_eq!(stdout_of(&["metrics", "--run", &validated, "--device", "flex"]), said);
}

/// A folder with the labels under the name of the core.
fn label_folder(made: &Made) -> String {
    let folder = made.folder.path().join("label_folder");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(&made.labels, folder.join("core.png")).unwrap();
    text(&folder)
}

/// The labels as a file of labelme, whose points count from the corner of the first pixel.
fn labelme_file() -> Value {
    let shape = |([x0, y0, x1, y1], value): &([u32; 4], u8)| {
        let corners = [[*x0, *y0], [x1 + 1, *y0], [x1 + 1, y1 + 1], [*x0, y1 + 1]];
        json!({ "label": NAMES[usize::from(*value)], "points": corners, "shape_type": "polygon", "group_id": null, "flags": {} })
    };
    let shapes: Vec<Value> = RECTANGLES.iter().map(shape).collect();
    json!({ "version": "5.8.1", "flags": {}, "shapes": shapes, "imagePath": "core.png", "imageData": null,
            "imageHeight": 40, "imageWidth": 240 })
}

#[test]
fn labels_mean_the_same_from_images_strokes_tables_and_annotation_files() {
    let made = Made::new();
    let run = made.path("run");
    stdout_of(&made.training(&run, &[]));
    let (forest, score) = (bytes(&run, "forest.bin"), scores(&run)["by_region"].clone());

    let strokes = made.path("strokes.png");
    RgbaImage::from_fn(240, 40, stroke).save(&strokes).unwrap();
    let table = made.path("labels.csv");
    let row = |([x0, y0, x1, y1], value): &([u32; 4], u8)| {
        format!("core.png,{x0},{y0},{x1},{y1},{}\n", NAMES[usize::from(*value)])
    };
    fs::write(&table, format!("file,x0,y0,x1,y1,class\n{}", RECTANGLES.iter().map(row).collect::<String>())).unwrap();
    let labelme = made.path("core.json");
    fs::write(&labelme, labelme_file().to_string()).unwrap();
    let drawn = ["--images", &made.core, "--labels", &labelme, "--dataset", "core"];
    for (name, source) in [
        ("labelme", drawn.as_slice()),
        ("strokes", ["--images", &made.core, "--labels", &strokes].as_slice()),
        ("table", ["--label-csv", &table].as_slice()),
    ] {
        let run = made.path(name);
        let first = ["train", "--recipe", "hypercolumn-core", "--set", "forest.trees=30", "--device", "flex"];
        stdout_of(&[&first, source, &["--output-path", &run]].concat());
        assert_eq!(bytes(&run, "forest.bin"), forest, "{name}");
        assert_eq!(scores(&run)["by_region"], score, "{name}");
    }
    // Without a data set, the classes are those that the file names, and what no shape covers is background.
    let run = made.path("named");
    let said = segtool("train")
        .args(&["--recipe", "hypercolumn-core", "--set", "forest.trees=30", "--device", "flex"])
        .args(&["--images", &made.core, "--labels", &labelme, "--output-path", &run])
        .says();
    assert!(
        said.contains("classes of the annotations: background, intact sandstone, rubble, grey granodiorite, dark gap"),
        "{said}"
    );
    assert_eq!(scores(&run)["labelled_pixels"], 240 * 40);
    // Points, too, here a few of each class, with images in another folder.
    let points = "file;x;y;class\ncore.png;10;10;1\ncore.png;140;12;1\ncore.png;60;10;2\ncore.png;30;37;4\n";
    fs::create_dir(made.path("tables")).unwrap();
    fs::write(made.path("tables/points.csv"), points).unwrap();
    let (table, run) = (made.path("tables/points.csv"), made.path("points"));
    let folder = text(made.folder.path());
    let arguments = ["train", "--recipe", "hypercolumn-core", "--label-csv", &table, "--images", &folder];
    let said = stderr_of(&[&arguments[..], &["--output-path", &run]].concat(), 0);
    assert!(said.contains("no pixel is labelled 'grey granodiorite'"), "{said}");
    assert!(said.contains("only one pixel is labelled 'rubble'"), "{said}");
    assert_eq!(scores(&run)["labelled_pixels"], 4);
}

#[test]
fn neither_threads_nor_windows_nor_stored_features_change_the_result() {
    let made = Made::new();
    let (run, other, cache) = (made.path("run"), made.path("other"), made.path("cache"));
    stdout_of(&made.training(&run, &["--cache-features", &cache]));
    let files = || {
        let below = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> = below(PathBuf::from(&cache)).flat_map(below).collect();
        files.sort();
        files
    };
    assert_eq!(files().len(), 1);
    // One thread, and features as they are stored.
    for (threads, more) in [("1", vec![]), ("3", vec!["--cache-features", &*cache])] {
        let arguments = made.training(&other, &[&more[..], &["--overwrite"]].concat());
        let mut command = Command::new(env!("CARGO_BIN_EXE_segtool"));
        assert!(command.args(arguments).env("RAYON_NUM_THREADS", threads).output().unwrap().status.success());
        for file in ["forest.bin", "encoder.safetensors"] {
            assert_eq!(bytes(&other, file), bytes(&run, file), "{file}, {threads} threads");
        }
        assert_eq!(scores(&other)["by_region"], scores(&run)["by_region"]);
    }
    let out = made.path("out");
    let predict = |more: &[&str]| {
        stdout_of(
            &[&["predict", "--run", &run, "--output-path", &out, "--device", "flex"], more, &[&made.core]].concat(),
        );
        labels_of(&out, "core")
    };
    let whole = predict(&[]);
    for more in [["--tile", "17"], ["--tile", "64"], ["--cache-features", &cache]] {
        assert_eq!(predict(&more), whole, "{more:?}");
    }
    // Damaged features are computed anew.
    assert_eq!(files().len(), 1);
    let stored = fs::read(&files()[0]).unwrap();
    fs::write(&files()[0], &stored[..stored.len() / 3]).unwrap();
    assert_eq!(predict(&["--cache-features", &cache]), whole);
    assert_eq!(fs::read(&files()[0]).unwrap(), stored);
}

#[test]
fn a_class_with_a_single_pixel_is_learnt_from_but_not_scored() {
    let made = Made::new();
    let run = made.path("run");
    let alone = |x, y| match label_value(x, y) {
        3 if (x, y) == (90, 9) => 3,
        3 => 0,
        value => value,
    };
    GrayImage::from_fn(240, 40, |x, y| Luma([alone(x, y)])).save(&made.labels).unwrap();
    let said = stderr_of(&made.training(&run, &[]), 0);
    assert!(said.contains("only one pixel is labelled 'grey granodiorite'"), "{said}");
    let scores = scores(&run);
    for split in ["by_region", "by_pixel"] {
        let f1 = scores[split]["f1"].as_array().unwrap();
        assert!(f1[2].is_null() && f1[0].as_f64().unwrap() > 0.9, "{split}: {f1:?}");
    }
    let learnt: u64 = scores["classes"].as_array().unwrap().iter().map(|class| class["pixels"].as_u64().unwrap()).sum();
    assert_eq!(scores["pixels"], learnt);
}

#[test]
fn pixels_without_a_measurement_are_not_learnt_from() {
    let made = Made::new();
    let (run, image) = (made.path("run"), made.path("nan.tif"));
    let samples: Vec<f32> = core().pixels().flat_map(|pixel| pixel.0.map(|v| f32::from(v) / 255.0)).collect();
    let samples: Vec<f32> = samples.iter().enumerate().map(|(i, v)| if i % 30 == 0 { f32::NAN } else { *v }).collect();
    let mut encoder = tiff::encoder::TiffEncoder::new(fs::File::create(&image).unwrap()).unwrap();
    encoder.write_image::<tiff::encoder::colortype::RGB32Float>(240, 40, &samples).unwrap();
    let first = ["train", "--recipe", "hypercolumn-core", "--images", &image, "--labels", &made.labels];
    stdout_of(&[&first[..], &["--split", "none", "--output-path", &run]].concat());
    // Every tenth pixel of a row of 240 has one band that is no number.
    let left = (0..240 * 40).filter(|i| i % 10 != 0 && label_value(i % 240, i / 240) != 0).count();
    assert_eq!(scores(&run)["labelled_pixels"], left);
    stdout_of(&["predict", "--run", &run, "--output-path", &made.path("out"), &image]);
    assert_eq!(labels_of(&made.path("out"), "nan").dim(), (40, 240));
}

#[test]
fn more_labels_than_are_wanted_are_thinned_out_evenly() {
    let made = Made::new();
    let run = made.path("run");
    let said = stderr_of(&made.training(&run, &["--set", "max_pixels=300"]), 0);
    assert!(said.contains("1212 pixels are labelled; 301 of them, chosen at random"), "{said}");
    assert!((298..=302).contains(&scores(&run)["pixels"].as_u64().unwrap()));
    // So few that some regions have none left.
    stdout_of(&made.training(&run, &["--set", "max_pixels=14", "--overwrite"]));
    let scores = scores(&run);
    assert!(scores["by_region"]["f1"].as_array().unwrap().iter().any(|f1| f1.as_f64().is_some_and(|f1| f1 > 0.5)));
    let held_out = scores["by_region"]["pixels"].as_u64().unwrap();
    assert!(held_out <= scores["pixels"].as_u64().unwrap(), "{held_out}");
}

#[test]
fn further_images_can_be_scored_on_and_several_be_learnt_from() {
    let made = Made::new();
    let run = made.path("run");
    for (list, lines) in [("images.txt", "core.png\ncore.png\n"), ("labels.txt", "labels.png\nlabels.png\n")] {
        fs::write(made.path(list), lines).unwrap();
    }
    let (images, labels) = (made.path("images.txt"), made.path("labels.txt"));
    let first = ["train", "--recipe", "hypercolumn-core", "--train-list", &images, "--label-list", &labels];
    let more = ["--val-list", &images, "--val-label-list", &labels, "--set", "forest.trees=10", "--output-path", &run];
    let said = stderr_of(&[&first[..], &more].concat(), 0);
    assert!(
        said.contains("1 of 2 training images repeat an earlier one (")
            && said.contains("1 of 2 validation images repeat an earlier one (")
            && said.contains("2 of 2 validation images are also in the training set ("),
        "{said}"
    );
    let scores = scores(&run);
    assert_eq!(scores["labelled_pixels"], 2 * 1212);
    assert_eq!(scores["validation"]["pixels"], 2 * 1212);
    assert!(scores["validation"]["mean_f1"].as_f64().unwrap() > 0.99);
    // A damaged image is told of before the training.
    fs::write(made.path("cut.png"), &fs::read(&made.core).unwrap()[..3000]).unwrap();
    fs::write(made.path("cut.txt"), "cut.png\n").unwrap();
    fs::write(made.path("cut_labels.txt"), "labels.png\n").unwrap();
    let (cut, cut_labels) = (made.path("cut.txt"), made.path("cut_labels.txt"));
    let said =
        stderr_of(&made.training(&run, &["--val-list", &cut, "--val-label-list", &cut_labels, "--overwrite"]), 1);
    assert!(said.contains("cut.png: damaged") && !said.contains("fit "), "{said}");
    assert!(Path::new(&run).join("forest.bin").exists());
    GrayImage::new(240, 40).save(made.path("nothing.png")).unwrap();
    fs::write(made.path("val.txt"), "core.png\n").unwrap();
    fs::write(made.path("val_labels.txt"), "nothing.png\n").unwrap();
    let (images, labels, other) = (made.path("val.txt"), made.path("val_labels.txt"), made.path("other"));
    let more = ["--val-list", &images, "--val-label-list", &labels];
    let said = stderr_of(&made.training(&other, &more), 1);
    assert!(said.contains("none of the 1 validation images has a labelled pixel"), "{said}");
    assert!(!Path::new(&other).exists());
}

/// A whole encoder with random weights as torchvision's file has it.
fn torchvision_file(made: &Made, name: &str, config: &FeatureEncoderConfig, last: Tap) -> String {
    let path = made.path(name);
    let encoder = config.init(3, &[last], 7, &DeviceChoice::Flex.open().unwrap()).unwrap();
    save_encoder(&encoder, Path::new(&path)).unwrap();
    path
}

#[test]
fn encoders_take_torchvisions_files() {
    let made = Made::new();
    let run = made.path("run");
    let vgg = |batch_norm| FeatureEncoderConfig::Vgg16(VggConfig { batch_norm });
    let residual = FeatureEncoderConfig::Resnet(ResNetFeaturesConfig::new(Variant::Resnet18));
    let plain = torchvision_file(&made, "vgg16.safetensors", &vgg(false), Tap::Pool(5));
    let normed = torchvision_file(&made, "vgg16_bn.safetensors", &vgg(true), Tap::Pool(5));
    let resnet = torchvision_file(&made, "resnet18.safetensors", &residual, Tap::Layer(4));
    let set = "features.encoder={ architecture = 'resnet', variant = 'resnet18' }";
    for (file, more, features, expected) in [
        (&plain, vec![], 192, "loaded 8 tensors (260160 numbers): the convolutions of a VGG-16 from torchvision"),
        (&normed, vec![], 192, "batch_norm = false -> architecture = \"vgg16\", batch_norm = true"),
        (&resnet, vec!["--set", set, "--taps", "stem,layer2"], 64 + 128, "the encoder resnet18"),
    ] {
        let more = [&more[..], &["--weights", file, "--split", "pixel", "--overwrite"]].concat();
        let said = stderr_of(&made.training(&run, &more), 0);
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains("weights are random"), "{said}");
        assert_eq!(scores(&run)["features"], features);
        assert!(scores(&run)["by_pixel"]["mean_f1"].as_f64().unwrap() > 0.9, "{file}: {}", scores(&run)["by_pixel"]);
        let (theirs, own) = (read_tensors(Path::new(file)), read_tensors(&Path::new(&run).join("encoder.safetensors")));
        assert!(own.len() > 7 && own.len() < theirs.len());
        own.iter().for_each(|(name, data)| assert_eq!(floats(data), floats(&theirs[name]), "{name}"));
        stdout_of(&["predict", "--run", &run, "--output-path", &made.path("out"), "--overwrite", &made.core]);
    }
    // Another encoder than the recipe's, and a part of one.
    let said = stderr_of(&made.training(&made.path("other"), &["--weights", &resnet]), 1);
    assert!(
        said.contains("holds the encoder resnet18") && said.contains("the recipe's features come from VGG-16"),
        "{said}"
    );
    let own = text(&Path::new(&run).join("encoder.safetensors"));
    stderr_of(&made.training(&made.path("other"), &["--weights", &own]), 1);
    // A channel of a layer that the run does not need.
    let image = made.path("channel.png");
    let first = ["info", "--features", &made.core, "--output", &image, "--encoder-weights", &normed];
    stdout_of(&[&first[..], &["--tap", "conv4_2", "--channel", "500"]].concat());
    // Its kernels are spread over one band; a grey image then needs no colours.
    let dataset = made.path("grey.toml");
    let text = fs::read_to_string("datasets/core.toml").unwrap();
    let text = text.replace("bands = 3", "bands = 1");
    let text = text.lines().map(|line| match line.starts_with("normalisation") {
        true => "normalisation = { kind = \"per-dataset\" }\n".to_owned(),
        false => format!("{line}\n"),
    });
    fs::write(&dataset, text.collect::<String>()).unwrap();
    let grey = made.path("grey.png");
    image::DynamicImage::ImageRgb8(core()).into_luma8().save(&grey).unwrap();
    let run = made.path("grey");
    let first = ["train", "--recipe", "hypercolumn-core", "--dataset", &dataset, "--images", &grey];
    let more = ["--labels", &made.labels, "--weights", &plain, "--taps", "colors,pool1", "--output-path", &run];
    let said = stderr_of(&[&first[..], &more].concat(), 0);
    assert!(said.contains("spread over 1 bands instead of 3"), "{said}");
    let config = read_json(Path::new(&run).join("config.json"));
    assert_eq!(config["dataset"]["normalisation"]["kind"], "fixed");
    assert!(scores(&run)["by_pixel"]["mean_f1"].as_f64().unwrap() > 0.9);
}

/// The published task on the real section, with random weights.
#[test]
fn the_real_section_is_learnt() {
    let Some(image) = crate::common::real::real("core/section.png") else { return };
    let folder = tempdir().unwrap();
    let labels = image.with_file_name("section_labels.png");
    let [image, labels, run] = [image, labels, folder.path().join("run")].map(|path| text(&path));
    let first = ["train", "--recipe", "hypercolumn-core", "--images", &image, "--labels", &labels];
    stdout_of(&[&first[..], &["--output-path", &run]].concat());
    let scores = scores(&run);
    let mean = |split: &str| scores[split]["mean_f1"].as_f64().unwrap();
    assert!(mean("by_pixel") >= 0.95, "{}", mean("by_pixel"));
    assert!(mean("by_region") >= 0.85, "{}", mean("by_region"));
}
