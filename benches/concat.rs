//! From a photograph, a label and a prediction in memory to an encoded image with a legend: images a second on one core.

use divan::counter::ItemsCount;
use image::{Rgb, RgbImage};
use segtool::data::Dataset;
use segtool::draw::{Classes, FigureFormat, Shown, Style, compose, encode_figure};

const WIDTH: u32 = 683;
const HEIGHT: u32 = 512;

fn main() {
    divan::main();
}

/// Texture like a photograph's, and 20 classes in blocks.
fn shown() -> Shown {
    let value = |x: u32, y: u32| (x * 3 + y * 2 + (x * 7919 + y * 104_729) % 17) as u8;
    let classes = |shift: u32| {
        let class = |i: u32| ((i % WIDTH + shift) / 140 + i / WIDTH / 128 * 5) as u16;
        (0..WIDTH * HEIGHT).map(class).collect()
    };
    let image = RgbImage::from_fn(WIDTH, HEIGHT, |x, y| Rgb([value(x, y), value(y, x), value(x, x)]));
    Shown { image, label: Some(classes(0)), prediction: Some(classes(9)), probability: None, mean_iou: None }
}

#[divan::bench(args = [FigureFormat::Png, FigureFormat::Jpeg])]
fn image(bencher: divan::Bencher<'_, '_>, format: FigureFormat) {
    let classes = Classes::of(&Dataset::find("ade20k").expect("a built-in data set"));
    let style = Style { titles: true, legend: true, ..Style::default() };
    bencher.counter(ItemsCount::new(1usize)).with_inputs(shown).bench_values(|shown| {
        let image = compose(shown, &classes, &style).expect("an image that can be drawn");
        encode_figure(&image, format).expect("an image")
    });
}
