//! Forests over hypercolumns, from a few labelled pixels to label maps, as users run them.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use ndarray::{Array2, Array3};
use ndarray_npy::read_npy;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use segtool::nn::device::DeviceChoice;
use segtool::nn::model::{FeatureEncoderConfig, ResNetFeaturesConfig, Tap, Variant, VggConfig};
use segtool::weights::save_encoder;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use common::{floats, read_tensors, stderr_of, stdout_of, text};

/// Class names of data set `core`, by label value.
const NAMES: [&str; 5] = ["", "intact sandstone", "rubble", "grey granodiorite", "dark gap"];
/// Their colours.
const COLORS: [[u8; 3]; 5] = [[0; 3], [222, 184, 135], [160, 82, 45], [119, 136, 153], [25, 25, 25]];

/// Which value a pixel of the made core has: three stretches twice, and a gap below them.
fn truth(x: u32, y: u32) -> u8 {
    if y >= 34 { 4 } else { [1, 2, 3][(x / 40 % 3) as usize] }
}

/// A made core of 240x40: even sandstone, rubble of light and dark, speckled grey rock, and a dark gap.
fn core() -> RgbImage {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    RgbImage::from_fn(240, 40, |x, y| match truth(x, y) {
        1 => Rgb([200u8, 165, 110].map(|value| value + rng.random_range(0..12))),
        2 => Rgb(if rng.random_bool(0.5) { [210, 170, 110] } else { [90, 60, 30] }),
        3 => Rgb([rng.random_range(80..170u8); 3]),
        _ => Rgb([rng.random_range(0..20u8); 3]),
    })
}

/// Left, top, right, bottom (both inside) and value of what is labelled: each class in two places.
const RECTANGLES: [([u32; 4], u8); 8] = [
    ([8, 8, 30, 14], 1),
    ([128, 10, 150, 16], 1),
    ([48, 8, 70, 14], 2),
    ([168, 10, 190, 16], 2),
    ([88, 8, 110, 14], 3),
    ([208, 10, 230, 16], 3),
    ([20, 36, 60, 38], 4),
    ([140, 36, 180, 38], 4),
];

fn label_value(x: u32, y: u32) -> u8 {
    let inside = |[left, top, right, bottom]: [u32; 4]| (left..=right).contains(&x) && (top..=bottom).contains(&y);
    RECTANGLES.iter().find(|(place, _)| inside(*place)).map_or(0, |(_, value)| *value)
}

/// The core and its labels in a folder.
struct Made {
    folder: TempDir,
    core: String,
    labels: String,
}

impl Made {
    fn new() -> Self {
        let folder = tempdir().unwrap();
        let (core_path, labels) = (folder.path().join("core.png"), folder.path().join("labels.png"));
        core().save(&core_path).unwrap();
        GrayImage::from_fn(240, 40, |x, y| Luma([label_value(x, y)])).save(&labels).unwrap();
        Self { core: text(&core_path), labels: text(&labels), folder }
    }

    fn path(&self, name: &str) -> String {
        text(&self.folder.path().join(name))
    }

    /// Arguments of a training on these labels.
    fn training<'a>(&'a self, run: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let first = ["train", "--recipe", "hypercolumn-core", "--images", &self.core, "--labels", &self.labels];
        [&first, more, &["--set", "forest.trees=30", "--device", "flex", "--output-path", run]].concat()
    }
}

fn scores(run: &str) -> Value {
    serde_json::from_slice(&fs::read(Path::new(run).join("scores.json")).unwrap()).unwrap()
}

fn labels_of(folder: &str, stem: &str) -> Array2<u8> {
    read_npy(Path::new(folder).join(format!("{stem}.npy"))).unwrap()
}

fn bytes(run: &str, file: &str) -> Vec<u8> {
    fs::read(Path::new(run).join(file)).unwrap()
}

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
}

/// A folder with the labels under the name of the core.
fn label_folder(made: &Made) -> String {
    let folder = made.folder.path().join("label_folder");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(&made.labels, folder.join("core.png")).unwrap();
    text(&folder)
}

