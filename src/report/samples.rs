//! Predictions to flip through.

use std::collections::{BTreeMap, BTreeSet};

use image::RgbImage;
use image::imageops::{FilterType, resize};
use serde::Serialize;

use super::ranking::image_iou;
use super::text::{data_uri, hex, json, score};
use crate::base::label_map::{IGNORE, LabelMap};
use crate::base::words::per_cent;
use crate::base::{Result, Size};
use crate::data::{Dataset, Pair, displayed};
use crate::draw::{Classes, Judgement, encode_jpeg};
use crate::image::{Pixels, encode_small_png, nearest, read_image};

/// Samples of a report, at most.
const MOST_SAMPLES: usize = 24;
/// Largest sample, in pixels; the image of a screen's half.
const MOST_SIZE: Size = Size { width: 640, height: 960 };
/// Images that are this many times as long as wide, such as cores, are shown one above the other,
const LONG: usize = 3;
/// and are longer, in pixels.
const MOST_LENGTH: usize = 2560;
/// What the samples of a report take together, in bytes; of larger ones there are fewer.
const MOST_BYTES: usize = 4 << 20;
/// Photographs look as before, at a third of the size of the best quality.
const QUALITY: u8 = 82;

/// An image with its label and its prediction, all of one size of up to 640 x 960 pixels; long ones up to 2560 pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplePrediction {
    /// What it is called.
    pub name: String,
    /// The image.
    pub image: RgbImage,
    /// Its label.
    pub labels: LabelMap,
    /// Its prediction.
    pub prediction: LabelMap,
    /// Mean IoU over the classes of its label, in full size.
    pub mean_iou: Option<f64>,
}

/// Gathers the samples of a report from the images of a validation: some of them, evenly spread, and reduced.
#[derive(Debug, Clone)]
pub struct Gallery {
    classes: usize,
    chosen: BTreeSet<usize>,
    kept: BTreeMap<usize, Kept>,
}

/// A sample but for the image, which is read when it is needed.
#[derive(Debug, Clone)]
struct Kept {
    labels: LabelMap,
    prediction: LabelMap,
    mean_iou: Option<f64>,
}

impl Gallery {
    /// For a set of `images` images.
    pub fn new(images: usize, classes: usize) -> Self {
        let count = images.min(MOST_SAMPLES);
        Self { classes, chosen: (0..count).map(|i| i * images / count).collect(), kept: BTreeMap::new() }
    }

    /// The places in the set of those that were chosen.
    pub(crate) fn chosen(&self) -> impl Iterator<Item = usize> {
        self.chosen.iter().copied()
    }

    /// Whether the image at this place in the set was chosen.
    pub(crate) fn wants(&self, index: usize) -> bool {
        self.chosen.contains(&index)
    }

    /// Takes an image in, if it was chosen. `index` is its place in the set.
    pub fn add(&mut self, index: usize, labels: &LabelMap, prediction: &LabelMap) {
        if self.chosen.contains(&index) {
            let mean_iou = image_iou(labels, prediction, self.classes);
            self.kept.insert(index, Kept { labels: reduced(labels), prediction: reduced(prediction), mean_iou });
        }
    }

    /// The samples with their images, which are read again.
    pub fn samples(&self, pairs: &[Pair], dataset: &Dataset) -> Result<Vec<SamplePrediction>> {
        let known = self.kept.iter().filter_map(|(index, kept)| Some((pairs.get(*index)?, kept)));
        known
            .map(|(pair, kept)| {
                let size = kept.labels.size;
                let image = displayed(read_image(&pair.image)?, dataset.bands, &dataset.nodata_numbers());
                Ok(SamplePrediction {
                    name: pair.image.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                    image: resize(&image, size.width as u32, size.height as u32, FilterType::Triangle),
                    labels: kept.labels.clone(),
                    prediction: kept.prediction.clone(),
                    mean_iou: kept.mean_iou,
                })
            })
            .collect()
    }
}

fn reduced(map: &LabelMap) -> LabelMap {
    let Size { width, height } = map.size;
    let most = match () {
        () if width > LONG * height => Size { width: MOST_LENGTH, ..MOST_SIZE },
        () if height > LONG * width => Size { height: MOST_LENGTH, ..MOST_SIZE },
        () => MOST_SIZE,
    };
    let scale = (most.width as f64 / width as f64).min(most.height as f64 / height as f64);
    if scale >= 1.0 {
        return map.clone();
    }
    let side = |length: usize| ((length as f64 * scale).round() as usize).max(1);
    let size = Size { width: side(width), height: side(height) };
    LabelMap { size, classes: nearest(&map.classes, map.size, size) }
}

/// A sample as the script reads it.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    score: String,
    width: usize,
    height: usize,
    image: String,
    label: String,
    prediction: String,
    errors: String,
    /// Class, share of the label, share of the prediction; the commonest first.
    legend: Vec<(usize, String, String)>,
}

impl Shown<'_> {
    fn bytes(&self) -> usize {
        self.image.len() + self.label.len() + self.prediction.len() + self.errors.len()
    }
}

/// What the script reads.
#[derive(Serialize)]
struct Data<'a> {
    classes: Vec<(&'a str, String)>,
    samples: Vec<Shown<'a>>,
}

