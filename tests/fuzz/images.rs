//! Small sound images and label images of every kind, made here.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat};

const WIDTH: u32 = 9;
const HEIGHT: u32 = 7;

fn value(x: u32, y: u32) -> u8 {
    ((x / 3 + y / 2) % 3) as u8
}

/// Of a kind of pixels and a format, where the format has it.
fn encoded(image: &DynamicImage, format: ImageFormat) -> Option<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).ok()?;
    Some(bytes.into_inner())
}

fn images() -> Vec<DynamicImage> {
    let grey = image::GrayImage::from_fn(WIDTH, HEIGHT, |x, y| image::Luma([value(x, y)]));
    let grey = DynamicImage::ImageLuma8(grey);
    let color = DynamicImage::ImageRgb8(image::RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        image::Rgb([value(x, y) * 100, (10 * x) as u8, (20 * y) as u8])
    }));
    let alpha = DynamicImage::ImageRgba8(color.to_rgba8());
    let deep = DynamicImage::ImageLuma16(grey.to_luma16());
    vec![grey, deep, DynamicImage::ImageRgb16(color.to_rgb16()), color, alpha]
}

pub(crate) fn pngs() -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = images().iter().filter_map(|image| encoded(image, ImageFormat::Png)).collect();
    for depth in [png::BitDepth::One, png::BitDepth::Two, png::BitDepth::Four, png::BitDepth::Eight] {
        for color in [png::ColorType::Grayscale, png::ColorType::Indexed] {
            found.push(packed_png(depth, color));
        }
    }
    found
}

fn packed_png(depth: png::BitDepth, color: png::ColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, WIDTH, HEIGHT);
    encoder.set_depth(depth);
    encoder.set_color(color);
    if color == png::ColorType::Indexed {
        encoder.set_palette((0..6).collect::<Vec<u8>>());
        encoder.set_trns(vec![0, 255]);
    }
    let row = (WIDTH as usize * depth as usize).div_ceil(8);
    // Of two palette entries, only the first.
    let data = vec![0; row * HEIGHT as usize];
    encoder.write_header().unwrap().write_image_data(&data).unwrap();
    bytes
}

pub(crate) fn bmps() -> Vec<Vec<u8>> {
    let images = images();
    let plain = images.iter().filter_map(|image| encoded(image, ImageFormat::Bmp));
    plain.chain([1, 4, 8].map(|bits| palette_bmp(bits, 0, &[]))).chain([run_length_bmp()]).collect()
}

/// An 8-bit BMP of run lengths, with a delta and literal pixels.
fn run_length_bmp() -> Vec<u8> {
    let mut runs = Vec::new();
    for row in 0..HEIGHT as u8 {
        match row {
            2 => runs.extend([0, 3, 1, 2, 1, 0, 6, 1]),
            4 => runs.extend([2, 1, 0, 2, 1, 0, 6, 0]),
            _ => runs.extend([WIDTH as u8, row % 2]),
        }
        runs.extend([0, 0]);
    }
    runs.extend([0, 1]);
    palette_bmp(8, 1, &runs)
}

fn palette_bmp(bits: u16, compression: u32, data: &[u8]) -> Vec<u8> {
    let colors = 2u32;
    let row = (WIDTH * u32::from(bits)).div_ceil(32) * 4;
    let plain = vec![0; (row * HEIGHT) as usize];
    let data = if data.is_empty() { plain.as_slice() } else { data };
    let start = 54 + 4 * colors;
    let mut bytes = b"BM".to_vec();
    for number in [start + data.len() as u32, 0, start, 40, WIDTH, HEIGHT, 1 | u32::from(bits) << 16, compression] {
        bytes.extend(number.to_le_bytes());
    }
    for number in [data.len() as u32, 0, 0, colors, 0, 0, 0x00ff_ffff] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(data);
    bytes
}

pub(crate) fn jpegs() -> Vec<Vec<u8>> {
    let rgb: Vec<u8> = (0..WIDTH * HEIGHT).flat_map(|i| [i as u8, 2 * i as u8, 200]).collect();
    let mut found = Vec::new();
    for progressive in [false, true] {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
        encoder.set_progressive(progressive);
        encoder.encode(&rgb, WIDTH as u16, HEIGHT as u16, jpeg_encoder::ColorType::Rgb).unwrap();
        found.push(bytes);
    }
    found
}

