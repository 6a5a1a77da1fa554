//! `segtool convert`: every format and back gives the same label map.

use std::fs;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use segtool::data::Dataset;
use segtool::image::{RawLabels, read_labels};
use serde_json::json;

use crate::common::{Segtool, assert_says, fixture_path, read_json, segtool, stderr_of, stdout_of, text};

const WIDTH: u32 = 96;
const HEIGHT: u32 = 64;

/// Label maps with regions in regions, holes, single pixels and pixels that touch at corners; 255 is not labelled.
fn ragged(seed: u64, values: &[u8]) -> GrayImage {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut map = GrayImage::from_pixel(WIDTH, HEIGHT, Luma([values[0]]));
    for _ in 0..60 {
        let (x, y) = (rng.random_range(0..WIDTH), rng.random_range(0..HEIGHT));
        let (width, height) = (rng.random_range(1..24), rng.random_range(1..18));
        let value = values[rng.random_range(0..values.len())];
        for (x, y) in (x..WIDTH.min(x + width)).flat_map(|x| (y..HEIGHT.min(y + height)).map(move |y| (x, y))) {
            if rng.random_bool(0.97) {
                map.put_pixel(x, y, Luma([value]));
            }
        }
    }
    map
}

struct Setting {
    folder: tempfile::TempDir,
    dataset: String,
}

impl Setting {
    /// Two images, one in a folder below, with label maps, and a data set with or without a background.
    fn new(background: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (seed, name) in [(1, "a"), (2, "b")] {
            for part in ["images", "masks"] {
                fs::create_dir_all(at(part)).unwrap();
            }
            fs::copy(fixture_path("annotations/map.tif"), at(&format!("images/{name}.tif"))).unwrap();
            let values: &[u8] = if background { &[0, 1, 2, 3, 255] } else { &[1, 2, 3, 255] };
            ragged(seed, values).save(at(&format!("masks/{name}.png"))).unwrap();
        }
        let first = if background { "  { name = \"background\", values = 0, color = [0, 0, 0] },\n" } else { "" };
        let file = format!(
            "name = \"made\"\nbands = 1\nignore = [255]\nnormalisation = {{ kind = \"per-dataset\" }}\nclasses = [\n{first}  \
             {{ name = \"seep\", values = 1, color = [255, 0, 0] }},\n  {{ name = \"a <b> & 'c'\", values = 2, color = [0, 255, 0] \
             }},\n  {{ name = \"land\", values = 3, color = [0, 0, 255] }},\n]\n"
        );
        fs::write(at("made.toml"), file).unwrap();
        let dataset = text(&at("made.toml"));
        Self { folder, dataset }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn convert(&self, labels: &str, to: &str, output: &str) -> Segtool {
        let convert = segtool("convert").file(self.at(labels)).arg("--images", self.at("images"));
        convert.args(&["--dataset", &self.dataset, "--to", to]).arg("--output", self.at(output))
    }
}

fn values(path: &Path) -> Vec<u16> {
    let RawLabels::Values(_, values) = read_labels(path).unwrap() else { panic!("no values") };
    values
}

#[test]
fn every_format_and_back_gives_the_same_label_map() {
    for background in [true, false] {
        let setting = Setting::new(background);
        for (to, output) in [
            ("labelme", "labelme"),
            ("coco", "coco.json"),
            ("cvat", "cvat.xml"),
            ("label-studio", "tasks.json"),
            ("geojson", "geojson"),
            ("npy", "npy"),
        ] {
            setting.convert("masks", to, output).run();
            let back = format!("back-{to}");
            setting.convert(output, "png", &back).run();
            for name in ["a.png", "b.png"] {
                let [original, again] = ["masks", &back].map(|folder| values(&setting.at(folder).join(name)));
                let differ = original.iter().zip(&again).filter(|(a, b)| a != b).count();
                assert_eq!(differ, 0, "{to}, background {background}, {name}: {differ} pixels");
            }
        }
    }
}

#[test]
fn annotations_become_label_maps_of_the_classes_that_they_name() {
    let folder = tempfile::tempdir().unwrap();
    let (output, raster) = (folder.path().join("maps"), folder.path().join("scene.tif"));
    fs::copy(fixture_path("annotations/map.tif"), &raster).unwrap();
    for (file, golden) in
        [("cvat.xml", "cvat.png"), ("map.geojson", "map.png"), ("label_studio.json", "label_studio.png")]
    {
        let labels = text(&fixture_path("annotations").join(file));
        let said = segtool("convert")
            .args(&[&labels, "--images", &text(&raster), "--to", "png", "--output", &text(&output), "--overwrite"])
            .says();
        assert_says(&said, &["classes of the annotations: background, seep, ship, land"]);
        let (drawn, golden) = (values(&output.join("scene.png")), values(&fixture_path("annotations").join(golden)));
        // Two corners lie on the centre of a pixel, which skimage counts as inside.
        let off = drawn.iter().zip(&golden).filter(|(a, b)| a != b).count();
        assert_eq!(off, if file == "map.geojson" { 0 } else { 2 }, "{file}");
    }
}

#[test]
fn simplified_outlines_have_fewer_points_and_are_a_little_off() {
    let setting = Setting::new(true);
    let (map, size) = (setting.at("masks/a.png"), (WIDTH, HEIGHT));
    fs::remove_file(setting.at("masks/b.png")).unwrap();
    fs::remove_file(setting.at("images/b.tif")).unwrap();
    let disk = GrayImage::from_fn(size.0, size.1, |x, y| {
        let (dx, dy) = (f64::from(x) - 40.0, f64::from(y) - 30.0);
        Luma([u8::from(dx * dx + dy * dy < 500.0)])
    });
    disk.save(&map).unwrap();
    let points = |simplify: &[&str], output: &str| {
        setting.convert("masks", "coco", output).args(simplify).run();
        let file = read_json(setting.at(output));
        file["annotations"][0]["segmentation"][0].as_array().unwrap().len()
    };
    let (exact, simple) = (points(&[], "exact.json"), points(&["--simplify", "1"], "simple.json"));
    assert!(simple * 3 < exact, "{simple} of {exact} numbers");
    setting.convert("simple.json", "png", "back").run();
    let off = values(&map).iter().zip(values(&setting.at("back/a.png"))).filter(|(a, b)| **a != *b).count();
    assert!(off > 0 && off < 150, "{off} pixels");
}

#[test]
fn predictions_of_a_run_are_read_with_its_data_set() {
    let setting = Setting::new(true);
    // As predictions lie: an array, and pictures of it.
    setting.convert("masks", "npy", "predictions").run();
    fs::copy(setting.at("masks/a.png"), setting.at("predictions/a_color.png")).unwrap();
    setting.convert("predictions", "coco", "coco.json").run();
    let file = read_json(setting.at("coco.json"));
    assert_eq!(file["images"].as_array().unwrap().len(), 2);
    assert_eq!(file["categories"][0], json!({ "id": 1, "name": "seep", "supercategory": "" }));
}

#[test]
fn folders_of_masks_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for id in ["x", "y"] {
        fs::create_dir_all(at(&format!("root/{id}/images"))).unwrap();
        fs::create_dir_all(at(&format!("root/{id}/masks"))).unwrap();
        GrayImage::from_pixel(20, 10, Luma([90])).save(at(&format!("root/{id}/images/{id}.png"))).unwrap();
    }
    for mask in 0..2 {
        let inside = |x: u32| Luma([if x / 4 == 1 + 2 * mask { 255 } else { 0 }]);
        GrayImage::from_fn(20, 10, |x, _| inside(x)).save(at(&format!("root/x/masks/{mask}.png"))).unwrap();
    }
    let convert = |to: &str, output: &str| {
        let (root, output) = (text(&at("root")), text(&at(output)));
        stdout_of(&["convert", "--mask-folders", &root, "--dataset", "earthquake", "--to", to, "--output", &output]);
    };
    convert("npy", "maps");
    let row = &values(&at("maps/x/images/x.npy"))[..20];
    assert_eq!(
        row.iter().map(|value| u8::from(*value > 0)).collect::<Vec<_>>(),
        [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]
    );
    assert!(values(&at("maps/y/images/y.npy")).iter().all(|value| *value == 0));
    convert("coco", "coco.json");
    let file = read_json(at("coco.json"));
    assert_eq!(
        (file["images"][0]["file_name"].as_str(), file["annotations"].as_array().unwrap().len()),
        (Some("x/images/x.png"), 2)
    );
    let both = [&text(&at("root")), "--images", &text(&at("root")), "--mask-folders", &text(&at("root"))];
    let more = ["--to", "npy", "--output", &text(&at("no"))];
    assert_says(&stderr_of(&[&["convert"], &both[..], &more].concat(), 2), &["--mask-folders", "cannot be used with"]);
}

