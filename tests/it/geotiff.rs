//! GeoTIFFs of label maps: coordinates copied as they are, pixels as in the array, overviews, palette and names.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use segtool::base::Size;
use segtool::image::{RawLabels, read_label_npy, read_labels};
use segtool::predict::{JOURNAL, RECORD};
use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype::Gray8;
use tiff::tags::Tag;

use crate::common::{Segtool, assert_says, segtool, small_data, small_recipe, stdout_of, text};

pub(crate) const SCALE: u16 = 33550;
pub(crate) const TIEPOINT: u16 = 33922;
pub(crate) const TRANSFORMATION: u16 = 34264;
pub(crate) const KEYS: u16 = 34735;
const DOUBLES: u16 = 34736;
const TEXT: u16 = 34737;
pub(crate) const NODATA: u16 = 42113;
const ORIENTATION: u16 = 274;
const GEOGRAPHY: [u16; 6] = [SCALE, TIEPOINT, TRANSFORMATION, KEYS, DOUBLES, TEXT];
const TILE: usize = 512;
/// The data set `demo`.
const COLORS: [[u16; 3]; 4] = [[70, 84, 104], [244, 196, 84], [214, 110, 166], [226, 72, 61]];

/// A folder with data, and what is written with a run, which is trained once for all tests.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
    run: PathBuf,
}

impl Bench {
    fn new() -> Self {
        static FIRST: LazyLock<Bench> = LazyLock::new(|| Bench::trained(1));
        Self::with(&FIRST.run)
    }

    /// With a network that tells classes apart.
    pub(crate) fn learnt() -> Self {
        static FIRST: LazyLock<Bench> = LazyLock::new(|| Bench::trained(20));
        Self::with(&FIRST.run)
    }

    fn with(run: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        small_data(folder.path());
        Self { folder, run: run.to_owned() }
    }

    /// With a network that was trained this long.
    fn trained(epochs: usize) -> Self {
        let mut bench = Self::with(Path::new("run"));
        bench.run = bench.at("run");
        let recipe = small_recipe(bench.folder.path(), epochs);
        let [images, labels, run] = ["data/images", "data/labels", "run"].map(|name| text(&bench.at(name)));
        let train = ["train", "--recipe", &recipe, "--images", &images, "--labels", &labels, "--output-path", &run];
        stdout_of(&[&train[..], &["--device", "flex"]].concat());
        bench
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn predict(&self, output: &str) -> Segtool {
        segtool("predict").arg("--run", &self.run).arg("--output-path", self.at(output)).args(&["--device", "flex"])
    }

    /// Names of the files of a folder, without the record and the journal.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.at(folder)).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| ![RECORD, JOURNAL].contains(&name.as_str()));
        names.sort();
        names
    }
}

fn sample(x: usize, y: usize) -> u8 {
    let wave = (x / 37 + y / 23) % 5 * 40;
    (wave + (x * 7919 + y * 104_729) % 37 + 10) as u8
}

