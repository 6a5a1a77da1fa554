//! Colour to grey: the formulas alone, and files from decoding to encoding beside those two alone.

use std::path::PathBuf;

use divan::counter::{BytesCount, ItemsCount};
use image::{Rgb, RgbImage};
use segtool::base::Size;
use segtool::image::{GrayConverter, GrayMethod, Pixels, Samples, encode_png, read_image};
use segtool::tools::rgb2gray::{Alpha, Gray, Options};

const SIZE: Size = Size { width: 683, height: 512 };

fn main() {
    divan::main();
}

/// Smooth shades with some texture, so that it compresses like a photograph.
fn photo() -> RgbImage {
    let noise = |x: u32, y: u32| (x.wrapping_mul(7919) ^ y.wrapping_mul(104_729)).wrapping_mul(2_654_435_761) >> 28;
    let shade = |x: u32, y: u32, period: f64| {
        127.0 + 90.0 * (f64::from(x) / period).sin() * (f64::from(y) / period).cos() + f64::from(noise(x, y))
    };
    RgbImage::from_fn(SIZE.width as u32, SIZE.height as u32, |x, y| {
        Rgb([shade(x, y, 60.0) as u8, shade(x, y, 75.0) as u8, shade(x, y, 40.0) as u8])
    })
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("photo.jpg");
    photo().save(&path).expect("a JPEG");
    (folder, path)
}

#[divan::bench(args = ["gleam", "luminance", "intensity'", "lightness", "luster"])]
fn formula(bencher: divan::Bencher<'_, '_>, method: &str) {
    let converter = GrayConverter::<256>::new(method.parse().expect("a method"));
    let photo = photo().into_raw();
    bencher
        .counter(ItemsCount::new(SIZE.width * SIZE.height))
        .counter(BytesCount::of_slice(&photo))
        .bench_local(|| converter.convert(&photo));
}

#[divan::bench]
fn file_to_file(bencher: divan::Bencher<'_, '_>) {
    let (_folder, path) = file();
    let options = Options { method: GrayMethod::Gleam, stretch: false, alpha: Alpha::Black, overwrite: true };
    let gray = Gray::new(options);
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| gray.encode(&path).expect("a readable image"));
}

/// What that cannot do without.
#[divan::bench]
fn decode_and_encode(bencher: divan::Bencher<'_, '_>) {
    let (_folder, path) = file();
    let gray = GrayConverter::<256>::new(GrayMethod::Gleam).convert(photo().as_raw());
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        let raster = read_image(&path).expect("a readable image");
        assert!(matches!(raster.samples, Samples::U8(_)));
        encode_png(SIZE, Pixels::Gray8(&gray)).expect("a PNG")
    });
}
