//! Labels of annotation tools: drawn as the tools' own libraries draw them, paired with images by name, and learnt from.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use image::{GrayImage, Luma, Rgb, RgbImage};
use segtool::annotation::{self, Geometry, Shape};
use segtool::base::Size;
use segtool::base::label_map::IGNORE;
use segtool::data::{Dataset, Labels, Pair, load_pair_labels, pair_folders, pair_lists};
use segtool::image::{RawLabels, read_labels};
use serde_json::{Value, json};

use crate::common::{assert_says, fixture_path, read_json, segtool, small_recipe, stdout_of, text};

const SIZE: Size = Size { width: 96, height: 64 };
/// How far outlines of labelme and of pycocotools may be from those that are exact, in pixels: Pillow rounds corners and
/// draws the outline, pycocotools draws at five times the size and rounds.
const OFF: f64 = 1.5;

fn fixture(name: &str) -> PathBuf {
    fixture_path("annotations").join(name)
}

/// The classes of the fixtures, as their generator numbers them.
fn dataset() -> Dataset {
    let text = r#"
        name = "fixtures"
        bands = 1
        normalisation = { kind = "per-image", valid = "all" }
        classes = [
          { name = "background", values = 0, color = [0, 0, 0] },
          { name = "seep", values = 1, color = [255, 0, 0] },
          { name = "ship", values = 2, color = [0, 255, 0] },
          { name = "land", values = 3, color = [0, 0, 255] },
        ]
    "#;
    Dataset::parse(text, Path::new("fixtures.toml")).unwrap()
}

fn golden(name: &str) -> Vec<u16> {
    let RawLabels::Values(size, values) = read_labels(&fixture(name)).unwrap() else { panic!("{name}: no values") };
    assert_eq!(size, SIZE);
    values
}

/// The labels of the fixtures' image, in a file, and its shapes.
fn drawn(name: &str) -> (Vec<u16>, Vec<Shape>) {
    let (path, raster) = (fixture(name), fixture("map.tif"));
    let annotations = annotation::open(&path).unwrap();
    let image = annotations.images[0].name.clone();
    let shapes = annotations.shapes(&annotations.images[0], &raster, SIZE).unwrap().into_owned();
    let pair = Pair { image: raster, label: Labels::Annotated { annotations: path, image } };
    (load_pair_labels(&pair, SIZE, &dataset()).unwrap().classes, shapes)
}

fn differing(drawn: &[u16], golden: &[u16]) -> Vec<[f64; 2]> {
    let differs = (0..drawn.len()).filter(|i| drawn[*i] != golden[*i]);
    differs.map(|i| [(i % SIZE.width) as f64 + 0.5, (i / SIZE.width) as f64 + 0.5]).collect()
}

#[test]
fn polygons_and_masks_are_drawn_as_skimage_rasterio_and_the_tools_draw_them() {
    for (file, image) in [
        ("cvat.xml", "cvat.png"),
        ("label_studio.json", "label_studio.png"),
        ("via.json", "outlines.png"),
        ("via.csv", "outlines.png"),
        ("yolo/labels/scene.txt", "outlines.png"),
        ("map.geojson", "map.png"),
        ("map.shp", "map.png"),
    ] {
        let (drawn, shapes) = drawn(file);
        let off = differing(&drawn, &golden(image));
        // Outlines pass through the centres of four pixels: these skimage counts as inside, two of them being corners, and
        // rasterio gives to one side.
        let most = if image == "map.png" { 0 } else { 3 };
        let on_outline = |at: &[f64; 2]| shapes.iter().any(|shape| from_outline(*at, &shape.geometry) < 1e-6);
        assert!(off.len() <= most && off.iter().all(on_outline), "{file}: {off:?}");
    }
}

