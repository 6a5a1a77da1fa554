//! Features of every pixel of a core section (4464x53, VGG-16's first two poolings), beside the forest that takes them.
//!
//! `see` is the encoder's share, `fill` that of enlarging what it gives; with libtorch built in, for both devices.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use segtool::base::Size;
use segtool::data::Dataset;
use segtool::image::{Image, Samples};
use segtool::nn::device::DeviceChoice;
use segtool::nn::model::{FeatureEncoderConfig, Tap, VggConfig};
use segtool::pixels::hypercolumn::{HypercolumnConfig, Hypercolumns, PreparedImage, WindowFeatures};

const SIZE: Size = Size { width: 4464, height: 53 };
const DEVICES: &[&str] = if cfg!(feature = "libtorch") { &["flex", "libtorch"] } else { &["flex"] };

fn main() {
    divan::main();
}

fn raster() -> Image {
    let noise = |i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8;
    let samples = (0..(3 * SIZE.width * SIZE.height) as u32).map(noise).collect();
    Image::new(SIZE, 3, Samples::U8(samples))
}

fn hypercolumns(device: &str) -> Hypercolumns {
    let device = device.parse::<DeviceChoice>().unwrap().open().unwrap();
    let encoder = FeatureEncoderConfig::Vgg16(VggConfig::default());
    let config = HypercolumnConfig { encoder, taps: vec![Tap::Pool(1), Tap::Pool(2)], scales: vec![1] };
    let encoder = config.encoder.init(3, &config.taps, 0, &device).unwrap();
    Hypercolumns::new(config, encoder, 3, device).unwrap()
}

fn seen(hypercolumns: &Hypercolumns, raster: &Image) -> Vec<WindowFeatures> {
    let dataset = Dataset::find("core").unwrap();
    let image = PreparedImage::new(Path::new("image"), raster, &dataset).unwrap();
    let layout = hypercolumns.layout(SIZE);
    layout.windows(None).iter().map(|window| hypercolumns.see(&image, &layout, window).unwrap()).collect()
}

#[divan::bench(args = DEVICES, sample_count = 10, sample_size = 1)]
fn see(bencher: Bencher<'_, '_>, device: &str) {
    let (hypercolumns, raster) = (hypercolumns(device), raster());
    bencher.counter(ItemsCount::new(SIZE.width * SIZE.height)).bench_local(|| seen(&hypercolumns, black_box(&raster)));
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn fill(bencher: Bencher<'_, '_>) {
    let (hypercolumns, raster) = (hypercolumns("flex"), raster());
    let (all, windows) = (seen(&hypercolumns, &raster), hypercolumns.layout(SIZE).windows(None));
    let mut planes = vec![0.0; hypercolumns.features() * 512];
    bencher.counter(ItemsCount::new(SIZE.width * SIZE.height)).bench_local(|| {
        for (seen, window) in all.iter().zip(&windows) {
            for row in window.rows.clone() {
                for start in window.columns.clone().step_by(512) {
                    let end = window.columns.end.min(start + 512);
                    seen.fill(row..row + 1, start..end, black_box(&mut planes), 512);
                }
            }
        }
    });
}
