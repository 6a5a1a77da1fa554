//! Counting the confusion matrix: pixels a second on one core, beside reading the maps from memory and nothing else.

use divan::counter::{BytesCount, ItemsCount};
use segtool::metric::ConfusionMatrix;

const PIXELS: usize = 480 * 640;

fn main() {
    divan::main();
}

#[divan::bench(args = [2, 19, 150])]
fn count(bencher: divan::Bencher<'_, '_>, classes: u16) {
    let map = |step: usize| (0..PIXELS).map(|i| (i / step % usize::from(classes)) as u16).collect::<Vec<_>>();
    let (labels, predictions) = (map(97), map(89));
    let mut matrix = ConfusionMatrix::new(usize::from(classes));
    bencher
        .counter(ItemsCount::new(PIXELS))
        .counter(BytesCount::new(4 * PIXELS))
        .bench_local(|| matrix.add(&labels, &predictions));
}

/// Every pixel another class: nothing to count at once.
#[divan::bench]
fn noise(bencher: divan::Bencher<'_, '_>) {
    let map = |factor: usize| (0..PIXELS).map(|i| ((i * factor) >> 7) as u16 % 150).collect::<Vec<_>>();
    let (labels, predictions) = (map(0x9e37_79b1), map(0x85eb_ca77));
    let mut matrix = ConfusionMatrix::new(150);
    bencher.counter(ItemsCount::new(PIXELS)).bench_local(|| matrix.add(&labels, &predictions));
}

/// What counting cannot do without: each map is read once.
#[divan::bench]
fn read(bencher: divan::Bencher<'_, '_>) {
    let (labels, predictions) = (vec![1u16; PIXELS], vec![2u16; PIXELS]);
    let pixels = || divan::black_box(&labels).iter().zip(divan::black_box(&predictions));
    bencher
        .counter(ItemsCount::new(PIXELS))
        .counter(BytesCount::new(4 * PIXELS))
        .bench_local(|| pixels().fold(0, |sum, (label, prediction)| sum | (label ^ prediction)));
}
