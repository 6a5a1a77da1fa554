//! From a file to network input: images a second on one core.

use std::path::PathBuf;

use divan::counter::ItemsCount;
use image::{DynamicImage, ImageBuffer, Luma, Rgb};
use segtool::data::{Dataset, load_labels, load_raster, network_input};

fn main() {
    divan::main();
}

/// A smooth image with some texture, so that it compresses like a photograph.
fn value(x: u32, y: u32) -> u32 {
    x * 3 + y * 2 + (x * 7919 + y * 104_729) % 17
}

fn images() -> (tempfile::TempDir, Vec<(&'static str, &'static str, PathBuf)>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rgb = ImageBuffer::from_fn(683, 512, |x, y| Rgb([value(x, y) as u8, value(y, x) as u8, value(x, x) as u8]));
    let deep = ImageBuffer::from_fn(256, 256, |x, y| Luma([(value(x, y) * 50) as u16]));
    let files = [
        ("ade20k", "photo.jpg", DynamicImage::ImageRgb8(rgb.clone())),
        ("ade20k", "photo.png", DynamicImage::ImageRgb8(rgb)),
        ("seeps", "tile.tif", DynamicImage::ImageLuma16(deep)),
    ]
    .map(|(dataset, name, image)| {
        let path = folder.path().join(name);
        image.save(&path).expect("an image");
        (dataset, name, path)
    });
    (folder, files.to_vec())
}

#[divan::bench(args = ["photo.jpg", "photo.png", "tile.tif"])]
fn input(bencher: divan::Bencher<'_, '_>, name: &str) {
    let (_folder, files) = images();
    let (dataset, _, path) = files.iter().find(|(_, file, _)| *file == name).expect("one of the files");
    let dataset = Dataset::find(dataset).expect("a built-in data set");
    bencher.counter(ItemsCount::new(1usize)).bench(|| {
        let raster = load_raster(path, &dataset).expect("a readable image");
        network_input(path, &raster, &dataset).expect("an image that fits")
    });
}

#[divan::bench]
fn labels(bencher: divan::Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("label.png");
    let classes = ImageBuffer::from_fn(683, 512, |x, y| Luma([(x / 40 + y / 30) as u8]));
    DynamicImage::ImageLuma8(classes).save(&path).expect("a label image");
    let dataset = Dataset::find("ade20k").expect("a built-in data set");
    bencher.counter(ItemsCount::new(1usize)).bench(|| load_labels(&path, &dataset).expect("a readable label image"));
}