/// How far a point is from the outline of a shape.
fn from_outline([x, y]: [f64; 2], geometry: &Geometry) -> f64 {
    let piece = |[a, b]: [[f64; 2]; 2]| {
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let along = (((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
        (x - a[0] - along * dx).hypot(y - a[1] - along * dy)
    };
    let nearest = |pieces: &mut dyn Iterator<Item = [[f64; 2]; 2]>| pieces.map(piece).fold(f64::INFINITY, f64::min);
    match geometry {
        Geometry::Polygon(rings) => nearest(
            &mut rings.iter().flat_map(|ring| ring.iter().zip(ring.iter().cycle().skip(1)).map(|(a, b)| [*a, *b])),
        ),
        Geometry::Line { points, width } => {
            (nearest(&mut points.windows(2).map(|two| [two[0], two[1]])) - width / 2.0).abs()
        }
        Geometry::Ellipse { center, radii } => ((x - center[0]).hypot(y - center[1]) - radii[0]).abs(),
        Geometry::Mask(_) => f64::INFINITY,
    }
}

#[test]
fn labelme_and_pycocotools_differ_along_outlines_alone() {
    // At most these shares of the pixels.
    for (file, image, most) in [("labelme.json", "labelme.png", 0.04), ("coco.json", "coco.png", 0.02)] {
        let (drawn, shapes) = drawn(file);
        let off = differing(&drawn, &golden(image));
        let farthest = off.iter().map(|at| {
            let distance = |shape: &Shape| from_outline(*at, &shape.geometry);
            (shapes.iter().map(distance).fold(f64::INFINITY, f64::min), at)
        });
        for (distance, at) in farthest {
            assert!(distance <= OFF, "{file}: at {at:?}, {distance} pixels from any outline");
        }
        let share = off.len() as f64 / drawn.len() as f64;
        assert!(share <= most, "{file}: {} pixels differ, {share:.4}", off.len());
    }
}

#[test]
fn masks_and_run_lengths_are_those_of_the_tools() {
    // The last shape lies above all others: its pixels are exact.
    for (file, image, class) in [("labelme.json", "labelme.png", 3), ("coco.json", "coco.png", 1)] {
        let (drawn, shapes) = drawn(file);
        let last = shapes.last().unwrap();
        assert!(matches!(last.geometry, Geometry::Mask(_)), "{file}");
        let mask = annotation::draw(std::slice::from_ref(last), SIZE, 0, |_| Ok(1)).unwrap();
        let golden = golden(image);
        for i in (0..mask.len()).filter(|i| mask[*i] == 1) {
            assert_eq!((drawn[i], golden[i]), (class, class), "{file}, pixel {i}");
        }
    }
}

#[test]
fn a_map_in_degrees_says_how_to_convert_it() {
    let (path, raster) = (fixture("degrees.geojson"), fixture("map.tif"));
    let annotations = annotation::open(&path).unwrap();
    let refused = annotations.shapes(&annotations.images[0], &raster, SIZE).unwrap_err().to_string();
    assert_says(&refused, &["EPSG:4326 and EPSG:32631", "ogr2ogr -t_srs EPSG:32631"]);
}

/// A copy of the shapefile of the fixtures under another name.
fn copied_shapefile(folder: &Path, name: &str, ending: impl Fn(&str) -> String) -> PathBuf {
    let path = folder.join(name);
    for own in ["shp", "shx", "dbf", "prj"] {
        fs::copy(fixture("map").with_extension(own), path.with_extension(ending(own))).unwrap();
    }
    path.with_extension(ending("shp"))
}

#[test]
fn a_shapefile_in_capitals_is_read_with_its_table_and_its_reference_system() {
    let folder = tempfile::tempdir().unwrap();
    let path = copied_shapefile(folder.path(), "MAP", str::to_uppercase);
    let [found, expected] = [path, fixture("map.shp")].map(|path| annotation::open(&path).unwrap());
    assert_eq!((&found.images, found.unit), (&expected.images, expected.unit));
}

#[test]
fn shapes_on_a_map_stay_in_memory_until_one_of_their_files_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = copied_shapefile(folder.path(), "map", str::to_owned);
    // A copy: another test may open the file itself meanwhile, and put its own in the place of what is kept.
    let geojson = folder.path().join("map.geojson");
    fs::copy(fixture("map.geojson"), &geojson).unwrap();
    for path in [&path, &geojson] {
        assert!(Arc::ptr_eq(&annotation::open(path).unwrap(), &annotation::open(path).unwrap()), "{path:?}");
    }
    let first = annotation::open(&path).unwrap();
    let table = path.with_extension("dbf");
    let later = fs::metadata(&table).unwrap().modified().unwrap() + Duration::from_secs(3);
    fs::File::options().write(true).open(&table).unwrap().set_modified(later).unwrap();
    assert!(!Arc::ptr_eq(&first, &annotation::open(&path).unwrap()));
}

/// Writes grey images with a bright square each, and returns the labelme file of each.
fn squares(folder: &Path, names: &[&str]) -> Vec<Value> {
    let one = |(i, name): (usize, &&str)| {
        let (left, top) = (4 + 3 * i as u32, 6 + 2 * i as u32);
        let inside = |x: u32, y: u32| (left..left + 12).contains(&x) && (top..top + 10).contains(&y);
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let pixel = |x, y| Luma([if inside(x, y) { 220 } else { 30 + (x * 7 + y * 3) as u8 % 20 }]);
        GrayImage::from_fn(32, 32, pixel).save(&path).unwrap();
        let shape = json!({
            "label": "Square", "shape_type": "rectangle",
            "points": [[left, top], [left + 12, top + 10]],
        });
        json!({ "version": "5.0", "shapes": [shape], "imagePath": name, "imageWidth": 32, "imageHeight": 32 })
    };
    names.iter().enumerate().map(one).collect()
}

const NAMES: [&str; 4] = ["a.png", "b.png", "c.png", "d.png"];

/// A folder of images with labelme files beside them.
fn labelme_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in NAMES.iter().zip(squares(folder.path(), &NAMES)) {
        fs::write(folder.path().join(name).with_extension("json"), value.to_string()).unwrap();
    }
    folder
}

#[test]
fn images_are_paired_by_the_names_in_annotation_files() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    squares(&images, &["x/a.png", "y/a.png", "y/b.png", "z.png"]);
    let coco = |names: &[&str]| {
        let image = |(i, name): (usize, &&str)| json!({ "id": i, "file_name": name, "width": 32, "height": 32 });
        let list: Vec<Value> = names.iter().enumerate().map(image).collect();
        let path = folder.path().join("coco.json");
        let category = json!({ "id": 1, "name": "square" });
        let ring = [[0.0, 0.0, 5.0, 0.0, 5.0, 5.0, 0.0, 5.0]];
        let annotation = json!({ "image_id": 0, "category_id": 1, "segmentation": ring });
        let file = json!({ "images": list, "categories": [category], "annotations": [annotation] });
        fs::write(&path, file.to_string()).unwrap();
        path
    };
    let paired = |names: &[&str]| {
        let notes = std::sync::Mutex::new(Vec::new());
        let sink = |event: segtool::Event| {
            if let segtool::Event::Note(note) = event {
                notes.lock().unwrap().push(note);
            }
        };
        let pairs = pair_folders(&images, &coco(names), &sink).map_err(|e| e.to_string());
        (pairs, notes.into_inner().unwrap().join("\n"))
    };
    // With folders, without, by the stem, and with Label Studio's digits before the name.
    let (pairs, notes) = paired(&["data/x/a.png", "images\\y\\a.png", "b.jpg", "0a1b2c3d-z.png"]);
    let stems: Vec<String> = pairs
        .unwrap()
        .iter()
        .map(|pair| {
            let Labels::Annotated { image, .. } = &pair.label else { panic!("{pair:?}") };
            format!("{} {image}", pair.image.strip_prefix(&images).unwrap().display())
        })
        .collect();
    assert_eq!(
        stems,
        ["x/a.png data/x/a.png", "y/a.png images\\y\\a.png", "y/b.png b.jpg", "z.png 0a1b2c3d-z.png"],
        "{notes}"
    );
    assert_eq!(notes, "");
    let (pairs, notes) = paired(&["z.png", "gone.png"]);
    assert_eq!(pairs.unwrap().len(), 1);
    assert_says(&notes, &["1 of the 2 images that", "(the first is gone.png)", "3 of 4 images are left out"]);
    assert_says(&paired(&["q.png"]).0.unwrap_err(), &["do not match", "'q.png'"]);
    assert_says(&paired(&["a.png"]).0.unwrap_err(), &["have the same name", "names 'a.png'"]);
    assert_says(&paired(&["z.png", "w/z.png"]).0.unwrap_err(), &["twice, as 'z.png' and as 'w/z.png'"]);
}

