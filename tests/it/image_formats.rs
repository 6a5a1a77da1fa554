//! Images and label images of every kind that segtool reads.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, Rgba};
use segtool::base::Size;
use segtool::image::{RawLabels, Samples, read_image, read_label_npy, read_labels, write_label_npy};
use tiff::encoder::{TiffEncoder, colortype};
use tiff::tags::Tag;

use crate::common::npy;

const SIZE: Size = Size { width: 3, height: 2 };
const VALUES: [u16; 6] = [0, 1, 2, 3, 4, 200];

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn grey8() -> DynamicImage {
    DynamicImage::ImageLuma8(ImageBuffer::from_vec(3, 2, VALUES.map(|v| v as u8).to_vec()).unwrap())
}

fn palette_png(depth: png::BitDepth, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 3, 2);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(depth);
    encoder.set_palette((0..=255u8).take(1 << (depth as usize)).flat_map(|i| [255 - i, i / 2, 7]).collect::<Vec<_>>());
    encoder.write_header().unwrap().write_image_data(data).unwrap();
    bytes
}

fn palette_tiff() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    let mut image = encoder.new_image::<colortype::Gray8>(3, 2).unwrap();
    let map: Vec<u16> = (0..3u16).flat_map(|band| (0..256u16).map(move |i| (i << 8) | band)).collect();
    image.encoder().write_tag(Tag::ColorMap, &map[..]).unwrap();
    image.encoder().write_tag(Tag::PhotometricInterpretation, 3u16).unwrap();
    image.write_data(&VALUES.map(|v| v as u8)).unwrap();
    bytes.into_inner()
}

#[test]
fn images_keep_their_sample_type_and_lose_alpha() {
    let folder = tempfile::tempdir().unwrap();
    let rgba = DynamicImage::ImageRgba8(ImageBuffer::from_fn(3, 2, |x, y| Rgba([x as u8, y as u8, 9, 128])));
    let rgb16 = DynamicImage::ImageRgb16(ImageBuffer::from_fn(3, 2, |x, y| Rgb([x as u16 * 1000, y as u16, 9])));
    let grey_alpha = DynamicImage::ImageLumaA16(ImageBuffer::from_fn(3, 2, |x, _| LumaA([x as u16 * 999, 7])));
    for (name, image, format, bands, deep) in [
        ("grey.png", grey8(), ImageFormat::Png, 1, false),
        // BMP keeps grey as a palette.
        ("grey.bmp", grey8(), ImageFormat::Bmp, 1, false),
        ("grey.tif", grey8(), ImageFormat::Tiff, 1, false),
        ("rgba.png", rgba.clone(), ImageFormat::Png, 3, false),
        ("rgba.tif", rgba.clone(), ImageFormat::Tiff, 3, false),
        ("rgba.webp", rgba, ImageFormat::WebP, 3, false),
        ("rgb16.png", rgb16.clone(), ImageFormat::Png, 3, true),
        ("rgb16.tif", rgb16, ImageFormat::Tiff, 3, true),
        ("ga16.png", grey_alpha, ImageFormat::Png, 1, true),
    ] {
        let path = write(folder.path(), name, &encoded(&image, format));
        let raster = read_image(&path).unwrap();
        assert_eq!((raster.size, raster.bands), (SIZE, bands), "{name}");
        assert_eq!(matches!(raster.samples, Samples::U16(_)), deep, "{name}");
        let wanted: Vec<f32> = match bands {
            1 => image.to_luma32f().into_raw(),
            _ => image.to_rgb32f().into_raw(),
        };
        let planes = raster.to_planes();
        for pixel in 0..6 {
            for band in 0..bands {
                let (found, wanted) = (planes[band * 6 + pixel], wanted[pixel * bands + band]);
                assert!((found - wanted).abs() < 1e-6, "{name}: {found} {wanted}");
            }
        }
    }
}

#[test]
fn a_jpeg_is_read_and_the_format_is_told_by_content() {
    let folder = tempfile::tempdir().unwrap();
    let flat = DynamicImage::ImageRgb8(ImageBuffer::from_pixel(16, 16, Rgb([200, 100, 50])));
    let path = write(folder.path(), "really-a-jpeg.png", &encoded(&flat, ImageFormat::Jpeg));
    let raster = read_image(&path).unwrap();
    let Samples::U8(samples) = raster.samples else { panic!("8-bit") };
    assert!(samples.chunks(3).all(|p| p[0].abs_diff(200) < 4 && p[1].abs_diff(100) < 4 && p[2].abs_diff(50) < 4));
}

