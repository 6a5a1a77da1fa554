//! What comes before and after the network: images resized, scores enlarged and decided on.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use segtool::base::Size;
use segtool::image::{Image, Samples, Scaling};
use segtool::nn::activation::Rule;
use segtool::nn::ops::Resampling;
use segtool::predict::merge::{ScoreMap, Wanted, WeightedScores, decide};

const CLASSES: usize = 150;
const SMALL: Size = Size { width: 60, height: 60 };
const LARGE: Size = Size { width: 473, height: 473 };

fn main() {
    divan::main();
}

fn parts(count: usize) -> Vec<WeightedScores> {
    let planes: Vec<f32> =
        (0..CLASSES * SMALL.width * SMALL.height).map(|i| (i * 7919 % 1000) as f32 / 100.0).collect();
    let map = ScoreMap::from_planes(&planes, SMALL, Rule::MostProbable, false);
    vec![WeightedScores { map, enlargement: Resampling::default(), share: 1.0 }; count]
}

/// Classes of 473x473 pixels from 150 scores at an eighth of the size; the items are scores at full size.
#[divan::bench]
fn classes(bencher: Bencher<'_, '_>) {
    let (parts, scores) = (parts(1), CLASSES * LARGE.width * LARGE.height);
    let run = || decide(black_box(&parts), LARGE, 0..LARGE.height, Wanted::default());
    bencher.counter(ItemsCount::new(scores)).bench(run);
}

/// The same with probabilities, averaged over that many looks.
#[divan::bench(args = [1, 2, 5])]
fn probabilities(bencher: Bencher<'_, '_>, count: usize) {
    let (parts, scores) = (parts(count), count * CLASSES * LARGE.width * LARGE.height);
    let wanted = Wanted { highest: true, all: false };
    bencher.counter(ItemsCount::new(scores)).bench(|| decide(black_box(&parts), LARGE, 0..LARGE.height, wanted));
}

/// A colour image of 683x512 at 473x473.
#[divan::bench(args = [Scaling::Pillow, Scaling::OpenCv])]
fn resize(bencher: Bencher<'_, '_>, how: &Scaling) {
    let size = Size { width: 683, height: 512 };
    let samples = (0..size.width * size.height * 3).map(|i| (i * 31 % 251) as u8).collect();
    let raster = Image::new(size, 3, Samples::U8(samples));
    bencher
        .counter(ItemsCount::new(1usize))
        .with_inputs(|| raster.clone())
        .bench_values(|raster| raster.resized(LARGE, *how));
}