#[test]
fn folders_of_files_for_one_image_each_and_lists_are_paired() {
    let folder = labelme_folder();
    let pairs = pair_folders(folder.path(), folder.path(), &|_| ()).unwrap();
    assert_eq!(pairs.len(), 4);
    let list = |name: &str, ending: &str| {
        let path = folder.path().join(name);
        let lines: Vec<String> =
            NAMES.iter().map(|name| text(&folder.path().join(name).with_extension(ending))).collect();
        fs::write(&path, lines.join("\n")).unwrap();
        path
    };
    let (images, labels) = (list("images.lst", "png"), list("labels.lst", "json"));
    assert_eq!(pair_lists(&images, &labels, &|_| ()).unwrap(), pairs);
    // YOLO's texts, found by the stems of the images, with the names in a folder above.
    let yolo = folder.path().join("yolo");
    squares(&yolo.join("images"), &["scene.png", "empty.png"]);
    fs::create_dir_all(yolo.join("labels")).unwrap();
    fs::write(yolo.join("labels/empty.txt"), "").unwrap();
    for name in ["data.yaml", "labels/scene.txt"] {
        fs::copy(fixture("yolo").join(name), yolo.join(name)).unwrap();
    }
    let pairs = pair_folders(&yolo.join("images"), &yolo.join("labels"), &|_| ()).unwrap();
    let maps: Vec<Vec<u16>> = pairs
        .iter()
        .map(|pair| load_pair_labels(pair, Size { width: 32, height: 32 }, &dataset()).unwrap().classes)
        .collect();
    assert!(maps[0].iter().all(|class| *class == 0) && maps[1].contains(&2));
}