#[test]
fn labels_mean_the_same_from_images_strokes_and_tables() {
    let made = Made::new();
    let run = made.path("run");
    stdout_of(&made.training(&run, &[]));
    let (forest, score) = (bytes(&run, "forest.bin"), scores(&run)["by_region"].clone());

    let strokes = made.path("strokes.png");
    let stroke = |x, y| match label_value(x, y) {
        // Whatever lies under transparent pixels.
        0 => Rgba([77, 1, 200, 100]),
        value => {
            let [r, g, b] = COLORS[usize::from(value)];
            Rgba([r, g, b, 255])
        }
    };
    RgbaImage::from_fn(240, 40, stroke).save(&strokes).unwrap();
    let table = made.path("labels.csv");
    let row = |([x0, y0, x1, y1], value): &([u32; 4], u8)| {
        format!("core.png,{x0},{y0},{x1},{y1},{}\n", NAMES[usize::from(*value)])
    };
    fs::write(&table, format!("file,x0,y0,x1,y1,class\n{}", RECTANGLES.iter().map(row).collect::<String>())).unwrap();
    for (name, source) in [
        ("strokes", ["--images", &made.core, "--labels", &strokes].as_slice()),
        ("table", ["--label-csv", &table].as_slice()),
    ] {
        let run = made.path(name);
        let first = ["train", "--recipe", "hypercolumn-core", "--set", "forest.trees=30", "--device", "flex"];
        stdout_of(&[&first, source, &["--output-path", &run]].concat());
        assert_eq!(bytes(&run, "forest.bin"), forest, "{name}");
        assert_eq!(scores(&run)["by_region"], score, "{name}");
    }
    // Points, too, here a few of each class, with images in another folder.
    let points = "file;x;y;class\ncore.png;10;10;1\ncore.png;140;12;1\ncore.png;60;10;2\ncore.png;30;37;4\n";
    fs::create_dir(made.path("tables")).unwrap();
    fs::write(made.path("tables/points.csv"), points).unwrap();
    let (table, run) = (made.path("tables/points.csv"), made.path("points"));
    let folder = text(made.folder.path());
    let arguments = ["train", "--recipe", "hypercolumn-core", "--label-csv", &table, "--images", &folder];
    let said = stderr_of(&[&arguments[..], &["--output-path", &run]].concat(), 0);
    assert!(said.contains("no pixel is labelled 'grey granodiorite'"), "{said}");
    assert!(said.contains("a single pixel is labelled 'rubble'"), "{said}");
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
fn probabilities_and_proportions_are_written() {
    let made = Made::new();
    let (run, out) = (made.path("run"), made.path("out"));
    stdout_of(&made.training(&run, &["--split", "none"]));
    assert!(scores(&run)["by_region"].is_null() && scores(&run)["by_pixel"].is_null());
    let first = ["predict", "--run", &run, "--output-path", &out, "--prob", "--prob-all", "--proportions=12"];
    let depths = ["--depth-top", "100.5", "--depth-bottom", "103.5"];
    stdout_of(&[&first[..], &depths, &[&made.core]].concat());
    let labels = labels_of(&out, "core");
    let highest: Array2<f32> = read_npy(Path::new(&out).join("core_prob.npy")).unwrap();
    let all: Array3<f32> = read_npy(Path::new(&out).join("core_probs.npy")).unwrap();
    assert_eq!(all.dim(), (4, 40, 240));
    for ((y, x), value) in labels.indexed_iter() {
        let own: Vec<f32> = (0..4).map(|class| all[[class, y, x]]).collect();
        assert!((own.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert_eq!(own[usize::from(*value) - 1], highest[[y, x]]);
        assert!(own.iter().all(|probability| *probability <= highest[[y, x]]));
    }
    let mut table = csv::Reader::from_path(Path::new(&out).join("core_proportions.csv")).unwrap();
    let heads: Vec<String> = table.headers().unwrap().iter().map(str::to_owned).collect();
    let expected = ["from_px", "to_px", "from_m", "to_m", "pixels", NAMES[1], NAMES[2], NAMES[3], NAMES[4], "dominant"];
    assert_eq!(heads, expected);
    let rows: Vec<BTreeMap<String, String>> = table.deserialize().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 12);
    for (i, row) in rows.iter().enumerate() {
        let number = |head: &str| row[head].parse::<f64>().unwrap();
        let columns = number("from_px") as usize..number("to_px") as usize;
        assert_eq!(columns, i * 20..(i + 1) * 20);
        assert!((number("from_m") - (100.5 + 0.25 * i as f64)).abs() < 1e-9);
        let pixels = labels.slice(ndarray::s![.., columns]);
        for value in 1..5u8 {
            let share = pixels.iter().filter(|found| **found == value).count() as f64 / pixels.len() as f64;
            assert!((number(NAMES[usize::from(value)]) - share).abs() < 1e-6);
        }
    }
    assert!(image::open(Path::new(&out).join("core_proportions.png")).unwrap().width() > 600);
    let two = [&first[..], &depths, &[&made.core, &made.labels]].concat();
    assert!(stderr_of(&two, 1).contains("are those of one core, but 2 images are given"));
    let wrong = [&first[..], &["--depth-top", "9", "--depth-bottom", "3"], &[&made.core]].concat();
    assert!(stderr_of(&wrong, 1).contains("depth"), "{}", stderr_of(&wrong, 1));
}

#[test]
fn labels_that_cannot_be_learnt_from_are_refused_in_words() {
    let made = Made::new();
    let run = made.path("run");
    let with = |name: &str, labels: GrayImage| {
        let path = made.path(name);
        labels.save(&path).unwrap();
        let said = stderr_of(
            &[
                "train",
                "--recipe",
                "hypercolumn-core",
                "--images",
                &made.core,
                "--labels",
                &path,
                "--output-path",
                &run,
            ],
            1,
        );
        assert!(!Path::new(&run).exists(), "{name}");
        said
    };
    let said = with("none.png", GrayImage::new(240, 40));
    assert!(said.contains("has a labelled pixel") && said.contains("0 means not labelled"), "{said}");
    let said = with("one.png", GrayImage::from_pixel(240, 40, Luma([2])));
    assert!(said.contains("all 9600 labelled pixels are of class 'rubble'"), "{said}");
    let said = with("small.png", GrayImage::from_pixel(239, 40, Luma([2])));
    assert!(said.contains("core.png is 240x40") && said.contains("small.png is 239x40"), "{said}");
    let said = with("value.png", GrayImage::from_pixel(240, 40, Luma([9])));
    assert!(said.contains("label 9 at pixel (0, 0)"), "{said}");
    let missing = ["train", "--recipe", "hypercolumn-core", "--images", "no.png", "--labels", &made.labels];
    let said = stderr_of(&[&missing[..], &["--output-path", &run]].concat(), 1);
    assert!(said.contains("cannot read no.png"), "{said}");
    // A table with a pixel that is not in the image.
    let table = made.path("table.csv");
    fs::write(&table, "file,x,y,class\ncore.png,5,5,rubble\ncore.png,240,5,rubble\n").unwrap();
    let said = stderr_of(&["train", "--recipe", "hypercolumn-core", "--label-csv", &table, "--output-path", &run], 1);
    assert!(said.contains("table.csv") && said.contains("240x40") && said.contains("line 3"), "{said}");
    let first = ["train", "--recipe", "hypercolumn-core", "--label-csv", &table, "--output-path", &run];
    let said = stderr_of(&[&first[..], &["--images", &made.core]].concat(), 1);
    assert!(said.contains("is no folder; with --label-csv"), "{said}");
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
    assert!(said.contains("a single pixel is labelled 'grey granodiorite'"), "{said}");
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
    assert!(said.contains("1212 pixels are labelled; a random 30"), "{said}");
    assert!((298..=302).contains(&scores(&run)["pixels"].as_u64().unwrap()));
    // So few that some regions have none left.
    stdout_of(&made.training(&run, &["--set", "max_pixels=14", "--overwrite"]));
    let scores = scores(&run);
    assert!(scores["by_region"]["f1"].as_array().unwrap().iter().any(|f1| f1.as_f64().is_some_and(|f1| f1 > 0.5)));
    let held_out = scores["by_region"]["pixels"].as_u64().unwrap();
    assert!(held_out <= scores["pixels"].as_u64().unwrap(), "{held_out}");
}

#[test]
fn images_of_any_shape_and_depth_are_classified() {
    let made = Made::new();
    let (run, out) = (made.path("run"), made.path("out"));
    stdout_of(&made.training(&run, &["--split", "none"]));
    let color = core();
    let save16 = |name: &str, levels: u16| {
        let deep = ImageBuffer::from_fn(240, 40, |x, y| Rgb(color.get_pixel(x, y).0.map(|v| u16::from(v) * levels)));
        deep.save(made.path(name)).unwrap();
    };
    save16("deep.png", 257);
    let crop = |height: u32| image::imageops::crop_imm(&color, 0, 12, 240, height).to_image();
    crop(10).save(made.path("low.png")).unwrap();
    crop(1).save(made.path("line.png")).unwrap();
    image::imageops::rotate90(&color).save(made.path("upright.png")).unwrap();
    image::DynamicImage::ImageRgb8(color.clone()).into_luma8().save(made.path("grey.png")).unwrap();
    image::DynamicImage::ImageRgb8(crop(3)).crop_imm(0, 0, 3, 3).save(made.path("dot.png")).unwrap();
    fs::write(made.path("broken.png"), &fs::read(&made.core).unwrap()[..2000]).unwrap();
    let names = ["core", "deep", "low", "line", "upright", "grey", "dot", "broken"];
    let paths: Vec<String> = names.iter().map(|name| made.path(&format!("{name}.png"))).collect();
    let mut arguments = vec!["predict", "--run", &run, "--output-path", &out];
    arguments.extend(paths.iter().map(String::as_str));
    let said = stderr_of(&arguments, 3);
    assert!(said.contains("broken.png") && said.contains("1 of 8 images were skipped"), "{said}");
    let sizes = [(40, 240), (40, 240), (10, 240), (1, 240), (240, 40), (40, 240), (3, 3)];
    for (name, size) in names.iter().zip(sizes) {
        assert_eq!(labels_of(&out, name).dim(), size, "{name}");
    }
    // 257 times a byte is the same share of 65,535.
    assert_eq!(labels_of(&out, "deep"), labels_of(&out, "core"));
    // Far from its edges, a strip is classified as it is in the whole.
    let (low, whole) = (labels_of(&out, "low"), labels_of(&out, "core"));
    let middle = |x: usize| low[[5, x]] == whole[[17, x]];
    assert!((0..240).filter(|x| middle(*x)).count() > 200);
    // A forest can be trained on such a strip, too, with taps whose places are larger than it is high.
    let labels = made.path("low_labels.png");
    GrayImage::from_fn(240, 10, |x, _| Luma([if x % 7 == 0 { truth(x, 0) } else { 0 }])).save(&labels).unwrap();
    let (low, run) = (made.path("low.png"), made.path("deep_run"));
    let first = ["train", "--recipe", "hypercolumn-core", "--images", &low, "--labels", &labels, "--output-path", &run];
    stdout_of(&[&first[..], &["--taps", "pool1,relu5_1,colors", "--scales", "1,4", "--split", "pixel"]].concat());
    stdout_of(&["predict", "--run", &run, "--output-path", &out, "--overwrite", &low]);
    assert_eq!(labels_of(&out, "low").dim(), (10, 240));
    assert_eq!(scores(&run)["features"], 2 * (64 + 512 + 3));
}

#[test]
fn colours_alone_are_features() {
    let made = Made::new();
    let (run, out) = (made.path("run"), made.path("out"));
    stdout_of(&made.training(&run, &["--taps", "colors", "--scales", "1,2", "--split", "none"]));
    assert_eq!(scores(&run)["features"], 6);
    stdout_of(&["predict", "--run", &run, "--output-path", &out, &made.core]);
    assert_eq!(labels_of(&out, "core").dim(), (40, 240));
    let image = made.path("channel.png");
    stdout_of(&[
        "info",
        "--features",
        &made.core,
        "--run",
        &run,
        "--tap",
        "colors",
        "--channel",
        "2",
        "--output",
        &image,
    ]);
    assert!(Path::new(&image).exists());
}

#[test]
fn what_would_do_nothing_is_refused() {
    let made = Made::new();
    let run = made.path("run");
    for (more, expected) in [
        (vec!["--learning-rate", "0.1"], "--learning-rate would do nothing for a recipe of a random forest"),
        (vec!["--num-epoch", "3", "--workers", "4"], "would do nothing for a recipe of a random forest"),
        (vec!["--split", "none", "--val-fraction", "0.1"], "--val-fraction would do nothing with --split none"),
        (vec!["--taps", "pool1,layer2"], "VGG-16 has no tap 'layer2'; there are colors, conv1_1"),
        (vec!["--taps", "pool1,pool1"], "tap pool1 is there twice"),
        (vec!["--scales", "1,100"], "scales are whole numbers from 1 to 64, not 100"),
        (vec!["--set", "forest.seed=3"], "unknown field `seed`"),
        (vec!["--set", "forest.trees=0"], "trees is 0"),
        (
            vec!["--set", "forest.class_weights=[1, 2]"],
            "class_weights has 2 numbers, but data set 'core' has 4 classes",
        ),
        (vec!["--val-fraction", "1.5"], "--val-fraction is 1.5; it must lie between 0 and 1"),
        (vec!["--val-fraction", "NaN"], "--val-fraction is NaN"),
        (vec!["--set", "features.encoder.stages=1"], "unknown field `stages`"),
    ] {
        let mut arguments = made.training(&run, &more);
        if more.contains(&"forest.trees=0") {
            arguments.retain(|argument| *argument != "forest.trees=30");
            let place = arguments.iter().rposition(|argument| *argument == "--set").unwrap();
            arguments.remove(place);
        }
        let said = stderr_of(&arguments, 1);
        assert!(said.contains(expected), "{more:?}: {said}");
        assert!(!Path::new(&run).exists());
    }
    let of_network = ["train", "--recipe", "unet-demo", "--images", &made.core, "--labels", &made.labels];
    let said = stderr_of(&[&of_network[..], &["--split", "pixel", "--output-path", &run]].concat(), 1);
    assert!(said.contains("--split would do nothing for a recipe of a network"), "{said}");
    stdout_of(&made.training(&run, &["--split", "none"]));
    let predict = ["predict", "--run", &run, "--output-path", &made.path("out"), &made.core];
    for (more, expected) in [
        (["--flip"].as_slice(), "--flip would do nothing for a run of a random forest"),
        (&["--threshold", "0.5"], "--threshold would do nothing"),
        (&["--precision", "float32"], "--precision would do nothing"),
    ] {
        assert!(stderr_of(&[&predict[..], more].concat(), 1).contains(expected), "{more:?}");
    }
    for arguments in [["metrics", "--run", &run].as_slice(), &["train", "--resume", &run]] {
        let said = stderr_of(arguments, 1);
        assert!(said.contains("is a run of a random forest"), "{arguments:?}: {said}");
    }
    let said = stderr_of(&["bench", "--recipe", "hypercolumn-core"], 1);
    assert!(said.contains("is of hypercolumns and a random forest, which this command does not take"), "{said}");
}

#[test]
fn damaged_runs_are_refused_and_old_ones_replaced_whole() {
    let made = Made::new();
    let (run, out) = (made.path("run"), made.path("out"));
    stdout_of(&made.training(&run, &["--split", "none"]));
    let said = stderr_of(&made.training(&run, &[]), 1);
    assert!(said.contains("already holds a run; replace it with --overwrite"), "{said}");
    let predict = ["predict", "--run", &run, "--output-path", &out, &made.core];
    let forest = bytes(&run, "forest.bin");
    let put = |file: &str, content: &[u8]| fs::write(Path::new(&run).join(file), content).unwrap();
    for damaged in [&forest[..forest.len() / 2], &[], b"something else", &[&forest[..], b"more"].concat()] {
        put("forest.bin", damaged);
        assert!(stderr_of(&predict, 1).contains("forest.bin"));
    }
    let mut newer = forest.clone();
    newer[8] = 200;
    put("forest.bin", &newer);
    assert!(stderr_of(&predict, 1).contains("version"), "{}", stderr_of(&predict, 1));
    put("forest.bin", &forest);
    let other = made.path("other");
    stdout_of(&made.training(&other, &["--split", "none", "--taps", "pool1"]));
    put("forest.bin", &bytes(&other, "forest.bin"));
    assert!(stderr_of(&predict, 1).contains("is of 64 features and 4 classes"), "{}", stderr_of(&predict, 1));
    let said = stderr_of(&made.training(&other, &["--weights", &run, "--overwrite"]), 1);
    assert!(said.contains("is a run of a random forest, whose encoder goes no further"), "{said}");
    fs::remove_file(Path::new(&run).join("forest.bin")).unwrap();
    assert!(stderr_of(&predict, 1).contains("its training did not finish"));
    assert!(!Path::new(&out).exists());
    // A forest in the place of a forest, then a network in its place, then a forest again.
    let of_network = ["train", "--recipe", "unet-demo", "--set", "training.epochs=1", "--set", "network.width=2"];
    let data = ["--images", &made.core, "--labels", &made.labels, "--dataset", "core", "--output-path", &run];
    for network in [false, true, false] {
        if network {
            stdout_of(&[&of_network[..], &data, &["--overwrite", "--ignore-memory", "--augment", "none"]].concat());
        } else {
            stdout_of(&made.training(&run, &["--split", "none", "--overwrite"]));
        }
        let here = |file: &str| Path::new(&run).join(file).exists();
        assert!(
            here("forest.bin") != network && here("scores.json") != network && here("model.safetensors") == network
        );
        stdout_of(&[&predict[..], &["--overwrite"]].concat());
    }
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

#[test]
fn channels_are_drawn_and_recipes_described() {
    let made = Made::new();
    let (run, image) = (made.path("run"), made.path("channel.png"));
    stdout_of(&made.training(&run, &["--split", "none", "--taps", "colors,pool1"]));
    let draw = |more: &[&str], code: i32| {
        let first = ["info", "--features", &made.core, "--output", &image];
        let arguments = [&first[..], more].concat();
        if code == 0 { stdout_of(&arguments) } else { stderr_of(&arguments, code) }
    };
    // The first band of the image itself, light where it is light.
    draw(&["--run", &run, "--tap", "colors", "--channel", "0"], 0);
    let (drawn, own) = (image::open(&image).unwrap().into_luma8(), core());
    assert_eq!(drawn.dimensions(), (240, 40));
    assert!(drawn.get_pixel(20, 10).0[0] > drawn.get_pixel(20, 38).0[0] + 50 && own.get_pixel(20, 38).0[0] < 30);
    let said = draw(&["--run", &run, "--tap", "pool1", "--channel", "28"], 0);
    assert!(said.contains("240x40"), "{said}");
    draw(&["--tap", "relu3_1", "--channel", "255"], 0);
    for (more, expected) in [
        (vec!["--run", &*run, "--tap", "pool2", "--channel", "3"], "pool2 lies beyond"),
        (vec!["--tap", "pool1", "--channel", "64"], "pool1 of VGG-16 has 64 channels, numbered from 0; there is no 64"),
        (vec!["--tap", "layer1", "--channel", "0"], "VGG-16 has no tap 'layer1'"),
        (vec!["--recipe", "unet-demo", "--tap", "pool1", "--channel", "0"], "--features takes recipes of hypercolumns"),
    ] {
        let said = draw(&more, 1);
        assert!(said.contains(expected), "{said}");
    }
    let said = stdout_of(&["info", "--recipe", "hypercolumn-core"]);
    assert!(said.contains("260160 parameters") && said.contains("pool2"), "{said}");
    let said: Value = serde_json::from_str(&stdout_of(&["info", "--recipe", "hypercolumn-core", "--json"])).unwrap();
    assert_eq!((&said["features"], &said["taps"][1]["stride"]), (&192.into(), &4.into()));
}

#[test]
fn memory_decides_on_windows_and_what_does_not_suffice_is_told_beforehand() {
    let made = Made::new();
    let (run, out, wide) = (made.path("run"), made.path("out"), made.path("wide.png"));
    stdout_of(&made.training(&run, &["--split", "none"]));
    let color = core();
    RgbImage::from_fn(2400, 40, |x, y| *color.get_pixel(x % 240, y)).save(&wide).unwrap();
    let predict = |more: &[&str], code: i32| {
        let first = ["predict", "--run", &run, "--device", "flex", "--output-path", &out, &wide];
        stderr_of(&[&first[..], more].concat(), code);
        stderr_of(&[&first[..], more].concat(), code)
    };
    let said = predict(&["--memory", "3MiB"], 1);
    assert!(said.contains("wide.png: an image of 2400x40 would take about"), "{said}");
    assert!(said.contains("3 MiB may be used; allow more with --memory"), "{said}");
    // The smallest windows that there are take so much.
    let least: u64 = said.split("about ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    predict(&[], 0);
    let whole = labels_of(&out, "wide");
    predict(&["--memory", &format!("{}MiB", least + 1)], 0);
    assert_eq!(labels_of(&out, "wide"), whole);
    let said = predict(&["--memory", &format!("{}MiB", least + 1), "--tile", "3000"], 1);
    assert!(said.contains("take a smaller --tile"), "{said}");
}

#[test]
fn nothing_of_the_users_is_touched() {
    let made = Made::new();
    let run = made.path("run");
    // Neighbours, and what lies in the run folder without being of a run.
    for name in ["run.new", "run.old", "run.tmp"] {
        fs::create_dir(made.path(name)).unwrap();
        fs::write(made.path(name) + "/mine.txt", "mine").unwrap();
    }
    let cache = made.path("run/features");
    stdout_of(&made.training(&run, &["--split", "none"]));
    stdout_of(&made.training(&run, &["--split", "none", "--overwrite", "--cache-features", &cache]));
    fs::write(made.path("run/mine.txt"), "mine").unwrap();
    stdout_of(&made.training(&run, &["--split", "none", "--overwrite", "--cache-features", &cache]));
    for name in ["run.new/mine.txt", "run.old/mine.txt", "run.tmp/mine.txt", "run/mine.txt"] {
        assert_eq!(fs::read_to_string(made.path(name)).unwrap(), "mine", "{name}");
    }
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
    // A run that cannot be written is told of before anything is computed, and leaves nothing.
    let file = made.path("file");
    fs::write(&file, "mine").unwrap();
    let said = stderr_of(&made.training(&(file.clone() + "/run"), &[]), 1);
    assert!(said.contains("/file/run") && !said.contains("features"), "{said}");
    let said = stderr_of(&made.training(&made.path("other"), &["--cache-features", &(file.clone() + "/cache")]), 1);
    assert!(said.contains("/file/cache") && said.contains("name another folder with --cache-features"), "{said}");
    // An image is not drawn over.
    let first = ["info", "--features", &made.core, "--tap", "pool1", "--channel", "3", "--output"];
    let before = fs::read(&made.core).unwrap();
    let said = stderr_of(&[&first[..], &[&made.core]].concat(), 1);
    assert!(said.contains("would overwrite the input"), "{said}");
    let said = stderr_of(&[&first[..], &["x.jpg"]].concat(), 1);
    assert!(said.contains("a name that ends in .png"), "{said}");
    assert_eq!(fs::read(&made.core).unwrap(), before);
    let said = stderr_of(&[&first[..], &["x.png", "--recipe", "hypercolumn-core", "--width", "3"]].concat(), 2);
    assert!(said.contains("--width"), "{said}");
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
        said.contains("holds the encoder resnet18") && said.contains("the recipe's features are of VGG-16"),
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
    let config: Value = serde_json::from_slice(&bytes(&run, "config.json")).unwrap();
    assert_eq!(config["dataset"]["normalisation"]["kind"], "fixed");
    assert!(scores(&run)["by_pixel"]["mean_f1"].as_f64().unwrap() > 0.9);
}

/// The published task on the real section, with random weights.
#[test]
fn the_real_section_is_learnt() {
    let core = std::env::var_os("SEGTOOL_DATA").map(|data| PathBuf::from(data).join("core"));
    let Some(core) = core.filter(|core| core.is_dir()) else {
        #[allow(clippy::print_stdout)]
        {
            println!("skipped: SEGTOOL_DATA does not name a folder with core/section.png");
        }
        return;
    };
    let folder = tempdir().unwrap();
    let [image, labels, run] =
        [core.join("section.png"), core.join("section_labels.png"), folder.path().join("run")].map(|path| text(&path));
    let first = ["train", "--recipe", "hypercolumn-core", "--images", &image, "--labels", &labels];
    stdout_of(&[&first[..], &["--output-path", &run]].concat());
    let scores = scores(&run);
    let mean = |split: &str| scores[split]["mean_f1"].as_f64().unwrap();
    assert!(mean("by_pixel") >= 0.95, "{}", mean("by_pixel"));
    assert!(mean("by_region") >= 0.85, "{}", mean("by_region"));
}
