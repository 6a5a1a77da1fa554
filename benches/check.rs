//! Checking pairs of images and label images, beside decoding them and nothing else: pairs a second on one core.

use std::path::{Path, PathBuf};

use divan::counter::ItemsCount;
use image::{GrayImage, Luma, Rgb, RgbImage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use segtool::check::Check;
use segtool::data::Dataset;
use segtool::image::{read_image, read_labels};
use segtool::train::Source;

const PAIRS: usize = 64;
const SIDE: u32 = 256;

fn main() {
    divan::main();
}

/// Smooth areas of ten classes, with noise.
fn write_pair(folder: &Path, number: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    let waves: [[f32; 3]; 6] = std::array::from_fn(|_| {
        [rng.random_range(-0.06..0.06), rng.random_range(-0.06..0.06), rng.random_range(0.0..6.0)]
    });
    let height = |x: u32, y: u32| -> f32 {
        waves.iter().map(|[across, down, phase]| (x as f32 * across + y as f32 * down + phase).sin()).sum()
    };
    let class = |x: u32, y: u32| (height(x, y) * 1.2 + 5.0).clamp(0.0, 9.0) as u8;
    let labels = GrayImage::from_fn(SIDE, SIDE, |x, y| Luma([class(x, y)]));
    let photo = RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let shade = 20.0 * f32::from(class(x, y)) + 10.0 * height(x, y);
        Rgb([30.0, 45.0, 15.0].map(|tint| (shade + tint + rng.random_range(-25.0..25.0)) as u8))
    });
    photo.save(folder.join(format!("images/{number}.jpg"))).expect("a JPEG");
    labels.save(folder.join(format!("labels/{number}.png"))).expect("a PNG");
}

fn pairs() -> (tempfile::TempDir, Vec<[PathBuf; 2]>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    ["images", "labels"].iter().for_each(|name| std::fs::create_dir(folder.path().join(name)).expect("a folder"));
    (0..PAIRS as u64).for_each(|number| write_pair(folder.path(), number));
    let place = |number: usize| {
        let path = |name: String| folder.path().join(name);
        [path(format!("images/{number}.jpg")), path(format!("labels/{number}.png"))]
    };
    let places = (0..PAIRS).map(place).collect();
    (folder, places)
}

#[divan::bench]
fn check(bencher: divan::Bencher<'_, '_>) {
    let (folder, _) = pairs();
    let images = Source::Folders { images: folder.path().join("images"), labels: folder.path().join("labels") };
    let dataset = Dataset::parse(&dataset(), Path::new("ten.toml")).expect("a data set");
    let check = Check { dataset: Some(dataset), ..Check::new(images) };
    let one_core = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool of threads");
    bencher.counter(ItemsCount::new(PAIRS)).bench_local(|| one_core.install(|| check.run(&|_| ()).expect("a report")));
}

#[divan::bench]
fn decode(bencher: divan::Bencher<'_, '_>) {
    let (_folder, pairs) = pairs();
    bencher.counter(ItemsCount::new(PAIRS)).bench_local(|| {
        for [image, labels] in &pairs {
            divan::black_box((read_image(image).expect("an image"), read_labels(labels).expect("a label image")));
        }
    });
}

fn dataset() -> String {
    let classes: String = (0..10).map(|i| format!("{{ name = \"class {i}\", values = {i} }},\n")).collect();
    format!("name = \"ten\"\nbands = 3\nclasses = [\n{classes}]\n")
}
