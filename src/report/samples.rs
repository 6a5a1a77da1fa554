//! Predictions to flip through.

use std::collections::{BTreeMap, BTreeSet};

use image::RgbImage;
use image::imageops::{FilterType, resize};
use serde::Serialize;

use super::ranking::image_iou;
use super::text::{data_uri, json, score};
use crate::base::label_map::{IGNORE, LabelMap};
use crate::base::markup::hex;
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
pub(super) const QUALITY: u8 = 82;

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
        bytes += shown.image.len() + shown.label.len() + shown.prediction.len() + shown.errors.len();
        if bytes > MOST_BYTES && !data.samples.is_empty() {
            break;
        }
        data.samples.push(shown);
    }
    json(&data)
}

fn shown<'a>(sample: &'a SamplePrediction, classes: &Classes) -> Result<Shown<'a>> {
    let SamplePrediction { labels, prediction, .. } = sample;
    Ok(Shown {
        name: &sample.name,
        score: score(sample.mean_iou),
        width: labels.size.width,
        height: labels.size.height,
        image: data_uri("image/jpeg", &encode_jpeg(&sample.image, QUALITY)?),
        label: map_uri(labels, &classes.colors, false)?,
        prediction: map_uri(prediction, &classes.colors, false)?,
        errors: errors(labels, prediction)?,
        legend: legend(labels, Some(prediction), classes.names.len()),
    })
}

/// A class map in its colours: a palette of those that occur, or true colours where they are more than a palette holds. What
/// has no colour is black; in a palette it is transparent if `is_clear`.
pub(super) fn map_uri(map: &LabelMap, colors: &[[u8; 3]], is_clear: bool) -> Result<String> {
    let color = |class: &u16| colors.get(usize::from(*class)).copied().unwrap_or_default();
    let used: BTreeSet<u16> = map.classes.iter().copied().collect();
    let places: BTreeMap<u16, usize> = used.iter().copied().zip(0..).collect();
    let file = if used.len() > 256 {
        let samples: Vec<u8> = map.classes.iter().flat_map(color).collect();
        encode_small_png(map.size, Pixels::Rgb8(&samples))?
    } else {
        let indices: Vec<u8> = map.classes.iter().map(|class| places[class] as u8).collect();
        if is_clear {
            let with_alpha = |class: &u16| {
                let [red, green, blue] = color(class);
                [red, green, blue, if usize::from(*class) < colors.len() { u8::MAX } else { 0 }]
            };
            let palette: Vec<[u8; 4]> = used.iter().map(with_alpha).collect();
            encode_small_png(map.size, Pixels::IndexedAlpha(&indices, &palette))?
        } else {
            let palette: Vec<[u8; 3]> = used.iter().map(color).collect();
            encode_small_png(map.size, Pixels::Indexed(&indices, &palette))?
        }
    };
    Ok(data_uri("image/png", &file))
}

/// Where a prediction is right, wrong or not judged.
pub(super) fn errors(labels: &LabelMap, prediction: &LabelMap) -> Result<String> {
    let judge = |(&label, &predicted): (&u16, &u16)| match label {
        IGNORE => 2,
        label => u8::from(label != predicted),
    };
    let judged: Vec<u8> = labels.classes.iter().zip(&prediction.classes).map(judge).collect();
    let colors = [Judgement::Right, Judgement::Wrong, Judgement::NotLabelled].map(Judgement::color);
    let file = encode_small_png(labels.size, Pixels::Indexed(&judged, &colors))?;
    Ok(data_uri("image/png", &file))
}

/// The classes that occur, with their shares of the labelled pixels by the label and by the prediction.
pub(super) fn legend(labels: &LabelMap, prediction: Option<&LabelMap>, classes: usize) -> Vec<(usize, String, String)> {
    let mut areas = vec![[0_u64; 2]; classes];
    let mut labelled = 0;
    for (i, label) in labels.classes.iter().enumerate().filter(|(_, label)| **label != IGNORE) {
        labelled += 1;
        let predicted = prediction.map(|map| map.classes[i]);
        for (kind, class) in [Some(*label), predicted].into_iter().enumerate() {
            if let Some(area) = class.and_then(|class| areas.get_mut(usize::from(class))) {
                area[kind] += 1;
            }
        }
    }
    let mut present: Vec<usize> = (0..classes).filter(|class| areas[*class] != [0, 0]).collect();
    present.sort_by_key(|class| std::cmp::Reverse(areas[*class]));
    let entry = |class: usize| (class, per_cent(areas[class][0], labelled), per_cent(areas[class][1], labelled));
    present.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(classes: &[u16]) -> LabelMap {
        LabelMap { size: Size { width: classes.len(), height: 1 }, classes: classes.to_vec() }
    }

    fn decoded(uri: &str) -> image::RgbaImage {
        let (_, text) = uri.split_once(',').unwrap();
        let file = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap();
        image::load_from_memory(&file).unwrap().into_rgba8()
    }

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
        let colors: Vec<[u8; 3]> = (0..300_u32).map(|i| [(i / 2) as u8, i as u8, 7]).collect();
        let pixels = decoded(&map_uri(&map(&(0..300).collect::<Vec<_>>()), &colors, true).unwrap());
        assert!(pixels.pixels().zip(&colors).all(|(pixel, color)| pixel.0[..3] == *color));
    }

    #[test]
    fn what_is_not_labelled_is_transparent_or_black() {
        let of = |is_clear| map_uri(&map(&[1, IGNORE, 0]), &[[1, 2, 3], [4, 5, 6]], is_clear).unwrap();
        assert_eq!(decoded(&of(true)).into_raw(), [4, 5, 6, 255, 0, 0, 0, 0, 1, 2, 3, 255]);
        assert_eq!(decoded(&of(false)).into_raw(), [4, 5, 6, 255, 0, 0, 0, 255, 1, 2, 3, 255]);
    }

    #[test]
    fn shares_are_of_the_labelled_pixels() {
        let (labels, prediction) = (map(&[0, 0, 1, IGNORE, 0]), map(&[0, 2, 1, 1, 0]));
        let share = |class, label: &str, predicted: &str| (class, label.to_owned(), predicted.to_owned());
        let found = legend(&labels, Some(&prediction), 3);
        assert_eq!(found, [share(0, "75.0 %", "50.0 %"), share(1, "25.0 %", "25.0 %"), share(2, "0 %", "25.0 %")]);
    }
}
