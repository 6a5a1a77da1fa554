//! Scoring files: pairs a second, beside reading and decoding them alone, on one thread and on two.
//!
//! Label maps of 480x640 with 150 classes, predictions as int64 and as uint8 .npy, label images as PNG.

use std::path::PathBuf;

use divan::counter::{BytesCount, ItemsCount};
use image::{GrayImage, Luma};
use ndarray::Array2;
use ndarray_npy::write_npy;
use segtool::data::{Dataset, Pair};
use segtool::image::read_labels;
use segtool::tools::score::{Settings, score_files};

const PAIRS: usize = 48;
const CLASSES: usize = 150;

fn main() {
    divan::main();
}

/// Cells around scattered points, with wavy outlines: about as compressible as hand-drawn scenes.
fn class_at(seed: usize, x: usize, y: usize) -> u8 {
    let (x, y) = (x as f64, y as f64);
    let wave = 9.0 * (x / 23.0).sin() + 7.0 * (y / 31.0).cos();
    let cell = |i: usize| {
        let spread = |factor: usize, size: f64| ((i + seed * 31) * factor % 997) as f64 / 997.0 * size;
        (x + wave - spread(613, 640.0)).hypot(y - wave - spread(379, 480.0))
    };
    let nearest = (0..24).min_by(|&a, &b| cell(a).total_cmp(&cell(b))).unwrap_or(0);
    1 + (nearest * 37 + seed * 11) as u8 % 150
}

fn pairs(wide: bool) -> (tempfile::TempDir, Vec<Pair>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let make = |i: usize| {
        let path = |name: &str| -> PathBuf { folder.path().join(format!("{i}{name}")) };
        let label = GrayImage::from_fn(640, 480, |x, y| Luma([class_at(i, x as usize, y as usize)]));
        let prediction = Array2::from_shape_fn((480, 640), |(y, x)| label.get_pixel((x as u32 + 3) % 640, y as u32)[0]);
        label.save(path(".png")).expect("a label image");
        if wide {
            write_npy(path(".npy"), &prediction.mapv(i64::from)).expect("a prediction");
        } else {
            write_npy(path(".npy"), &prediction).expect("a prediction");
        }
        Pair { image: path(".npy"), label: path(".png").into() }
    };
    let pairs = (0..PAIRS).map(make).collect();
    (folder, pairs)
}

fn bytes(pairs: &[Pair]) -> u64 {
    pairs.iter().flat_map(|p| [p.image.as_path(), p.label.name()]).map(|p| p.metadata().map_or(0, |m| m.len())).sum()
}

#[divan::bench(args = [("int64", 1), ("int64", 2), ("uint8", 1), ("uint8", 2)])]
fn score(bencher: divan::Bencher<'_, '_>, (kind, threads): (&str, usize)) {
    let (_folder, pairs) = pairs(kind == "int64");
    let dataset = Dataset::numbered(CLASSES).expect("150 classes");
    let settings = Settings::new(dataset);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    bencher
        .counter(ItemsCount::new(PAIRS))
        .counter(BytesCount::new(bytes(&pairs)))
        .bench_local(|| pool.install(|| score_files(&pairs, &settings, None, &|_| {}).expect("readable pairs")));
}

/// What scoring cannot do without.
#[divan::bench(args = ["int64", "uint8"])]
fn read_and_decode(bencher: divan::Bencher<'_, '_>, kind: &str) {
    let (_folder, pairs) = pairs(kind == "int64");
    bencher.counter(ItemsCount::new(PAIRS)).counter(BytesCount::new(bytes(&pairs))).bench_local(|| {
        for pair in &pairs {
            divan::black_box(read_labels(&pair.image).expect("a prediction"));
            divan::black_box(read_labels(pair.label.name()).expect("a label image"));
        }
    });
}
