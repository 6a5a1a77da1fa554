//! Pixels without data and sample types, from files to scores, through the program.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{segtool, small_recipe, stderr_of, stdout_of, text};
use segtool::image::read_label_npy;
use tiff::encoder::colortype::{ColorType, Gray8, Gray16, Gray32Float, GrayI16, GrayI32};
use tiff::encoder::{TiffEncoder, TiffValue};
use tiff::tags::Tag;

const SIDE: usize = 32;

/// A scene of two classes, which differ in brightness.
struct Scene {
    samples: Vec<u16>,
    labels: Vec<u8>,
    empty: Vec<bool>,
}

impl Scene {
    fn new(number: usize) -> Self {
        let place = |i: usize| (i % SIDE, i / SIDE);
        let class = |(x, y): (usize, usize)| u8::from((x + number * 3) % 16 < 8 && y > 6);
        let noise = |i: usize| (i * 7919 + number * 104_729) % 37;
        let samples = (0..SIDE * SIDE).map(|i| (300 + 900 * usize::from(class(place(i))) + noise(i)) as u16).collect();
        let labels = (0..SIDE * SIDE).map(|i| class(place(i))).collect();
        let empty = (0..SIDE * SIDE).map(|i| place(i).0 < 5 + number % 3).collect();
        Self { samples, labels, empty }
    }

    /// Samples as floats, `nothing` where there are no data.
    fn floats(&self, nothing: f32) -> Vec<f32> {
        let pixels = self.samples.iter().zip(&self.empty);
        pixels.map(|(sample, empty)| if *empty { nothing } else { f32::from(*sample) }).collect()
    }
}

fn write_tiff<C: ColorType>(path: &Path, samples: &[C::Inner], nodata: Option<&str>)
where
    [C::Inner]: TiffValue,
{
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut encoder = TiffEncoder::new(fs::File::create(path).unwrap()).unwrap();
    let mut image = encoder.new_image::<C>(SIDE as u32, SIDE as u32).unwrap();
    if let Some(nodata) = nodata {
        image.encoder().write_tag(Tag::GdalNodata, nodata).unwrap();
    }
    image.write_data(samples).unwrap();
}

/// A folder with eight scenes below `name`, written by `write`, and their labels.
fn scenes(folder: &Path, name: &str, write: impl Fn(&Path, &Scene)) -> [PathBuf; 2] {
    let [images, labels] = ["images", "labels"].map(|part| folder.join(name).join(part));
    for number in 0..8 {
        let scene = Scene::new(number);
        let file = format!("{number}.tif");
        fs::create_dir_all(&images).unwrap();
        write(&images.join(&file), &scene);
        write_tiff::<Gray8>(&labels.join(file), &scene.labels, None);
    }
    [images, labels]
}

