//! What forests over hypercolumns predict, and how their features are shown.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage};
use ndarray::{Array2, Array3};
use ndarray_npy::read_npy;
use serde_json::Value;

use crate::common::made_core::{Made, NAMES, core, labels_of, made_run, scores, truth};
use crate::common::{segtool, stderr_of, stdout_of};

#[test]
fn probabilities_and_proportions_are_written() {
    let made = Made::new();
    let (run, out) = (made_run(), made.path("out"));
    assert!(scores(run)["by_region"].is_null() && scores(run)["by_pixel"].is_null());
    let first = ["predict", "--run", run, "--output-path", &out, "--prob", "--prob-all", "--proportions=12"];
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
}

#[test]
fn images_of_any_shape_and_depth_are_classified() {
    let made = Made::new();
    let (run, out) = (made_run(), made.path("out"));
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
    let mut arguments = vec!["predict", "--run", run, "--output-path", &out];
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
    let info = segtool("info").arg("--features", &made.core).arg("--run", &run);
    info.args(&["--tap", "colors", "--channel", "2"]).arg("--output", &image).run();
    assert!(Path::new(&image).exists());
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
        (
            vec!["--tap", "pool1", "--channel", "64"],
            "--channel is 64; it must be below 64: the channels of pool1 of VGG-16 are numbered from 0",
        ),
        (vec!["--tap", "layer1", "--channel", "0"], "--tap is layer1; it must be one of the taps of VGG-16"),
        (
            vec!["--recipe", "unet-demo", "--tap", "pool1", "--channel", "0"],
            "--features takes a recipe of hypercolumns",
        ),
    ] {
        let said = draw(&more, 2);
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
    let (run, out, wide) = (made_run(), made.path("out"), made.path("wide.png"));
    let color = core();
    RgbImage::from_fn(2400, 40, |x, y| *color.get_pixel(x % 240, y)).save(&wide).unwrap();
    let predict = |more: &[&str], code: i32| {
        let first = ["predict", "--run", run, "--device", "flex", "--output-path", &out, &wide];
        stderr_of(&[&first[..], more].concat(), code)
    };
    let said = predict(&["--memory", "3MiB"], 1);
    assert!(said.contains("wide.png, an image of 2400x40, needs about"), "{said}");
    assert!(said.contains("3 MiB may be used; allow more with --memory"), "{said}");
    // The smallest windows that there are take so much.
    let least: u64 = said.split("about ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    predict(&[], 0);
    let whole = labels_of(&out, "wide");
    predict(&["--memory", &format!("{}MiB", least + 1)], 0);
    assert_eq!(labels_of(&out, "wide"), whole);
    let said = predict(&["--memory", &format!("{}MiB", least + 1), "--tile", "3000"], 1);
    assert!(said.contains("use a smaller --tile"), "{said}");
}
