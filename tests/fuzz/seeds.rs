//! Small sound files that are no images, made here or taken from the fixtures.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use ndarray::{Array2, Array3, ShapeBuilder};
use ndarray_npy::{WritableElement, WriteNpyExt};
use segtool::data::{ClassPresence, Dataset};
use segtool::metric::{BoundaryWidth, ConfusionMatrix, Tally};
use segtool::nn::device::DeviceChoice;
use segtool::pixels::forest::{Features, Outcome, Settings, Watch, fit};
use segtool::recipe::{ForestRecipe, NetworkRecipe, Recipe};
use segtool::run::{ForestRunConfig, NetworkRun, NetworkRunConfig, Samples};
use segtool::tools::score::Partial;
use segtool::weights::save;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Whether `read` takes a file of these bytes.
pub(crate) fn is_sound(bytes: &[u8], read: impl Fn(&Path) -> bool) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.image");
    fs::write(&path, bytes).unwrap();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(&path))).unwrap_or(false)
}

/// What `write` writes to a file.
fn written(name: &str, write: impl FnOnce(&Path)) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    write(&path);
    fs::read(path).unwrap()
}

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

pub(crate) fn fixture(name: &str) -> Vec<u8> {
    fs::read(root().join("tests/fixtures").join(name)).unwrap()
}

fn map<T: WritableElement>(value: impl Fn(usize) -> T, fortran: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let at = |(row, column): (usize, usize)| value(row * 5 + column);
    Array2::from_shape_fn((4, 5).set_f(fortran), at).write_npy(&mut bytes).unwrap();
    bytes
}

