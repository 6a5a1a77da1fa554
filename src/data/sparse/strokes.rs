//! Label images in which transparent pixels are not labelled, as strokes on a layer of their own are saved.

use std::collections::HashMap;
use std::path::Path;

use crate::base::label_map::{IGNORE, LabelMap};
use crate::base::{Error, Result};
use crate::data::Dataset;
use crate::image::{AlphaBand, LabelImage, RawLabels, Samples, read_image, read_labels_and_alpha};

/// Soft edges mix colours a little: one may be so far from its class's, in every channel.
const NEAR: u8 = 32;

/// Reads a label image as class indices, as [`load_labels`](crate::data::load_labels) does, but transparent pixels are
/// [`IGNORE`], whatever their value or colour. Along soft edges, those with an alpha of at least half count as drawn, and
/// colours close to a single class's mean that class. A palette with transparent entries is one of colours where all that is
/// drawn has the colours of classes, for programs number them as they like; else its indices are label values.
pub fn load_sparse_labels(path: &Path, dataset: &Dataset) -> Result<LabelMap> {
    let LabelImage { mut raw, alpha } = read_labels_and_alpha(path)?;
    let Some(alpha) = alpha else { return dataset.class_map(path, &raw) };
    let drawn = opaque(path, &alpha, raw.size().width)?;
    if let RawLabels::Colors(_, colors) = &mut raw {
        settle(colors, &drawn, dataset);
    } else if let Some(colors) = palette_colors(path)?
        && dataset.class_map_where(path, &colors, |i| drawn[i]).is_ok()
    {
        raw = colors;
    }
    let mut labels = dataset.class_map_where(path, &raw, |i| drawn[i])?;
    for (class, _) in labels.classes.iter_mut().zip(&drawn).filter(|(_, drawn)| !**drawn) {
        *class = IGNORE;
    }
    Ok(labels)
}

/// The colours of a label image with a palette.
fn palette_colors(path: &Path) -> Result<Option<RawLabels>> {
    let image = read_image(path)?;
    Ok(match (image.bands, &image.samples) {
        (3, Samples::U8(samples)) => Some(RawLabels::Colors(image.size, samples.as_chunks::<3>().0.to_vec())),
        _ => None,
    })
}

/// Makes drawn colours that are close to one class's colour, and to no other's, that colour.
fn settle(colors: &mut [[u8; 3]], drawn: &[bool], dataset: &Dataset) {
    let classes = dataset.classes.iter().map(|class| class.colors().collect::<Vec<_>>());
    let classes: Vec<Vec<[u8; 3]>> = classes.chain([dataset.ignore_colors.clone()]).collect();
    let mut known: HashMap<[u8; 3], [u8; 3]> = HashMap::new();
    for (color, _) in colors.iter_mut().zip(drawn).filter(|(_, drawn)| **drawn) {
        *color = *known.entry(*color).or_insert_with(|| nearest(*color, &classes).unwrap_or(*color));
    }
}

/// The class's colour that a colour is meant to be; none if it is close to none, or nearly as close to another class's.
fn nearest(color: [u8; 3], classes: &[Vec<[u8; 3]>]) -> Option<[u8; 3]> {
    let distance = |other: &[u8; 3]| color.iter().zip(other).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
    let closest = |colors: &Vec<[u8; 3]>| colors.iter().map(|own| (distance(own), *own)).min();
    let mut found: Vec<(u8, [u8; 3])> = classes.iter().filter_map(closest).collect();
    found.sort_unstable();
    let (first, own) = *found.first()?;
    let clear = found.get(1).is_none_or(|(second, _)| u16::from(*second) > 2 * u16::from(first));
    (first <= NEAR && clear).then_some(own)
}