/// What a tag of an input holds.
pub(crate) enum Value<'a> {
    Shorts(&'a [u16]),
    Doubles(&'a [f64]),
    Text(&'a str),
}

/// A grey image with these tags; the first columns are 0.
pub(crate) fn write_scene(path: &Path, Size { width, height }: Size, tags: &[(u16, Value<'_>)]) {
    let samples: Vec<u8> =
        (0..width * height).map(|i| if i % width < 9 { 0 } else { sample(i % width, i / width) }).collect();
    let mut encoder = TiffEncoder::new(fs::File::create(path).unwrap()).unwrap();
    let mut image = encoder.new_image::<Gray8>(width as u32, height as u32).unwrap();
    for (code, value) in tags {
        let tag = Tag::from_u16_exhaustive(*code);
        match value {
            Value::Shorts(values) => image.encoder().write_tag(tag, *values),
            Value::Doubles(values) => image.encoder().write_tag(tag, *values),
            Value::Text(text) => image.encoder().write_tag(tag, *text),
        }
        .unwrap();
    }
    image.write_data(&samples).unwrap();
}

/// Pages of a little-endian TIFF: type, count and bytes of each tag.
type Page = BTreeMap<u16, (u16, usize, Vec<u8>)>;

fn pages(bytes: &[u8]) -> Vec<Page> {
    let number =
        |at: usize, size: usize| bytes[at..at + size].iter().rev().fold(0, |sum, &b| sum << 8 | usize::from(b));
    assert_eq!(&bytes[..4], b"II*\0");
    let (mut pages, mut at) = (Vec::new(), number(4, 4));
    while at != 0 {
        let count = number(at, 2);
        let entries = (0..count).map(|i| at + 2 + 12 * i);
        let page = entries.map(|entry| {
            let (kind, count) = (number(entry + 2, 2) as u16, number(entry + 4, 4));
            let length = count * [1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8][usize::from(kind) - 1];
            let start = if length <= 4 { entry + 8 } else { number(entry + 8, 4) };
            (number(entry, 2) as u16, (kind, count, bytes[start..start + length].to_vec()))
        });
        pages.push(page.collect());
        at = number(at + 2 + 12 * count, 4);
    }
    pages
}

/// The numbers of a tag of 16 or 32 bits.
fn numbers(page: &Page, code: u16) -> Vec<usize> {
    let (kind, _, bytes) = &page[&code];
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
    bytes.chunks_exact(if *kind == 3 { 2 } else { 4 }).map(number).collect()
}

fn size_of(page: &Page) -> Size {
    Size { width: numbers(page, 256)[0], height: numbers(page, 257)[0] }
}

/// Pixels of a page of 8-bit tiles, as they are stored.
fn pixels(file: &[u8], page: &Page) -> Vec<u8> {
    let Size { width, height } = size_of(page);
    assert_eq!((numbers(page, 322), numbers(page, 323), numbers(page, 259)), (vec![TILE], vec![TILE], vec![8]));
    let mut pixels = vec![0; width * height];
    for (i, (offset, count)) in numbers(page, 324).into_iter().zip(numbers(page, 325)).enumerate() {
        let mut tile = Vec::new();
        flate2::read::ZlibDecoder::new(&file[offset..offset + count]).read_to_end(&mut tile).unwrap();
        assert_eq!(tile.len(), TILE * TILE);
        let across = width.div_ceil(TILE);
        let (left, top) = (i % across * TILE, i / across * TILE);
        for y in top..height.min(top + TILE) {
            for x in left..width.min(left + TILE) {
                pixels[y * width + x] = tile[(y - top) * TILE + x - left];
            }
        }
    }
    pixels
}

/// The most frequent values of 2x2 pixels; any of those that are equally frequent will do.
fn assert_modes(size: Size, fine: &[u8], coarse: &[u8], nodata: u8) {
    let width = size.width.div_ceil(2);
    assert_eq!(coarse.len(), width * size.height.div_ceil(2));
    for (i, &found) in coarse.iter().enumerate() {
        let (x, y) = (i % width * 2, i / width * 2);
        let corners = [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)];
        let inside = corners.into_iter().filter(|(x, y)| *x < size.width && *y < size.height);
        let all: Vec<u8> = inside.map(|(x, y)| fine[y * size.width + x]).collect();
        let data: Vec<u8> = all.iter().copied().filter(|value| *value != nodata).collect();
        let votes = if data.is_empty() { &all } else { &data };
        let count = |value: u8| votes.iter().filter(|vote| **vote == value).count();
        assert_eq!(count(found), votes.iter().map(|vote| count(*vote)).max().unwrap(), "at {x}, {y}");
    }
}

pub(crate) fn npy_values(path: &Path) -> (Size, Vec<u16>) {
    read_label_npy(path).unwrap()
}

/// Label values of a TIFF, whichever way they are held.
fn tiff_values(path: &Path) -> Vec<u16> {
    match read_labels(path).unwrap() {
        RawLabels::Values(_, values) => values,
        RawLabels::Numbers(labels) => labels.values.into_iter().map(|value| value as u16).collect(),
        RawLabels::Colors(..) => panic!("colours"),
    }
}

const SCENE: Size = Size { width: 1100, height: 530 };
pub(crate) const SMALL: Size = Size { width: 40, height: 33 };
pub(crate) const UTM: &[u16] = &[1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633];
const OWN_KEYS: &[u16] = &[
    1, 1, 0, 6, 1024, 0, 1, 2, 1025, 0, 1, 1, 2048, 0, 1, 32767, 2049, 34737, 60, 0, 2057, 34736, 1, 0, 2059, 34736, 1,
    1,
];
const OWN_TEXT: &str = "GCS Name = unknown|Datum = mine|Ellipsoid = 1|Primem = zero||";
pub(crate) const ROTATED: &[f64] =
    &[8.66, 5.0, 0.0, 500_000.123, 5.0, -8.66, 0.0, 5_200_000.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];

#[test]
fn coordinates_are_copied_byte_for_byte_and_pixels_equal_the_array() {
    let bench = Bench::new();
    let tiepoint = (TIEPOINT, Value::Doubles(&[0.0, 0.0, 0.0, 399_960.1, 5_200_020.7, 0.0]));
    let scale = || (SCALE, Value::Doubles(&[10.0, 10.0, 0.0]));
    let scenes = ["epsg.tif", "own.tif", "rotated.tif"].map(|name| bench.at(name));
    write_scene(&scenes[0], SCENE, &[scale(), tiepoint, (KEYS, Value::Shorts(UTM)), (NODATA, Value::Text("0"))]);
    let tiepoint = (TIEPOINT, Value::Doubles(&[0.0, 0.0, 0.0, 11.5, 47.25, 0.0]));
    let (keys, doubles) = (Value::Shorts(OWN_KEYS), Value::Doubles(&[6_378_200.5, 298.1]));
    write_scene(
        &scenes[1],
        SMALL,
        &[scale(), tiepoint, (KEYS, keys), (DOUBLES, doubles), (TEXT, Value::Text(OWN_TEXT))],
    );
    write_scene(&scenes[2], SMALL, &[(TRANSFORMATION, Value::Doubles(ROTATED)), (KEYS, Value::Shorts(UTM))]);
    scenes.iter().fold(bench.predict("out"), Segtool::file).run();
    let listed = fs::read_to_string(bench.at("out/predictions.txt")).unwrap();
    assert_eq!(listed, "epsg.npy\nown.npy\nrotated.npy\n");
    for scene in scenes {
        let name = scene.file_stem().unwrap().to_string_lossy().into_owned();
        let (size, values) = npy_values(&bench.at(&format!("out/{name}.npy")));
        let path = bench.at(&format!("out/{name}.tif"));
        let file = fs::read(&path).unwrap();
        let (input, output) = (&pages(&fs::read(scene).unwrap())[0], pages(&file));
        for code in GEOGRAPHY {
            assert_eq!(input.get(&code), output[0].get(&code), "{name}: {code}");
            assert!(output[1..].iter().all(|page| !page.contains_key(&code)));
        }
        let stored = pixels(&file, &output[0]);
        assert_eq!((size_of(&output[0]), &stored), (size, &values.iter().map(|&v| v as u8).collect()));
        assert_eq!(tiff_values(&path), values, "{name}");
        check_pages(&file, &output, stored);
    }
    let blank = npy_values(&bench.at("out/epsg.npy")).1.iter().filter(|value| **value == 255).count();
    assert_eq!(blank, 9 * SCENE.height);
    let names = fs::read_to_string(bench.at("out/epsg.tif.aux.xml")).unwrap();
    let names: Vec<&str> = names.lines().filter_map(|line| line.trim().strip_prefix("<Category>")).collect();
    assert_eq!(names, ["shale</Category>", "sand</Category>", "salt</Category>", "fault</Category>"]);
}

/// What all files have: directories in front, the smallest overview first behind them, palette, nodata, and overviews by
/// mode until one fits in a tile.
fn check_pages(file: &[u8], pages: &[Page], mut fine: Vec<u8>) {
    let widths: Vec<usize> = pages.iter().map(|page| size_of(page).width).collect();
    assert!(widths == [SCENE.width, 550, 275] || widths == [SMALL.width], "{widths:?}");
    let starts: Vec<usize> = pages.iter().map(|page| numbers(page, 324)[0]).collect();
    assert!(starts.windows(2).all(|pair| pair[0] > pair[1]), "{starts:?}");
    for (level, page) in pages.iter().enumerate() {
        assert_eq!(numbers(page, 254), [usize::from(level > 0)]);
        assert_eq!((numbers(page, 262), numbers(page, 258)), (vec![3], vec![8]));
        assert_eq!(page[&NODATA].2, b"255\0");
        let palette = numbers(page, 320);
        for (value, color) in COLORS.iter().enumerate() {
            let found = [0, 256, 512].map(|plane| palette[plane + value]);
            assert_eq!(found, color.map(|part| usize::from(part) * 257));
        }
        if level > 0 {
            let coarse = pixels(file, page);
            assert_modes(size_of(&pages[level - 1]), &fine, &coarse, 255);
            fine = coarse;
        }
    }
}

#[test]
fn a_plain_image_gets_a_geotiff_on_demand_and_it_is_a_prediction() {
    let bench = Bench::new();
    let (images, labels) = (bench.at("data/images"), bench.at("data/labels"));
    bench.predict("plain").file(&images).run();
    assert!(bench.names("plain").iter().all(|name| name.ends_with(".npy") || name == "predictions.txt"));
    let more = ["--format", "tiff", "--color", "--png", "--prob"];
    bench.predict("tiffs").args(&more).file(&images).run();
    let names = bench.names("tiffs");
    assert!(names.contains(&"000.tif".into()) && names.contains(&"000.tif.aux.xml".into()), "{names:?}");
    assert!(!names.contains(&"000.npy".into()), "{names:?}");
    let listed = fs::read_to_string(bench.at("tiffs/predictions.txt")).unwrap();
    assert!(listed.starts_with("000.tif\n001.tif\n") && listed.lines().count() == 12, "{listed}");
    assert_eq!(tiff_values(&bench.at("tiffs/000.tif")), npy_values(&bench.at("plain/000.npy")).1);
    let scores = |predictions: &str| {
        let [predictions, labels] = [bench.at(predictions), labels.clone()].map(|path| text(&path));
        stdout_of(&["metrics", "--predictions", &predictions, "--labels", &labels, "--dataset", "demo"])
    };
    let expected = scores("plain");
    assert_eq!(scores("tiffs"), expected);
    assert!(expected.contains("salt"), "{expected}");
    let list = text(&bench.at("tiffs/predictions.txt"));
    let concat = segtool("concat").arg("--list-predict", list).arg("--dataset", "demo");
    concat.arg("--image-list", write_list(&bench, &images)).arg("--output-path", bench.at("figures")).run();
    assert_eq!(bench.names("figures").len(), 12);
    // The same again, in both formats, replaces its own.
    bench.predict("tiffs").args(&["--format", "npy,tiff"]).file(&images).run();
    assert!(bench.names("tiffs").contains(&"000.npy".into()));
    let said = bench.predict("other").args(&["--format", "npy,jpeg"]).file(&images).fails_with(2);
    assert_says(&said, &["unknown format 'jpeg'", "npy, tiff, png or geojson"]);
}

fn write_list(bench: &Bench, folder: &Path) -> PathBuf {
    let mut images: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    images.sort();
    let list = bench.at("images.txt");
    fs::write(&list, images.iter().map(|path| text(path) + "\n").collect::<String>()).unwrap();
    list
}

#[test]
fn a_turned_geotiff_keeps_its_order_of_pixels() {
    let bench = Bench::new();
    for turn in [3, 5, 6, 8] {
        let scene = bench.at(&format!("turned-{turn}.tif"));
        let transformation = (TRANSFORMATION, Value::Doubles(ROTATED));
        let nodata = (NODATA, Value::Text("0"));
        write_scene(&scene, SMALL, &[transformation, nodata, (ORIENTATION, Value::Shorts(&[turn]))]);
        bench.predict("out").file(&scene).run();
        let path = bench.at(&format!("out/turned-{turn}.tif"));
        let (_, values) = npy_values(&path.with_extension("npy"));
        assert_eq!(tiff_values(&path), values, "read as the image is");
        let file = fs::read(&path).unwrap();
        let page = &pages(&file)[0];
        assert_eq!((size_of(page), numbers(page, ORIENTATION)), (SMALL, vec![usize::from(turn)]));
        // What holds no data is where it is in the image as stored, whose coordinates these are.
        for (i, value) in pixels(&file, page).into_iter().enumerate() {
            assert_eq!(value == 255, i % SMALL.width < 9, "{turn}: {i}");
        }
    }
}

#[test]
fn a_world_file_gives_a_plain_image_coordinates() {
    let bench = Bench::new();
    let images = ["upright", "rotated", "damaged"].map(|name| {
        let image = bench.at(&format!("{name}.png"));
        fs::copy(bench.at("data/images/000.png"), &image).unwrap();
        image
    });
    fs::write(bench.at("upright.pgw"), "2.5\n0.0\n0.0\n-2.5\n1001.25\n1998.75\n").unwrap();
    fs::write(bench.at("rotated.wld"), "2\n1\n1\n-2\n100\n200\n").unwrap();
    fs::write(bench.at("damaged.pngw"), "2\n1\n").unwrap();
    let command = images.iter().fold(bench.predict("out"), Segtool::file);
    command.run();
    assert!(!bench.names("out").iter().any(|name| name.contains(".tif")), "GeoTIFFs alone get them unasked");
    let said = command.args(&["--format", "tiff"]).says();
    assert_says(&said, &["damaged.pngw", "six numbers"]);
    let tags = |name: &str, code| {
        let page = pages(&fs::read(bench.at(&format!("out/{name}.tif"))).unwrap()).remove(0);
        let doubles = |bytes: Vec<u8>| -> Vec<f64> {
            bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
        };
        page.get(&code).cloned().map(|(_, _, bytes)| doubles(bytes))
    };
    assert_eq!(tags("upright", SCALE).unwrap(), [2.5, 2.5, 0.0]);
    assert_eq!(tags("upright", TIEPOINT).unwrap(), [0.0, 0.0, 0.0, 1000.0, 2000.0, 0.0]);
    let rows = [2.0, 1.0, 0.0, 98.5, 1.0, -2.0, 0.0, 200.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
    assert_eq!(tags("rotated", TRANSFORMATION).unwrap(), rows);
    assert!(GEOGRAPHY.iter().all(|code| tags("damaged", *code).is_none()));
}

#[test]
fn a_geotiff_is_never_replaced_by_its_label_map() {
    let bench = Bench::new();
    fs::create_dir(bench.at("scenes")).unwrap();
    let scene = bench.at("scenes/scene.tif");
    write_scene(&scene, SMALL, &[(TRANSFORMATION, Value::Doubles(ROTATED))]);
    let before = fs::read(&scene).unwrap();
    let said = bench.predict("scenes").file(&scene).fails_with(1);
    assert_says(&said, &["scene.tif is also an input", "another --output-path", "write no GeoTIFF, with --format npy"]);
    bench.predict("scenes").args(&["--format", "npy"]).file(&scene).run();
    assert_eq!(bench.names("scenes"), ["predictions.txt", "scene.npy", "scene.tif"]);
    assert_eq!(fs::read(&scene).unwrap(), before);
}