pub(crate) fn arrays() -> Vec<Vec<u8>> {
    let labels = map(|i| (i % 3) as u8, false);
    let mut image = Vec::new();
    Array3::from_shape_fn((3, 4, 5), |(band, row, _)| (band * row) as u16).write_npy(&mut image).unwrap();
    let archive = |method: CompressionMethod| {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in [("image.npy", &image), ("label.npy", &labels)] {
            zip.start_file(name, SimpleFileOptions::default().compression_method(method)).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    };
    let archives = [CompressionMethod::Stored, CompressionMethod::Deflated].map(archive);
    let shares = map(|i| i as f32 / 20.0, false);
    let maps = [labels.clone(), map(|i| i as i64 % 3 - 1, true), map(|i| i as f64 / 30.0, true), shares];
    [maps.to_vec(), vec![image.clone()], archives.to_vec()].concat()
}

pub(crate) fn lists() -> Vec<Vec<u8>> {
    let lists = ["a.png\nb.png\n", "\u{feff}# images\r\n\r\nfolder/a b.jpg\r\n", "/x/y.tif\n\"q u.png\"\n"];
    lists.map(|text| text.as_bytes().to_vec()).to_vec()
}

/// The files of a folder of the project that end in .toml.
fn texts(folder: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

pub(crate) fn data_sets() -> Vec<Vec<u8>> {
    // The largest has 150 classes, and would take most of the time.
    texts("datasets").into_iter().filter(|text| text.len() < 6000).collect()
}

pub(crate) fn recipes() -> Vec<Vec<u8>> {
    let mut recipes = texts("models");
    // The list of weights to download.
    recipes.retain(|text| !text.windows(6).any(|word| word == b"sha256"));
    recipes
}

pub(crate) fn label_tables() -> Vec<Vec<u8>> {
    let image = root().join("README.md");
    let image = image.display();
    [
        format!("file,x,y,class\n{image},3,4,sand\n{image},0,0,2\n"),
        format!("class;file;x0;y0;x1;y1\nsalt;{image};1;2;30;40\n;;;;;\nfault;{image};99;59;0;0\n"),
        format!("\u{feff}File\tX\tY\tClass\tNote\r\n\"{image}\"\t7\t8\tshale\t\"two\nlines\"\r\n"),
    ]
    .map(String::into_bytes)
    .to_vec()
}

pub(crate) fn annotations() -> Vec<Vec<u8>> {
    let files = ["labelme.json", "coco.json", "label_studio.json", "via.json", "map.geojson", "cvat.xml", "via.csv"];
    files.map(|name| fixture(&format!("annotations/{name}"))).to_vec()
}

pub(crate) fn checkpoints() -> Vec<Vec<u8>> {
    ["zip", "legacy", "whole", "odd"].map(|kind| fixture(&format!("unet_seeps_{kind}.pth"))).to_vec()
}

pub(crate) fn safetensors() -> Vec<Vec<u8>> {
    let mut config = run_config();
    config.recipe.network.set_width(1);
    let network = config.recipe.network.init(0, &DeviceChoice::Flex.open().unwrap()).unwrap();
    let own = written("a.safetensors", |path| save(&network, &config.description(), path).unwrap());
    vec![own, fixture("unet_seeps_weights.safetensors")]
}

fn fitted(recipe: &str, dataset: &str) -> (NetworkRecipe, Dataset) {
    let mut recipe = NetworkRecipe::find(recipe).unwrap();
    let dataset = recipe.fit(&Dataset::find(dataset).unwrap()).unwrap();
    (recipe, dataset)
}

fn run_config() -> NetworkRunConfig {
    let (recipe, dataset) = fitted("unet-demo", "demo");
    NetworkRunConfig {
        version: "0.1.0".into(),
        seed: 1,
        device: "flex".into(),
        weights: Vec::new(),
        started: None,
        class_weights: None,
        recipe,
        dataset,
    }
}

pub(crate) fn runs() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let samples = Samples { train: Vec::new(), validation: Vec::new(), presence: ClassPresence::default() };
    NetworkRun::create(folder.path(), run_config(), &samples).unwrap();
    let of_forest = ForestRunConfig {
        version: "0.1.0".into(),
        seed: 1,
        device: "flex".into(),
        weights: Vec::new(),
        started: Some("2026-01-31T23:59:59Z".into()),
        class_weights: None,
        recipe: forest_recipe(),
        dataset: Dataset::find("core").unwrap(),
    };
    vec![fs::read(folder.path().join("config.json")).unwrap(), serde_json::to_vec_pretty(&of_forest).unwrap()]
}

fn forest_recipe() -> ForestRecipe {
    match Recipe::find("hypercolumn-core").unwrap() {
        Recipe::Forest(recipe) => *recipe,
        Recipe::Network(_) => unreachable!("it is a forest's"),
    }
}

pub(crate) fn partials() -> Vec<Vec<u8>> {
    let dataset = Dataset::find("demo").unwrap();
    let classes = dataset.class_count();
    let partial = |width: Option<BoundaryWidth>| {
        let mut tally = Tally::new(classes, width);
        let mut image = ConfusionMatrix::new(classes);
        image.add(&[0, 1, 2, 3, 3], &[0, 1, 1, 3, 2]);
        tally.take(&mut image);
        written("a.json", |path| {
            Partial::new("segtool".into(), dataset.clone(), tally).write(path).unwrap();
        })
    };
    vec![partial(None), partial(Some(BoundaryWidth::Pixels(2)))]
}

pub(crate) fn forests() -> Vec<Vec<u8>> {
    let values: Vec<f32> = (0..120u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as f32).collect();
    let labels: Vec<u16> = (0..40).map(|i| (i * 7 % 3) as u16).collect();
    let settings = Settings { trees: 3, max_depth: Some(4), ..Settings::default() };
    let watch = Watch { progress: &|_| (), stop: &AtomicBool::new(false) };
    let Outcome::Finished(fitted) = fit(&Features::rows(&values, 3).unwrap(), &labels, 3, &settings, watch).unwrap()
    else {
        unreachable!("nobody stopped it")
    };
    let mut bytes = Vec::new();
    fitted.forest.write(&mut bytes).unwrap();
    vec![bytes]
}