fn dataset(folder: &Path, name: &str, more: &str) -> String {
    let path = folder.join(format!("{name}.toml"));
    let text = format!(
        r#"
name = "{name}"
bands = 1
ignore = [255]
normalisation = {{ kind = "per-dataset" }}
{more}
[[classes]]
name = "dark"
values = 0
color = [0, 0, 0]
[[classes]]
name = "bright"
values = 1
color = [255, 255, 0]
"#
    );
    fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

fn train(folder: &Path, recipe: &str, dataset: &str, [images, labels]: &[PathBuf; 2], run: &str) -> (PathBuf, String) {
    let run = folder.join(run);
    let (images, labels, output) = (text(images), text(labels), text(&run));
    let arguments = ["train", "--recipe", recipe, "--dataset", dataset, "--images", &images, "--labels", &labels];
    let more = ["--val-fraction", "0.25", "--device", "flex", "--output-path", &output];
    let said = stderr_of(&[&arguments[..], &more].concat(), 0);
    (run, said)
}

/// The parameters, without what the file says of the data set.
fn weights(run: &Path) -> Vec<u8> {
    let bytes = fs::read(run.join("model.safetensors")).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    bytes[8 + header as usize..].to_vec()
}

#[test]
fn nodata_is_the_same_whether_file_data_set_or_nan_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let recipe = small_recipe(folder, 6);
    let plain = dataset(folder, "plain", "");
    let nan = scenes(folder, "nan", |path, scene| write_tiff::<Gray32Float>(path, &scene.floats(f32::NAN), None));
    let tagged = scenes(folder, "tag", |path, scene| {
        write_tiff::<Gray32Float>(path, &scene.floats(-9999.0), Some("-9999"));
    });
    let declared = scenes(folder, "declared", |path, scene| {
        write_tiff::<Gray32Float>(path, &scene.floats(-9999.0), None);
    });
    let (run, said) = train(folder, &recipe, &plain, &nan, "run_nan");
    // The mean of the scenes, not of what fills them up.
    assert!(
        said.contains("normalisation measured: mean 6") || said.contains("normalisation measured: mean 7"),
        "{said}"
    );
    let expected = weights(&run);
    assert!(weights(&train(folder, &recipe, &plain, &tagged, "run_tag").0) == expected);
    let named = dataset(folder, "named", "nodata = [-9999]");
    assert!(weights(&train(folder, &recipe, &named, &declared, "run_declared").0) == expected);
    // Nothing but background is predicted well enough to matter here; what counts is where nothing is predicted.
    let out = folder.join("out");
    let scene = text(&tagged[0].join("0.tif"));
    stdout_of(&["predict", "--run", &text(&run), "--prob", "--overlay", "--output-path", &text(&out), &scene]);
    let (_, values) = read_label_npy(&out.join("0.npy")).unwrap();
    let unlabelled: Vec<bool> = values.iter().map(|value| *value == 255).collect();
    assert_eq!(unlabelled, Scene::new(0).empty);
    let overlay = image::open(out.join("0_overlay.png")).unwrap().to_rgb8();
    assert_eq!(overlay.get_pixel(0, 0).0, [255; 3], "pixels without data are blank");
    assert!(overlay.pixels().any(|pixel| pixel.0[0] < 128), "the stretch is over pixels with data");
    // They take no part in scores: as many pixels count as hold data.
    let metrics = segtool("metrics").arg("--run", &run).arg("--images", &tagged[0]).arg("--labels", &tagged[1]);
    let scored = metrics.flag("--json").run();
    let scored: serde_json::Value = serde_json::from_str(&scored).unwrap();
    let with_data: usize = (0..8).map(|i| Scene::new(i).empty.iter().filter(|empty| !**empty).count()).sum();
    assert_eq!(scored["pixels"], with_data);
}

#[test]
fn the_same_numbers_in_another_sample_type_give_the_same_prediction() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let recipe = small_recipe(folder, 8);
    let plain = dataset(folder, "plain", "");
    let words = scenes(folder, "words", |path, scene| write_tiff::<Gray16>(path, &scene.samples, None));
    let (run, _) = train(folder, &recipe, &plain, &words, "run");
    let scene = Scene::new(20);
    let wide: Vec<i32> = scene.samples.iter().map(|&sample| sample.into()).collect();
    let file = |name: &str| folder.join(name);
    write_tiff::<Gray16>(&file("uint16.tif"), &scene.samples, None);
    write_tiff::<GrayI16>(&file("int16.tif"), &wide.iter().map(|&v| v as i16).collect::<Vec<_>>(), None);
    write_tiff::<GrayI32>(&file("int32.tif"), &wide, None);
    write_tiff::<Gray32Float>(&file("float32.tif"), &wide.iter().map(|&v| v as f32).collect::<Vec<_>>(), None);
    let out = folder.join("out");
    let names = ["uint16", "int16", "int32", "float32"];
    let paths: Vec<String> = names.iter().map(|name| text(&file(&format!("{name}.tif")))).collect();
    let mut arguments = vec!["predict".to_owned(), "--run".into(), text(&run), "--output-path".into(), text(&out)];
    arguments.extend(paths);
    let said = stderr_of(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), 0);
    assert!(said.contains("int16 image, but the training images were uint16: its values are used unchanged"), "{said}");
    let predicted = |name: &str| read_label_npy(&out.join(format!("{name}.npy"))).unwrap().1;
    let expected = predicted("uint16");
    assert!(expected.contains(&0) && expected.contains(&1), "the network learnt to tell the classes");
    for name in &names[1..] {
        assert!(predicted(name) == expected, "{name}");
    }
}