#[test]
fn what_no_shape_covers_is_background_or_not_labelled() {
    let folder = labelme_folder();
    let pair = &pair_folders(folder.path(), folder.path(), &|_| ()).unwrap()[0];
    let of = |classes: &str| {
        let text = format!("name = 'x'\nbands = 1\nnormalisation = {{ kind = 'per-dataset' }}\nclasses = [{classes}]");
        let dataset = Dataset::parse(&text, Path::new("x.toml")).unwrap();
        load_pair_labels(pair, Size { width: 32, height: 32 }, &dataset).map_err(|e| e.to_string())
    };
    let class = |name: &str, value: u16| format!("{{ name = '{name}', values = {value}, color = [{value}, 0, 0] }}, ");
    let with = of(&(class("background", 0) + &class("square", 1))).unwrap();
    assert_eq!((with.classes[0], with.classes[7 * 32 + 5]), (0, 1));
    let without = of(&(class("Square", 0) + &class("circle", 1))).unwrap();
    assert_eq!((without.classes[0], without.classes[7 * 32 + 5]), (IGNORE, 0));
    let refused = of(&(class("squares", 0) + &class("circle", 1))).unwrap_err();
    assert_says(&refused, &["a.json", "'Square'", "nearest: 'squares'"]);
}

#[test]
fn training_metrics_and_figures_take_the_classes_of_annotations() {
    let folder = labelme_folder();
    let at = |name: &str| text(&folder.path().join(name));
    let (data, run) = (text(folder.path()), at("run"));
    let recipe = small_recipe(folder.path(), 1);
    let said = segtool("train")
        .args(&["--recipe", &recipe, "--images", &data, "--labels", &data, "--val-fraction", "0.25"])
        .args(&["--output-path", &run, "--device", "flex"])
        .says();
    assert_says(&said, &["classes of the annotations: background, Square"]);
    let config = read_json(folder.path().join("run/config.json"));
    assert_eq!(config["dataset"]["bands"], json!(1));
    assert_eq!(config["dataset"]["classes"][1]["name"], json!("Square"));
    // Predictions that are the labels score 1; the class names are the data set.
    let predictions = folder.path().join("predictions");
    fs::create_dir(&predictions).unwrap();
    for pair in pair_folders(folder.path(), folder.path(), &|_| ()).unwrap() {
        let dataset = segtool::data::dataset_of_annotations(std::slice::from_ref(&pair), &|_| ()).unwrap().unwrap();
        let map = load_pair_labels(&pair, Size { width: 32, height: 32 }, &dataset).unwrap();
        let bytes: Vec<u8> = map.classes.iter().map(|class| *class as u8).collect();
        let name = pair.image.file_name().unwrap();
        GrayImage::from_raw(32, 32, bytes).unwrap().save(predictions.join(name)).unwrap();
    }
    let scores = stdout_of(&["metrics", "--predictions", &text(&predictions), "--labels", &data, "--json"]);
    let scores: Value = serde_json::from_str(&scores).unwrap();
    assert_eq!((&scores["images"], &scores["mean_iou"]), (&json!(4), &json!(1.0)), "{scores}");
    let scored = stdout_of(&["metrics", "--run", &run, "--images", &data, "--labels", &data, "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&scored).unwrap()["images"], json!(4));
    let figures = at("figures");
    segtool("concat")
        .args(&["--predictions", &text(&predictions), "--images", &data, "--labels", &data])
        .arg("--output-path", &figures)
        .run();
    assert_eq!(fs::read_dir(&figures).unwrap().count(), 4);
    let refused = segtool("train")
        .args(&["--recipe", &recipe, "--dataset", "camvid", "--images", &data, "--labels", &data])
        .arg("--output-path", at("no"))
        .fails_with(1);
    assert_says(&refused, &["'Square'", "camvid"]);
}

#[test]
fn a_data_set_file_of_the_classes_is_written() {
    let folder = labelme_folder();
    let data = text(folder.path());
    let file = folder.path().join("squares.toml");
    let table = stdout_of(&["dataset", &data, "--images", &data, "--output", &text(&file)]);
    assert_says(&table, &["4 shapes in 4 images, in 4 annotation files", "Square: 4 shapes in 4 images"]);
    let dataset = Dataset::find(&text(&file)).unwrap();
    assert_eq!((dataset.bands, dataset.class_count(), dataset.class_named("square")), (1, 2, Some(1)));
    let coco = stdout_of(&["dataset", &text(&fixture("coco.json")), "--json"]);
    let report: Value = serde_json::from_str(&coco).unwrap();
    assert_eq!(report["classes"].as_array().unwrap().len(), 3);
    assert_eq!(report["dataset"]["classes"][3]["name"], json!("land"));
}

/// Colours are needed below; grey images are not enough for every reader.
#[test]
fn colour_images_give_three_bands() {
    let folder = tempfile::tempdir().unwrap();
    squares(folder.path(), &["a.png"]);
    RgbImage::from_fn(32, 32, |x, y| Rgb([x as u8, y as u8, 9])).save(folder.path().join("a.png")).unwrap();
    let mut file = squares(&folder.path().join("other"), &["a.png"]).remove(0);
    file["shapes"][0]["label"] = json!("__ignore__");
    let shape = json!({ "label": "tree", "shape_type": "circle", "points": [[9, 9], [9, 12]] });
    file["shapes"].as_array_mut().unwrap().push(shape);
    fs::write(folder.path().join("a.json"), file.to_string()).unwrap();
    let pairs = pair_folders(&folder.path().join("a.png"), &folder.path().join("a.json"), &|_| ()).unwrap();
    let dataset = segtool::data::dataset_of_annotations(&pairs, &|_| ()).unwrap().unwrap();
    let names: Vec<&str> = dataset.classes.iter().map(|class| class.name.as_str()).collect();
    assert_eq!((dataset.bands, names), (3, vec!["background", "tree"]));
    let map = load_pair_labels(&pairs[0], Size { width: 32, height: 32 }, &dataset).unwrap();
    assert_eq!([0, 7 * 32 + 15, 9 * 32 + 9].map(|i: usize| map.classes[i]), [0, IGNORE, 1]);
}
