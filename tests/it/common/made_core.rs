//! A made drill core with a few labels, which forests are trained on.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use image::{GrayImage, Luma, Rgb, RgbImage, Rgba};
use ndarray::Array2;
use ndarray_npy::read_npy;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use super::{read_json, stdout_of, text};

/// Class names of data set `core`, by label value.
pub(crate) const NAMES: [&str; 5] = ["", "intact sandstone", "rubble", "grey granodiorite", "dark gap"];

/// Their colours.
pub(crate) const COLORS: [[u8; 3]; 5] = [[0; 3], [222, 184, 135], [160, 82, 45], [119, 136, 153], [25, 25, 25]];

/// Which value a pixel of the made core has: three stretches twice, and a gap below them.
pub(crate) fn truth(x: u32, y: u32) -> u8 {
    if y >= 34 { 4 } else { [1, 2, 3][(x / 40 % 3) as usize] }
}

/// A made core of 240x40: even sandstone, rubble of light and dark, speckled grey rock, and a dark gap.
pub(crate) fn core() -> RgbImage {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    RgbImage::from_fn(240, 40, |x, y| match truth(x, y) {
        1 => Rgb([200u8, 165, 110].map(|value| value + rng.random_range(0..12))),
        2 => Rgb(if rng.random_bool(0.5) { [210, 170, 110] } else { [90, 60, 30] }),
        3 => Rgb([rng.random_range(80..170u8); 3]),
        _ => Rgb([rng.random_range(0..20u8); 3]),
    })
}

/// Left, top, right, bottom (both inside) and value of what is labelled: each class in two places.
pub(crate) const RECTANGLES: [([u32; 4], u8); 8] = [
    ([8, 8, 30, 14], 1),
    ([128, 10, 150, 16], 1),
    ([48, 8, 70, 14], 2),
    ([168, 10, 190, 16], 2),
    ([88, 8, 110, 14], 3),
    ([208, 10, 230, 16], 3),
    ([20, 36, 60, 38], 4),
    ([140, 36, 180, 38], 4),
];

pub(crate) fn label_value(x: u32, y: u32) -> u8 {
    let inside = |[left, top, right, bottom]: [u32; 4]| (left..=right).contains(&x) && (top..=bottom).contains(&y);
    RECTANGLES.iter().find(|(place, _)| inside(*place)).map_or(0, |(_, value)| *value)
}

/// The labels as strokes on a transparent layer.
pub(crate) fn stroke(x: u32, y: u32) -> Rgba<u8> {
    match label_value(x, y) {
        // Whatever lies under transparent pixels.
        0 => Rgba([77, 1, 200, 100]),
        value => {
            let [r, g, b] = COLORS[usize::from(value)];
            Rgba([r, g, b, 255])
        }
    }
}

/// The core and its labels in a folder.
pub(crate) struct Made {
    pub(crate) folder: TempDir,
    pub(crate) core: String,
    pub(crate) labels: String,
}

impl Made {
    pub(crate) fn new() -> Self {
        let folder = tempdir().unwrap();
        let (core_path, labels) = (folder.path().join("core.png"), folder.path().join("labels.png"));
        core().save(&core_path).unwrap();
        GrayImage::from_fn(240, 40, |x, y| Luma([label_value(x, y)])).save(&labels).unwrap();
        Self { core: text(&core_path), labels: text(&labels), folder }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        text(&self.folder.path().join(name))
    }

    /// Arguments of a training on these labels.
    pub(crate) fn training<'a>(&'a self, run: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let first = ["train", "--recipe", "hypercolumn-core", "--images", &self.core, "--labels", &self.labels];
        [&first[..], &["--set", "forest.trees=30", "--device", "flex", "--output-path", run], more].concat()
    }
}

/// A run of all these labels, trained once for all tests that only read it.
pub(crate) fn made_run() -> &'static str {
    static RUN: LazyLock<(Made, String)> = LazyLock::new(|| {
        let made = Made::new();
        let run = made.path("run");
        stdout_of(&made.training(&run, &["--split", "none"]));
        (made, run)
    });
    &RUN.1
}

pub(crate) fn scores(run: &str) -> Value {
    read_json(Path::new(run).join("scores.json"))
}

pub(crate) fn labels_of(folder: &str, stem: &str) -> Array2<u8> {
    read_npy(Path::new(folder).join(format!("{stem}.npy"))).unwrap()
}

pub(crate) fn bytes(run: &str, file: &str) -> Vec<u8> {
    fs::read(Path::new(run).join(file)).unwrap()
}