pub(crate) fn webps() -> Vec<Vec<u8>> {
    images().iter().filter_map(|image| encoded(image, ImageFormat::WebP)).collect()
}

/// A grey GIF of one pixel.
pub(crate) fn gif() -> Vec<u8> {
    let mut bytes = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff".to_vec();
    bytes.extend(b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0\x3b");
    bytes
}

/// TIFFs of one strip, of one tile, and with what is rarer; byte orders and sample types in turn.
pub(crate) fn tiffs() -> Vec<Vec<u8>> {
    let pixels = (WIDTH * HEIGHT) as usize;
    let (strip, tile) = (vec![1; pixels], vec![2; 16 * 16]);
    let plain = |bits: u32, format: u32, photometric: u32| {
        vec![(258, 3, vec![bits]), (339, 3, vec![format]), (262, 3, vec![photometric]), (259, 3, vec![1])]
    };
    let with = |mut tags: Tags, more: Tags| {
        tags.extend(more);
        tags
    };
    let rgb = vec![(258, 3, vec![8, 8, 8]), (262, 3, vec![2]), (259, 3, vec![1]), (277, 3, vec![3])];
    let rgba = with(
        vec![(258, 3, vec![8; 4]), (262, 3, vec![2]), (259, 3, vec![1]), (277, 3, vec![4])],
        vec![(338, 3, vec![2])],
    );
    let palette: Vec<u32> = (0..768).map(|i| i * 85).collect();
    let packed = [vec![249, 7], vec![199, 7]].concat();
    vec![
        tiff(&plain(8, 1, 1), &strip, false, true),
        tiff(&plain(8, 1, 0), &strip, false, false),
        tiff(&plain(16, 1, 1), &[3; 2].repeat(pixels), false, true),
        tiff(&plain(32, 3, 1), &1f32.to_le_bytes().repeat(pixels), false, true),
        tiff(&rgb, &strip.repeat(3), false, true),
        tiff(&rgba, &strip.repeat(4), false, true),
        tiff(&with(plain(8, 1, 3), vec![(320, 3, palette)]), &strip, false, true),
        tiff(&plain(8, 1, 1), &tile, true, true),
        tiff(&with(plain(8, 1, 1)[..3].to_vec(), vec![(259, 3, vec![32773])]), &packed, false, true),
    ]
}

/// Number, type (3 is 16-bit, 4 is 32-bit) and values.
type Tags = Vec<(u16, u16, Vec<u32>)>;

fn tiff(own: &[(u16, u16, Vec<u32>)], data: &[u8], tiled: bool, little: bool) -> Vec<u8> {
    let half = |number: u32| if little { (number as u16).to_le_bytes() } else { (number as u16).to_be_bytes() };
    let word = |number: u32| if little { number.to_le_bytes() } else { number.to_be_bytes() };
    let mut tags = own.to_vec();
    tags.extend([(256, 4, vec![WIDTH]), (257, 4, vec![HEIGHT])]);
    let [start, length] = if tiled { [324, 325] } else { [273, 279] };
    tags.extend([(start, 4, vec![8]), (length, 4, vec![data.len() as u32])]);
    tags.extend(if tiled { vec![(322, 4, vec![16]), (323, 4, vec![16])] } else { vec![(278, 4, vec![HEIGHT])] });
    tags.sort();
    let mut bytes = if little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
    let directory = 8 + data.len() as u32 + data.len() as u32 % 2;
    bytes.extend(word(directory));
    bytes.extend(data);
    bytes.resize(directory as usize, 0);
    bytes.extend(half(tags.len() as u32));
    let mut behind = Vec::new();
    let end = directory + 2 + 12 * tags.len() as u32 + 4;
    for (tag, kind, values) in &tags {
        let mut stored: Vec<u8> = match kind {
            3 => values.iter().flat_map(|value| half(*value)).collect(),
            _ => values.iter().flat_map(|value| word(*value)).collect(),
        };
        bytes.extend([half(u32::from(*tag)), half(u32::from(*kind))].concat());
        bytes.extend(word(values.len() as u32));
        if stored.len() > 4 {
            bytes.extend(word(end + behind.len() as u32));
            behind.extend(stored);
        } else {
            stored.resize(4, 0);
            bytes.extend(stored);
        }
    }
    bytes.extend(word(0));
    bytes.extend(behind);
    bytes
}
