//! Counting the confusion matrix: pixels a second on one core.

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
        .counter(BytesCount::of_slice(&labels))
        .bench_local(|| matrix.add(&labels, &predictions));
}