#[test]
fn a_jpeg_that_is_cut_short_is_damaged_not_grey() {
    let folder = tempfile::tempdir().unwrap();
    let image = DynamicImage::ImageRgb8(ImageBuffer::from_fn(64, 64, |x, y| Rgb([x as u8 * 3, y as u8 * 3, 90])));
    let bytes = encoded(&image, ImageFormat::Jpeg);
    let whole = read_image(&write(folder.path(), "whole.jpg", &bytes)).unwrap();
    // The end marker alone is no loss.
    assert_eq!(read_image(&write(folder.path(), "open.jpg", &bytes[..bytes.len() - 2])).unwrap(), whole);
    for length in [bytes.len() / 2, bytes.len() - 6] {
        let path = write(folder.path(), "cut.jpg", &bytes[..length]);
        assert!(read_image(&path).unwrap_err().to_string().contains("its end is missing"), "{length}");
    }
}

#[test]
fn labels_of_a_white_is_zero_tiff_are_the_stored_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    let mut image = encoder.new_image::<colortype::Gray8>(3, 2).unwrap();
    image.encoder().write_tag(Tag::PhotometricInterpretation, 0u16).unwrap();
    image.write_data(&VALUES.map(|v| v as u8)).unwrap();
    let path = write(folder.path(), "inverted.tif", &bytes.into_inner());
    assert_eq!(read_labels(&path).unwrap(), RawLabels::Values(SIZE, VALUES.to_vec()));
}

/// Of a damaged file; an alpha beyond the samples there is none.
#[test]
fn a_tiff_with_more_extra_samples_than_samples_has_no_alpha() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    let mut image = encoder.new_image::<colortype::Gray8>(3, 2).unwrap();
    // Unspecified, and alpha.
    image.encoder().write_tag(Tag::ExtraSamples, &[0u16, 2][..]).unwrap();
    image.write_data(&VALUES.map(|v| v as u8)).unwrap();
    let path = write(folder.path(), "extra.tif", &bytes.into_inner());
    let raster = read_image(&path).unwrap();
    assert_eq!((raster.bands, raster.alpha), (1, None));
    assert_eq!(raster.samples, Samples::U8(VALUES.map(|v| v as u8).to_vec()));
    assert_eq!(read_labels(&path).unwrap(), RawLabels::Values(SIZE, VALUES.to_vec()));
}

#[test]
fn float_tiffs_are_taken_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = Cursor::new(Vec::new());
    let values = [-2.5f32, 0.0, 1e6, f32::NAN, 0.25, 7.0];
    TiffEncoder::new(&mut bytes).unwrap().write_image::<colortype::Gray32Float>(3, 2, &values).unwrap();
    let raster = read_image(&write(folder.path(), "float.tif", &bytes.into_inner())).unwrap();
    let planes = raster.to_planes();
    assert!(planes[3].is_nan() && planes[2] == 1e6 && planes[0] == -2.5);
}

#[test]
fn a_palette_image_is_colour_but_a_palette_label_is_its_index() {
    let folder = tempfile::tempdir().unwrap();
    let indices = VALUES.map(|v| v as u8);
    let png = write(folder.path(), "palette.png", &palette_png(png::BitDepth::Eight, &indices));
    let tiff = write(folder.path(), "palette.tif", &palette_tiff());
    for path in [&png, &tiff] {
        assert_eq!(read_labels(path).unwrap(), RawLabels::Values(SIZE, VALUES.to_vec()), "{}", path.display());
        assert_eq!(read_image(path).unwrap().bands, 3, "{}", path.display());
    }
    let Samples::U8(colors) = read_image(&tiff).unwrap().samples else { panic!("8-bit") };
    assert_eq!(colors[15..], [200, 200, 200]);
    // 4-bit indices are packed, the high half first; rows begin on a byte.
    let packed = write(folder.path(), "palette4.png", &palette_png(png::BitDepth::Four, &[0x01, 0x20, 0x34, 0xf0]));
    assert_eq!(read_labels(&packed).unwrap(), RawLabels::Values(SIZE, vec![0, 1, 2, 3, 4, 15]));
}

#[test]
fn label_images_of_every_kind() {
    let folder = tempfile::tempdir().unwrap();
    let deep =
        DynamicImage::ImageLuma16(ImageBuffer::<Luma<u16>, _>::from_vec(3, 2, vec![0, 1, 2, 3, 4, 60_000]).unwrap());
    let color = DynamicImage::ImageRgba8(ImageBuffer::from_fn(3, 2, |x, y| Rgba([x as u8, y as u8, 5, 255])));
    for format in [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::Bmp] {
        let path = write(folder.path(), "grey", &encoded(&grey8(), format));
        assert_eq!(read_labels(&path).unwrap(), RawLabels::Values(SIZE, VALUES.to_vec()), "{format:?}");
    }
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let path = write(folder.path(), "deep", &encoded(&deep, format));
        assert_eq!(read_labels(&path).unwrap(), RawLabels::Values(SIZE, vec![0, 1, 2, 3, 4, 60_000]), "{format:?}");
    }
    for format in [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::WebP] {
        let path = write(folder.path(), "color", &encoded(&color, format));
        let RawLabels::Colors(size, colors) = read_labels(&path).unwrap() else { panic!("{format:?}") };
        assert_eq!((size, colors[5]), (SIZE, [2, 1, 5]), "{format:?}");
    }
    let jpeg = write(folder.path(), "label.jpg", &encoded(&grey8(), ImageFormat::Jpeg));
    assert!(read_labels(&jpeg).unwrap_err().to_string().contains("save the label image as PNG or TIFF"));
}