/// Which pixels are opaque, at least by half.
fn opaque(path: &Path, alpha: &AlphaBand, width: usize) -> Result<Vec<bool>> {
    let (opaque, soft) = match &alpha.samples {
        Samples::U8(samples) => at_least(samples, [1 << 7, u8::MAX]),
        Samples::U16(samples) => at_least(samples, [1 << 15, u16::MAX]),
        Samples::F32(samples) => at_least(samples, [0.5, 1.0]),
    };
    match soft.filter(|_| alpha.associated) {
        None => Ok(opaque),
        Some(i) => Err(Error::content(
            path,
            format!(
                "the value of the half-transparent pixel ({}, {}) has been multiplied by its alpha, so its class is \
                 lost; save the label image with unassociated alpha, or as PNG",
                i % width,
                i / width
            ),
        )),
    }
}

/// Which samples reach half, and the first of these that is not full.
fn at_least<T: Copy + PartialOrd>(samples: &[T], [half, full]: [T; 2]) -> (Vec<bool>, Option<usize>) {
    let soft = samples.iter().position(|sample| (half..full).contains(sample));
    (samples.iter().map(|sample| *sample >= half).collect(), soft)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Cursor;
    use std::path::PathBuf;

    use image::{DynamicImage, ImageBuffer, ImageFormat, LumaA, Rgba};
    use tiff::encoder::{TiffEncoder, colortype};
    use tiff::tags::ExtraSamples;

    use super::*;
    use crate::base::Size;
    use crate::data::check_size;

    const SIZE: Size = Size { width: 3, height: 2 };

    /// Classes 0 to 3 are values 1 to 4; 0 is not labelled.
    fn core() -> Dataset {
        Dataset::find("core").unwrap()
    }

    fn save(folder: &Path, name: &str, image: &DynamicImage, format: ImageFormat) -> PathBuf {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        let path = folder.join(name);
        fs::write(&path, bytes.into_inner()).unwrap();
        path
    }

    fn classes(path: &Path) -> Vec<u16> {
        let labels = load_sparse_labels(path, &core()).unwrap();
        assert_eq!(labels.size, SIZE);
        labels.classes
    }

    fn message(path: &Path) -> String {
        load_sparse_labels(path, &core()).unwrap_err().to_string()
    }

    /// A stroke of the first class with a soft edge, one of the fourth, and nonsense where it is transparent.
    fn strokes() -> ImageBuffer<Rgba<u8>, Vec<u8>> {
        let [sand, gap] = [[222, 184, 135], [25, 25, 25]];
        let pixels = [(sand, 255), (sand, 128), (sand, 127), ([1, 2, 3], 0), ([9, 9, 9], 127), (gap, 200)];
        let samples = pixels.iter().flat_map(|&([r, g, b], alpha)| [r, g, b, alpha]).collect();
        ImageBuffer::from_vec(3, 2, samples).unwrap()
    }

    const WANTED: [u16; 6] = [0, 0, IGNORE, IGNORE, IGNORE, 3];

    #[test]
    fn transparent_pixels_of_strokes_are_not_labelled() {
        let folder = tempfile::tempdir().unwrap();
        for format in [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::WebP] {
            let path = save(folder.path(), "strokes", &DynamicImage::ImageRgba8(strokes()), format);
            assert_eq!(classes(&path), WANTED, "{format:?}");
        }
    }

    #[test]
    fn an_unknown_colour_is_an_error_where_it_is_opaque() {
        let folder = tempfile::tempdir().unwrap();
        let mut image = strokes();
        image.put_pixel(1, 1, Rgba([9, 200, 9, 128]));
        let path = save(folder.path(), "strokes.png", &DynamicImage::ImageRgba8(image), ImageFormat::Png);
        assert_refused!(
            load_sparse_labels(&path, &core()),
            "strokes.png: label colour [9, 200, 9] at pixel (1, 1) is not in data set"
        );
    }

    #[test]
    fn colours_of_soft_edges_mean_the_class_that_they_are_close_to() {
        let folder = tempfile::tempdir().unwrap();
        let mut image = strokes();
        image.put_pixel(0, 0, Rgba([209, 190, 120, 255]));
        image.put_pixel(2, 1, Rgba([3, 5, 40, 255]));
        let path = save(folder.path(), "strokes.png", &DynamicImage::ImageRgba8(image), ImageFormat::Png);
        assert_eq!(classes(&path), WANTED);
        let classes = [vec![[0, 0, 0]], vec![[20, 20, 20], [90, 90, 90]]];
        assert_eq!(nearest([4, 2, 0], &classes), Some([0; 3]));
        assert_eq!(nearest([9, 10, 10], &classes), None);
        assert_eq!(nearest([80, 70, 95], &classes), Some([90; 3]));
        assert_eq!(nearest([128, 90, 90], &classes), None);
    }

    #[test]
    fn palettes_of_the_classes_colours_are_colours() {
        let folder = tempfile::tempdir().unwrap();
        let palette = [[25, 25, 25], [160, 82, 45], [1, 2, 3], [222, 184, 135]];
        let write = |palette: &[[u8; 3]]| {
            let indexed = (png::ColorType::Indexed, palette);
            declared(folder.path(), indexed, &[255, 255, 0, 255], &[0, 1, 2, 3, 1, 2])
        };
        assert_eq!(classes(&write(&palette)), [3, 1, IGNORE, 0, 1, IGNORE]);
        // With any other colour, the indices are label values.
        let other = [[25, 25, 26], palette[1], palette[2], palette[3]];
        assert_eq!(classes(&write(&other)), [IGNORE, 0, IGNORE, 2, 0, IGNORE]);
    }

    #[test]
    fn sixteen_bit_colours_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        // Not those that are 8-bit colours spread.
        let mut deep = DynamicImage::ImageRgba8(strokes()).into_rgba16();
        deep.pixels_mut().for_each(|pixel| pixel.0[0] |= 1);
        let image = deep.into();
        for (name, format) in [("deep.png", ImageFormat::Png), ("deep.tif", ImageFormat::Tiff)] {
            let path = save(folder.path(), name, &image, format);
            let wanted = format!("{}: a colour label image must have 8 bits per band", path.display());
            assert_eq!(message(&path), wanted);
        }
    }

    #[test]
    fn grey_with_alpha_holds_values() {
        let folder = tempfile::tempdir().unwrap();
        let pixels = [(1, 255), (1, 128), (1, 127), (77, 0), (0, 255), (4, 255)];
        let wanted = [0, 0, IGNORE, IGNORE, IGNORE, 3];
        let pixel = |x: u32, y: u32| pixels[(3 * y + x) as usize];
        let shallow = ImageBuffer::from_fn(3, 2, |x, y| LumaA([pixel(x, y).0, pixel(x, y).1]));
        // 16-bit alpha is cut at half as well: 127 becomes 0x7fff, 128 becomes 0x8000.
        let deep_alpha = |alpha: u8| (u16::from(alpha) << 8) + if alpha < 128 { 255 } else { 0 };
        let deep = ImageBuffer::from_fn(3, 2, |x, y| LumaA([u16::from(pixel(x, y).0), deep_alpha(pixel(x, y).1)]));
        for (name, image) in
            [("8.png", DynamicImage::ImageLumaA8(shallow)), ("16.png", DynamicImage::ImageLumaA16(deep))]
        {
            assert_eq!(classes(&save(folder.path(), name, &image, ImageFormat::Png)), wanted, "{name}");
        }
        let samples: Vec<u8> = pixels.iter().flat_map(|&(value, alpha)| [value, alpha]).collect();
        assert_eq!(classes(&grey_tiff(folder.path(), ExtraSamples::UnassociatedAlpha, &samples)), wanted);
    }

    fn grey_tiff(folder: &Path, extra: ExtraSamples, samples: &[u8]) -> PathBuf {
        let mut bytes = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
        let mut image = encoder.new_image::<colortype::Gray8>(3, 2).unwrap();
        image.extra_samples(&[extra]).unwrap();
        image.write_data(samples).unwrap();
        let path = folder.join("grey.tif");
        fs::write(&path, bytes.into_inner()).unwrap();
        path
    }

    #[test]
    fn alpha_that_values_were_multiplied_by_must_be_all_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let hard = [1, 255, 2, 255, 0, 0, 0, 100, 3, 255, 4, 255];
        let path = grey_tiff(folder.path(), ExtraSamples::AssociatedAlpha, &hard);
        assert_eq!(classes(&path), [0, 1, IGNORE, IGNORE, 2, 3]);
        let soft = [1, 255, 2, 255, 0, 0, 0, 0, 3, 200, 4, 255];
        let path = grey_tiff(folder.path(), ExtraSamples::AssociatedAlpha, &soft);
        let words = "grey.tif: the value of the half-transparent pixel (1, 1) has been multiplied";
        assert_refused!(load_sparse_labels(&path, &core()), words);
        // A second band that is not alpha says nothing about labels.
        let path = grey_tiff(folder.path(), ExtraSamples::Unspecified, &[1, 0, 2, 0, 3, 0, 4, 0, 1, 0, 0, 0]);
        assert_eq!(classes(&path), [0, 1, 2, 3, 0, IGNORE]);
    }

    fn declared(folder: &Path, (color, palette): (png::ColorType, &[[u8; 3]]), trns: &[u8], data: &[u8]) -> PathBuf {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 3, 2);
        encoder.set_color(color);
        if color == png::ColorType::Indexed {
            encoder.set_palette(palette.concat());
        }
        encoder.set_trns(trns);
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        let path = folder.join("declared.png");
        fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn transparency_that_a_png_declares_counts() {
        let folder = tempfile::tempdir().unwrap();
        // Entries 1 and 9 are transparent, 2 is by less than half, and those without an alpha are opaque.
        let alphas = [255, 0, 128, 255, 255, 255, 255, 255, 255, 5];
        let indexed = (png::ColorType::Indexed, &[[7; 3]; 10][..]);
        let path = declared(folder.path(), indexed, &alphas, &[0, 1, 2, 3, 4, 9]);
        assert_eq!(classes(&path), [IGNORE, IGNORE, 1, 2, 3, IGNORE]);
        let path = declared(folder.path(), indexed, &[255, 0], &[0, 1, 2, 3, 4, 9]);
        assert!(message(&path).contains("declared.png: label 9 at pixel (2, 1)"));
        let path = declared(folder.path(), (png::ColorType::Grayscale, &[]), &[0, 77], &[0, 1, 2, 3, 4, 77]);
        assert_eq!(classes(&path), [IGNORE, 0, 1, 2, 3, IGNORE]);
        let colors = [[222, 184, 135], [9, 9, 9], [25, 25, 25], [9, 9, 9], [9, 9, 9], [9, 9, 9]].concat();
        let path = declared(folder.path(), (png::ColorType::Rgb, &[]), &[0, 9, 0, 9, 0, 9], &colors);
        assert_eq!(classes(&path), [0, IGNORE, 3, IGNORE, IGNORE, IGNORE]);
        let deep: Vec<u8> = colors.iter().flat_map(|&sample| [sample; 2]).collect();
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 3, 2);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Sixteen);
        encoder.set_trns(vec![9u8; 6]);
        encoder.write_header().unwrap().write_image_data(&deep).unwrap();
        fs::write(&path, bytes).unwrap();
        assert_eq!(classes(&path), [0, IGNORE, 3, IGNORE, IGNORE, IGNORE]);
    }

    #[test]
    fn without_alpha_it_is_any_label_image() {
        let folder = tempfile::tempdir().unwrap();
        let image = DynamicImage::ImageLuma8(ImageBuffer::from_vec(3, 2, vec![0, 1, 2, 3, 4, 0]).unwrap());
        let path = save(folder.path(), "grey.png", &image, ImageFormat::Png);
        assert_eq!(classes(&path), [IGNORE, 0, 1, 2, 3, IGNORE]);
        assert_eq!(load_sparse_labels(&path, &core()).unwrap(), crate::data::load_labels(&path, &core()).unwrap());
    }

    #[test]
    fn labels_of_another_size_than_the_image_are_refused() {
        let (image, labels) = (Path::new("a.jpg"), Path::new("a.png"));
        assert!(check_size((image, SIZE), (labels, SIZE)).is_ok());
        assert_refused!(
            check_size((image, SIZE), (labels, Size { width: 2, height: 3 })),
            "sizes differ: a.jpg is 3x2, a.png is 2x3"
        );
    }
}
