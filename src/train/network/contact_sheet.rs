//! An image of what the network is trained on: augmented samples beside the same with their labels over them.

use std::collections::BTreeSet;
use std::path::Path;

use image::{RgbImage, imageops};

use crate::base::label_map::IGNORE;
use crate::base::{Result, Size};
use crate::data::{Augmentation, Dataset, Loader, Preview};
use crate::draw::{Figure, Frame, LegendRow, LegendTable, Panel, figure, overlay_labels, stack, write_png};
use crate::image::{Image, Samples, Scaling, nearest};

/// Samples of a sheet; fewer if an epoch has fewer.
const SAMPLES: usize = 24;
/// Samples side by side.
const COLUMNS: usize = 4;
/// Longest side of a sample on the sheet, in pixels.
const SIDE: usize = 200;
/// Between a sample and its labels.
const GUTTER: usize = 4;
const OPACITY: f32 = 0.55;
const WHITE: image::Rgb<u8> = image::Rgb([255; 3]);
/// Stripes over pixels without a label.
const HATCH: image::Rgb<u8> = image::Rgb([150; 3]);
/// Width of a stripe, and distance from one to the next.
const STRIPES: (u32, u32) = (2, 7);

/// Writes a PNG of the first 24 samples of the first epoch, augmented as in training, each beside itself with the
/// classes' colours over it; pixels that are ignored are hatched. 8-bit images are shown as they are, others
/// stretched between their 2nd and 98th percentile.
pub fn write_contact_sheet(path: &Path, loader: &Loader, seed: u64, augmentations: &[Augmentation]) -> Result<()> {
    let colors = loader.dataset.shown_colors();
    let mut cells = Vec::new();
    let mut shown = BTreeSet::new();
    for preview in loader.preview(seed, 0, SAMPLES, augmentations) {
        let preview = preview?;
        shown.extend(preview.sample.labels.classes.iter().copied());
        let name = loader.pairs[preview.pair].image.file_name().unwrap_or_default().to_string_lossy().into_owned();
        cells.push(Panel { title: name, image: cell(&preview, &colors) });
    }
    let row = |panels: &[Panel]| {
        let widths: u32 = panels.iter().map(|panel| panel.image.width() + 16).sum();
        figure(&Figure {
            panels: panels.to_vec(),
            frame: Frame::Titles,
            max_width: Some(widths.max(16)),
            ..Figure::default()
        })
    };
    let rows: Vec<RgbImage> = cells.chunks(COLUMNS).map(row).collect();
    let sheet = Panel { title: String::new(), image: stack(&rows) };
    let legends = vec![LegendTable { columns: Vec::new(), rows: legend(&loader.dataset, &colors, &shown) }];
    write_png(path, &figure(&Figure { panels: vec![sheet], legends, ..Figure::default() }))
}

/// A sample, and the same with its labels.
fn cell(preview: &Preview, colors: &[[u8; 3]]) -> RgbImage {
    let from = preview.sample.labels.size;
    let scale = SIDE as f64 / from.width.max(from.height) as f64;
    let side = |side: usize| ((side as f64 * scale).round() as usize).clamp(1, SIDE);
    let size = Size { width: side(from.width), height: side(from.height) };
    let image = resized(to_rgb(preview), size);
    let labels = nearest(&preview.sample.labels.classes, from, size);
    let mut labelled = overlay_labels(&image, &labels, colors, OPACITY);
    for ((x, y, pixel), class) in labelled.enumerate_pixels_mut().zip(&labels) {
        if *class == IGNORE && (x + y) % STRIPES.1 < STRIPES.0 {
            *pixel = HATCH;
        }
    }
    let mut cell = RgbImage::from_pixel((2 * SIDE + GUTTER) as u32, SIDE as u32, WHITE);
    imageops::replace(&mut cell, &image, 0, 0);
    imageops::replace(&mut cell, &labelled, (SIDE + GUTTER) as i64, 0);
    cell
}

fn to_rgb(preview: &Preview) -> RgbImage {
    let planes = &preview.sample.planes;
    let size = preview.sample.labels.size;
    let pixels = size.width * size.height;
    let bands = planes.len() / pixels;
    let interleaved = (0..planes.len()).map(|i| planes[i % bands * pixels + i / bands]);
    let samples = if preview.is_8_bit {
        // NaN becomes 0.
        Samples::U8(interleaved.map(|value| (value * 255.0).round() as u8).collect())
    } else {
        Samples::F32(interleaved.collect())
    };
    Image::new(size, bands, samples).to_rgb(&[])
}

fn resized(image: RgbImage, to: Size) -> RgbImage {
    let size = Size::from(image.dimensions());
    Image::new(size, 3, Samples::U8(image.into_raw())).resized(to, Scaling::Pillow).to_rgb(&[])
}

/// The classes that occur.
fn legend(dataset: &Dataset, colors: &[[u8; 3]], shown: &BTreeSet<u16>) -> Vec<LegendRow> {
    let row = |class: &u16| {
        let name = dataset.classes.get(usize::from(*class))?.name.clone();
        Some(LegendRow { color: colors.get(usize::from(*class)).copied(), name, values: Vec::new() })
    };
    shown.iter().filter_map(row).collect()
}
