//! The random forest: fitting it to some thousand pixels of 192 features, and classifying a core photograph with it.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::AtomicBool;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use segtool::pixels::forest::{Features, Forest, Outcome, Settings, Watch, fit};

const FEATURES: usize = 192;
const CLASSES: usize = 4;

fn main() {
    divan::main();
}

/// Planes of features that vary slowly from pixel to pixel, and half of which are 0 behind a ReLU, as those of a network;
/// and the classes that some of them tell apart.
fn pixels(count: usize) -> (Vec<f32>, Vec<u16>) {
    let wave = |feature: usize, pixel: usize| {
        let (speed, phase) = (0.002 + 0.0007 * (feature % 37) as f32, feature as f32);
        let noise = (pixel.wrapping_mul(2_654_435_761) ^ feature.wrapping_mul(40_503)) % 1000;
        (speed * pixel as f32 + phase).sin() + 0.0003 * noise as f32
    };
    let planes = (0..FEATURES).flat_map(|feature| (0..count).map(move |pixel| wave(feature, pixel).max(0.0)));
    let class = |pixel: usize| u16::from(wave(3, pixel) > 0.1) + 2 * u16::from(wave(11, pixel) > 0.2);
    (planes.collect(), (0..count).map(class).collect())
}

fn fitted(planes: &[f32], classes: &[u16]) -> Forest {
    let features = Features::planes(planes, FEATURES, classes.len(), classes.len()).unwrap();
    let watch = Watch { progress: &|_| (), stop: &AtomicBool::new(false) };
    match fit(&features, classes, CLASSES, &Settings::default(), watch).unwrap() {
        Outcome::Finished(fitted) => fitted.forest,
        Outcome::Stopped => unreachable!("nobody stopped it"),
    }
}

#[divan::bench(args = [3_000, 40_000], sample_count = 5, sample_size = 1)]
fn fit_pixels(bencher: Bencher<'_, '_>, count: usize) {
    let (planes, classes) = pixels(count);
    bencher.counter(ItemsCount::new(count)).bench_local(|| fitted(black_box(&planes), black_box(&classes)));
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn classify_a_core(bencher: Bencher<'_, '_>) {
    let count = 4464 * 53;
    let (planes, classes) = pixels(3_000);
    let forest = fitted(&planes, &classes);
    let (planes, _) = pixels(count);
    let features = Features::planes(&planes, FEATURES, count, count).unwrap();
    bencher.counter(ItemsCount::new(count)).bench_local(|| forest.predict(black_box(&features)).unwrap());
}