/// The samples as JSON, as many as there is room for.
pub(super) fn sample_data(samples: &[SamplePrediction], classes: &Classes) -> Result<String> {
    let names = classes.names.iter().map(String::as_str);
    let mut data =
        Data { classes: names.zip(classes.colors.iter().map(|&color| hex(color))).collect(), samples: Vec::new() };
    let mut bytes = 0;
    for sample in samples.iter().take(MOST_SAMPLES) {
        let shown = shown(sample, classes)?;
        bytes += shown.bytes();
        if bytes > MOST_BYTES && !data.samples.is_empty() {
            break;
        }
        data.samples.push(shown);
    }
    json(&data)
}

fn shown<'a>(sample: &'a SamplePrediction, classes: &Classes) -> Result<Shown<'a>> {
    let size = sample.labels.size;
    let map = |map: &LabelMap| color_map(map, &classes.colors);
    let judged = sample.labels.classes.iter().zip(&sample.prediction.classes);
    let errors: Vec<u8> = judged
        .map(|(&label, &predicted)| match label {
            IGNORE => 2,
            label => u8::from(label != predicted),
        })
        .collect();
    let meanings = [Judgement::Right, Judgement::Wrong, Judgement::NotLabelled].map(Judgement::color);
    Ok(Shown {
        name: &sample.name,
        score: score(sample.mean_iou),
        width: size.width,
        height: size.height,
        image: data_uri("image/jpeg", &encode_jpeg(&sample.image, QUALITY)?),
        label: map(&sample.labels)?,
        prediction: map(&sample.prediction)?,
        errors: data_uri("image/png", &encode_small_png(size, Pixels::Indexed(&errors, &meanings))?),
        legend: legend(sample, classes.names.len()),
    })
}

/// A class map in its colours: a palette of those that occur, or true colours where they are more than a palette holds.
fn color_map(map: &LabelMap, colors: &[[u8; 3]]) -> Result<String> {
    let color = |class: u16| colors.get(usize::from(class)).copied().unwrap_or_default();
    let used: BTreeSet<u16> = map.classes.iter().copied().collect();
    let places: BTreeMap<u16, usize> = used.iter().copied().zip(0..).collect();
    let file = if used.len() <= 256 {
        let palette: Vec<[u8; 3]> = used.iter().map(|&class| color(class)).collect();
        let indices: Vec<u8> = map.classes.iter().map(|class| places[class] as u8).collect();
        encode_small_png(map.size, Pixels::Indexed(&indices, &palette))?
    } else {
        let samples: Vec<u8> = map.classes.iter().flat_map(|&class| color(class)).collect();
        encode_small_png(map.size, Pixels::Rgb8(&samples))?
    };
    Ok(data_uri("image/png", &file))
}

fn legend(sample: &SamplePrediction, classes: usize) -> Vec<(usize, String, String)> {
    let mut areas = vec![(0u64, 0u64); classes];
    let mut pixels = 0;
    let labelled = sample.labels.classes.iter().zip(&sample.prediction.classes).filter(|(l, _)| **l != IGNORE);
    for (&label, &predicted) in labelled {
        pixels += 1;
        if let Some(area) = areas.get_mut(usize::from(label)) {
            area.0 += 1;
        }
        if let Some(area) = areas.get_mut(usize::from(predicted)) {
            area.1 += 1;
        }
    }
    let mut present: Vec<usize> = (0..classes).filter(|&class| areas[class] != (0, 0)).collect();
    present.sort_by_key(|&class| std::cmp::Reverse(areas[class]));
    let entry = |class: usize| (class, per_cent(areas[class].0, pixels), per_cent(areas[class].1, pixels));
    present.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_spread_over_the_set() {
        let chosen = |images| Gallery::new(images, 2).chosen.into_iter().collect::<Vec<_>>();
        assert!(chosen(0).is_empty());
        assert_eq!(chosen(3), [0, 1, 2]);
        let many = chosen(2000);
        assert_eq!((many.len(), many[0], many[23]), (24, 0, 23 * 2000 / 24));
    }

    #[test]
    fn large_maps_are_reduced() {
        let size = Size { width: 5200, height: 3 };
        let map = LabelMap { size, classes: (0..15_600).map(|i| (i % 5200 / 8) as u16).collect() };
        let small = reduced(&map);
        assert_eq!((small.size, small.classes.len()), (Size { width: 2560, height: 1 }, 2560));
        assert!(small.classes.is_sorted() && small.classes[2559] == 649);
        let reduced_size = |width, height| {
            let size = Size { width, height };
            reduced(&LabelMap { size, classes: vec![0; width * height] }).size.to_string()
        };
        let found = [(1300, 975), (640, 960), (300, 2000), (300, 200)].map(|(w, h)| reduced_size(w, h));
        assert_eq!(found, ["640x480", "640x960", "300x2000", "300x200"]);
    }

    #[test]
    fn maps_of_more_classes_than_a_palette_holds_keep_their_colours() {
        let size = Size { width: 300, height: 1 };
        let map = LabelMap { size, classes: (0..300).collect() };
        let colors: Vec<[u8; 3]> = (0..300u32).map(|i| [(i / 2) as u8, i as u8, 7]).collect();
        let uri = color_map(&map, &colors).unwrap();
        let file = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &uri[22..]).unwrap();
        assert_eq!(image::load_from_memory(&file).unwrap().into_rgb8().into_raw(), colors.concat());
    }
}