#[test]
fn a_normalisation_in_numbers_up_to_255_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let recipe = small_recipe(folder, 1);
    let path = dataset(folder, "caffe", "");
    let wrong = fs::read_to_string(&path)
        .unwrap()
        .replace(r#"{ kind = "per-dataset" }"#, r#"{ kind = "fixed", mean = [123.675], std = [58.395] }"#);
    fs::write(&path, wrong).unwrap();
    let bytes = scenes(folder, "bytes", |path, scene| {
        write_tiff::<Gray8>(path, &scene.samples.iter().map(|&sample| (sample / 8) as u8).collect::<Vec<_>>(), None);
    });
    let [images, labels] = bytes.map(|path| text(&path));
    let output = text(&folder.join("run"));
    let arguments = ["train", "--recipe", &recipe, "--dataset", &path, "--images", &images, "--labels", &labels];
    let said = stderr_of(&[&arguments[..], &["--val-fraction", "0.25", "--output-path", &output]].concat(), 2);
    assert!(said.contains("write mean = [0.4850], std = [0.2290]"), "{said}");
    assert!(!folder.join("run").exists());
}

#[test]
fn labels_that_are_negative_or_nan_can_mean_not_labelled() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let truth: Vec<i32> = (0..SIDE * SIDE).map(|i| if i % 7 == 0 { -1 } else { (i % 2) as i32 }).collect();
    let predicted: Vec<u8> = (0..SIDE * SIDE).map(|i| (i % 2) as u8).collect();
    write_tiff::<Gray8>(&folder.join("predicted.tif"), &predicted, None);
    write_tiff::<GrayI16>(&folder.join("minus_one.tif"), &truth.iter().map(|&v| v as i16).collect::<Vec<_>>(), None);
    let other = |value: i32| move |&v: &i32| if v < 0 { value } else { v };
    write_tiff::<GrayI32>(
        &folder.join("nodata.tif"),
        &truth.iter().map(other(-9999)).collect::<Vec<_>>(),
        Some("-9999"),
    );
    write_tiff::<GrayI32>(&folder.join("listed.tif"), &truth.iter().map(other(-32768)).collect::<Vec<_>>(), None);
    let nan: Vec<f32> = truth.iter().map(|&v| if v < 0 { f32::NAN } else { v as f32 }).collect();
    write_tiff::<Gray32Float>(&folder.join("nan.tif"), &nan, None);
    let dataset = dataset(folder, "signed", "");
    let changed = fs::read_to_string(&dataset).unwrap().replace("ignore = [255]", r#"ignore = [-1, -32768, "nan"]"#);
    fs::write(&dataset, changed).unwrap();
    let lists = [folder.join("p.txt"), folder.join("l.txt")];
    fs::write(&lists[0], "predicted.tif\n").unwrap();
    let [predictions, labels] = lists.map(|list| text(&list));
    for name in ["minus_one", "nodata", "listed", "nan"] {
        fs::write(folder.join("l.txt"), format!("{name}.tif\n")).unwrap();
        let arguments =
            ["metrics", "--list-predict", &predictions, "--list-true", &labels, "--dataset", &dataset, "--json"];
        let report = stdout_of(&arguments);
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["pixel_accuracy"], 1.0, "{name}");
    }
}