#[test]
fn what_cannot_be_converted_says_why() {
    let setting = Setting::new(true);
    let [masks, images] = ["masks", "images"].map(|name| text(&setting.at(name)));
    let refused = |arguments: &[&str], code: i32| {
        let mut all = vec!["convert", masks.as_str(), "--images", &images];
        all.extend(arguments);
        stderr_of(&all, code)
    };
    let output = text(&setting.at("out"));
    assert_says(
        &refused(&["--to", "png", "--output", &output], 2),
        &["label images need --dataset", "segtool dataset"],
    );
    let dataset = ["--dataset", setting.dataset.as_str()];
    let refused_with = |arguments: &[&str], code| refused(&[&dataset, arguments].concat(), code);
    assert_says(&refused_with(&["--to", "yolo", "--output", &output], 2), &["yolo", "label-studio"]);
    assert_says(
        &refused_with(&["--to", "png", "--output", &output, "--simplify", "1"], 2),
        &["no effect on label maps"],
    );
    assert_says(&refused_with(&["--to", "coco", "--output", &images], 2), &["is a folder", "one file"]);
    // Found before the work, in which an image without a size would be named.
    let raster = setting.at("images/b.tif");
    let before = fs::read(&raster).unwrap();
    fs::write(&raster, "damaged").unwrap();
    let said = refused_with(&["--to", "coco", "--output", &text(&setting.at("made.toml/coco.json"))], 1);
    assert!(said.contains("cannot write") && !said.contains("skipped"), "{said}");
    fs::write(&raster, before).unwrap();
    assert_says(&refused_with(&["--to", "png", "--output", &masks], 1), &["is also an input"]);
    setting.convert("masks", "png", "out").run();
    assert_says(&refused_with(&["--to", "png", "--output", &output], 1), &["exists", "--overwrite"]);
    let plain = setting.at("plain");
    fs::create_dir(&plain).unwrap();
    GrayImage::new(WIDTH, HEIGHT).save(plain.join("a.png")).unwrap();
    let said = segtool("convert")
        .file(setting.at("masks/a.png"))
        .arg("--images", plain.join("a.png"))
        .args(&["--dataset", &setting.dataset, "--to", "geojson"])
        .arg("--output", setting.at("map"))
        .fails_with(1);
    assert_says(&said, &["has no place on the map", "labelme or coco"]);
    assert_eq!(Dataset::find(&setting.dataset).unwrap().class_count(), 4);
}