#[test]
fn predictions_come_back_in_the_smallest_type() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.npy");
    for (largest, bytes_a_value) in [(255, 1), (256, 2)] {
        write_label_npy(&path, SIZE, &VALUES, largest).unwrap();
        assert_eq!(read_label_npy(&path).unwrap(), (SIZE, VALUES.to_vec()));
        assert_eq!(fs::metadata(&path).unwrap().len() as usize % 64, 6 * bytes_a_value);
    }
}

#[test]
fn every_npy_type_order_and_version_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, columns) = ([1u16, 2, 3, 4, 5, 6], [1, 4, 2, 5, 3, 6]);
    type Bytes<'a> = &'a dyn Fn(u16) -> Vec<u8>;
    let types: [(&str, Bytes<'_>); 11] = [
        ("b1", &|v| vec![u8::from(v > 0)]),
        ("u1", &|v| vec![v as u8]),
        ("i1", &|v| vec![v as u8]),
        ("u2", &|v| v.to_le_bytes().into()),
        ("i2", &|v| (v as i16).to_le_bytes().into()),
        ("u4", &|v| u32::from(v).to_le_bytes().into()),
        ("i4", &|v| i32::from(v).to_le_bytes().into()),
        ("i8", &|v| i64::from(v).to_le_bytes().into()),
        ("f2", &|v| half::f16::from_f32(v.into()).to_le_bytes().into()),
        ("f4", &|v| f32::from(v).to_le_bytes().into()),
        ("f8", &|v| f64::from(v).to_le_bytes().into()),
    ];
    for (kind, bytes) in types {
        for (mark, big) in [('<', false), ('>', true), ('|', false)] {
            for (version, fortran) in [(1, false), (2, true), (3, false)] {
                let mut words = if fortran { columns } else { rows }.map(bytes);
                words.iter_mut().filter(|_| big).for_each(|word| word.reverse());
                let file = npy(version, &format!("'{mark}{kind}'"), fortran, "(2, 3)", &words.concat());
                let read = read_label_npy(&write(folder.path(), "x.npy", &file)).unwrap();
                // Truth values are all 1.
                let wanted = if kind == "b1" { vec![1; 6] } else { rows.to_vec() };
                assert_eq!(read, (SIZE, wanted), "{mark}{kind} {version}");
            }
        }
    }
}

#[test]
fn npy_without_labels_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |file: &[u8], words: &str| {
        let message = read_label_npy(&write(folder.path(), "x.npy", file)).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    };
    let integers = |shape: &str, values: &[i64]| {
        npy(1, "'<i8'", false, shape, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
    };
    refused(&integers("(6,)", &[1, 2, 3, 4, 5, 6]), "has shape [6]");
    refused(&integers("(2, 3)", &[1, 2]), "cut short");
    refused(&integers("(2, 3)", &[1, 2, 3, -4, 5, 6]), "label -4 at pixel (0, 1)");
    refused(&npy(1, "'<c8'", false, "(2, 3)", &[0; 48]), "has type '<c8'");
    let floats: Vec<u8> = [1.0f32, 2.5, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    refused(&npy(1, "'<f4'", false, "(2, 3)", &floats), "label 2.5 at pixel (1, 0)");
    refused(b"hello", "not a .npy file");
}

#[test]
fn what_is_no_image_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, words) in [
        ("empty.png", b"".as_slice(), "the file is empty"),
        ("text.png", b"hello, this is text", "not an image that segtool reads"),
        ("header.tif", b"II*\0\x08\0\0\0", "damaged or unsupported TIFF"),
        ("header.png", b"\x89PNG\r\n\x1a\n", "damaged"),
    ] {
        let path = write(folder.path(), name, bytes);
        for message in [read_image(&path).unwrap_err().to_string(), read_labels(&path).unwrap_err().to_string()] {
            assert!(message.contains(name) && message.contains(words), "{message}");
        }
    }
    assert!(read_image(folder.path()).unwrap_err().to_string().contains("is a folder"));
}

#[test]
fn lossy_webp_in_a_tiff_holds_no_labels() {
    let lossless = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiff/webp.tif");
    assert!(segtool::image::read_labels(&lossless).is_ok());
    let mut bytes = std::fs::read(lossless).unwrap();
    let kind = bytes.windows(4).position(|word| word == b"VP8L").unwrap();
    bytes[kind + 3] = b' ';
    let folder = tempfile::tempdir().unwrap();
    let lossy = folder.path().join("labels.tif");
    std::fs::write(&lossy, bytes).unwrap();
    let said = segtool::image::read_labels(&lossy).unwrap_err().to_string();
    assert!(said.contains("labels.tif: a TIFF with lossy WebP compression cannot hold labels"), "{said}");
}
