//! `segtool check --report`: images with their annotations to page through and to rate, in one file that asks the network
//! for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use image::RgbImage;
use image::imageops::{FilterType, resize};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use super::ranking::image_iou;
use super::samples::{QUALITY, errors, legend, map_uri};
use super::text::{data_uri, filled, json, score};
use crate::base::event::{Event, Sink, Stretch, Task};
use crate::base::files::write_bytes;
use crate::base::label_map::LabelMap;
use crate::base::markup::{escaped, hex};
use crate::base::words::counted;
use crate::base::{Error, Result, Size};
use crate::data::{Dataset, Pair, check_size, displayed, find_predictions, load_pair_labels, load_prediction};
use crate::draw::{Classes, encode_jpeg};
use crate::image::{nearest, read_image};

const PAGE: &str = include_str!("review/page.html");
const STYLE: &str = concat!(include_str!("style.css"), include_str!("review/style.css"));
const SCRIPT: &str = include_str!("review/script.js");

/// Bytes of a page, about: browsers open files of this size in seconds.
const PAGE_BYTES: usize = 128 << 20;
/// Bytes of a pixel of a sample: a JPEG, two maps, and what base64 adds.
const PIXEL_BYTES: f64 = 0.6;
/// Smallest and largest side of a square with as many pixels as a sample may have.
const SIDES: [f64; 2] = [224.0, 1024.0];

/// A page on which people rate annotations.
#[derive(Debug, Clone)]
pub struct Review<'a> {
    /// What is reviewed.
    pub pairs: &'a [Pair],
    /// Its classes.
    pub dataset: &'a Dataset,
    /// Samples of the page; all pairs if there are no more.
    pub samples: usize,
    /// Seed of their choice.
    pub seed: u64,
    /// A folder of predictions, which are shown beside the annotations. The samples are then those whose predictions agree
    /// the least with their annotations, the worst first.
    pub predictions: Option<&'a Path>,
}

/// A pair whose prediction was scored: its place among the pairs, and its mean IoU.
type Scored = (usize, Option<f64>);

/// A sample as the script reads it.
#[derive(Serialize)]
struct Shown {
    file: String,
    width: usize,
    height: usize,
    image: String,
    label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    prediction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<String>,
    /// Class, share of the annotation, share of the prediction; the commonest first.
    legend: Vec<(usize, String, String)>,
}

/// What the script reads beside the samples.
#[derive(Serialize)]
struct Data<'a> {
    /// Under which the browser keeps the ratings.
    id: String,
    classes: Vec<(&'a str, String)>,
}

impl Review<'_> {
    /// Writes the page, atomically, and returns the number of its samples. Pairs that cannot be read are reported as skipped.
    ///
    /// # Errors
    ///
    /// If no pair can be shown, or the file cannot be written.
    pub fn write(&self, path: &Path, sink: &dyn Sink) -> Result<usize> {
        let predictions = self.prediction_files(sink)?;
        let chosen = match &predictions {
            Some(files) => self.worst(files, sink)?,
            None => self.drawn(),
        };
        let chosen: Vec<Scored> = chosen.into_iter().take(self.samples).collect();
        let classes = Classes::of(self.dataset);
        let most = (PAGE_BYTES as f64 / chosen.len().max(1) as f64 / PIXEL_BYTES).sqrt().clamp(SIDES[0], SIDES[1]);
        let stretch = Stretch::begin(sink, Task::Draw, chosen.len());
        let encode = |&(place, mean_iou): &Scored| {
            let pair = &self.pairs[place];
            let prediction = predictions.as_ref().and_then(|files| files.get(&stem(&pair.image)));
            let shown = self.load(pair, prediction.map(PathBuf::as_path));
            let shown = shown.and_then(|sample| sample.reduced(most).shown(mean_iou, &classes)).and_then(|s| json(&s));
            stretch.advance();
            unless_skipped(pair, shown, sink).map(|text| (pair, text))
        };
        let shown: Vec<(&Pair, String)> = chosen.par_iter().filter_map(encode).collect();
        drop(stretch);
        if shown.is_empty() {
            return Err(Error::no_data("no pair can be shown", "the reasons are given above; check the files"));
        }
        write_bytes(path, self.html(&shown, &classes)?.as_bytes())?;
        Ok(shown.len())
    }

    /// The predictions by the stems of their names, without those whose name several images have.
    fn prediction_files(&self, sink: &dyn Sink) -> Result<Option<BTreeMap<String, PathBuf>>> {
        let Some(folder) = self.predictions else { return Ok(None) };
        let mut files: BTreeMap<_, _> = find_predictions(folder)?.into_iter().map(|file| (stem(&file), file)).collect();
        let mut seen = BTreeSet::new();
        let stems = self.pairs.iter().map(|pair| stem(&pair.image));
        let repeated: BTreeSet<String> = stems.filter(|stem| !seen.insert(stem.clone())).collect();
        let shared: Vec<PathBuf> = repeated.iter().filter_map(|stem| files.remove(stem)).collect();
        if let Some(first) = shared.first() {
            let (count, first) = (counted(shared.len(), "prediction"), first.display());
            let text = format!("{count} left out, because several images have the same name; the first is {first}");
            sink.note(text);
        }
        Ok(Some(files))
    }

    /// Pairs in the order of the set, chosen at random.
    fn drawn(&self) -> Vec<Scored> {
        let mut places: Vec<usize> = (0..self.pairs.len()).collect();
        places.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed));
        places.truncate(self.samples);
        places.sort_unstable();
        places.into_iter().map(|place| (place, None)).collect()
    }

    /// Pairs with predictions, from the worst on.
    fn worst(&self, files: &BTreeMap<String, PathBuf>, sink: &dyn Sink) -> Result<Vec<Scored>> {
        let has_prediction = |place: &usize| files.contains_key(&stem(&self.pairs[*place].image));
        let places: Vec<usize> = (0..self.pairs.len()).filter(has_prediction).collect();
        let missing = self.pairs.len() - places.len();
        let stretch = Stretch::begin(sink, Task::Score, places.len());
        let scored = |place: usize| {
            let pair = &self.pairs[place];
            let prediction = files.get(&stem(&pair.image))?;
            let maps = self.maps(pair, prediction);
            stretch.advance();
            let (labels, prediction) = unless_skipped(pair, maps, sink)?;
            Some((place, image_iou(&labels, &prediction, self.dataset.class_count())))
        };
        let mut found: Vec<Scored> = places.into_par_iter().filter_map(scored).collect();
        drop(stretch);
        if found.is_empty() {
            let advice = "predictions are matched to images by file stem: a.jpg with a.npy";
            return Err(Error::no_data("no image has a prediction that can be read", advice));
        }
        if missing > 0 {
            sink.note(format!("{} without a prediction left out", counted(missing, "image")));
        }
        found.sort_by(|(_, a), (_, b)| a.unwrap_or(f64::INFINITY).total_cmp(&b.unwrap_or(f64::INFINITY)));
        Ok(found)
    }

    fn maps(&self, pair: &Pair, prediction: &Path) -> Result<(LabelMap, LabelMap)> {
        let predicted = load_prediction(prediction, self.dataset)?;
        let labels = load_pair_labels(pair, predicted.size, self.dataset)?;
        Ok((labels, predicted))
    }

    fn load(&self, pair: &Pair, prediction: Option<&Path>) -> Result<Sample> {
        let image = displayed(read_image(&pair.image)?, self.dataset.bands, &self.dataset.nodata_numbers());
        let size = Size::from(image.dimensions());
        let labels = load_pair_labels(pair, size, self.dataset)?;
        let prediction = prediction.map(|file| {
            let map = load_prediction(file, self.dataset)?;
            check_size((&pair.image, size), (file, map.size))?;
            Ok(map)
        });
        Ok(Sample { file: pair.image.display().to_string(), image, labels, prediction: prediction.transpose()? })
    }

    fn html(&self, shown: &[(&Pair, String)], classes: &Classes) -> Result<String> {
        let names = classes.names.iter().map(String::as_str);
        let colors = classes.colors.iter().map(|color| hex(*color));
        let data = Data { id: self.id(), classes: names.zip(colors).collect() };
        let sample = |(pair, text): &(&Pair, String)| {
            let file = escaped(&pair.image.display().to_string());
            format!("<script type=\"application/json\" class=\"sample\" data-file=\"{file}\">{text}</script>\n")
        };
        let samples: String = shown.iter().map(sample).collect();
        let choice = match (self.predictions.is_some(), shown.len() < self.pairs.len()) {
            (true, _) => format!(", the worst predictions first, of {}", counted(self.pairs.len(), "pair")),
            (false, true) => {
                format!(", drawn at random from {} (seed {})", counted(self.pairs.len(), "pair"), self.seed)
            }
            (false, false) => String::new(),
        };
        let summary = format!("{}{choice}", counted(shown.len(), "sample"));
        let values = [
            ("style", STYLE),
            ("script", SCRIPT),
            ("name", &escaped(&self.dataset.name)),
            ("summary", &summary),
            ("data", &json(&data)?),
            ("samples", &samples),
        ];
        Ok(filled(PAGE, &values))
    }

    /// A number for the folder of the images and the data set: ratings outlast a page that is written again, and no path
    /// of the machine is told.
    fn id(&self) -> String {
        let first = self.pairs.first().map_or(Path::new(""), |pair| &pair.image);
        let folder = std::path::absolute(first).ok().and_then(|path| path.parent().map(Path::to_path_buf));
        let text = format!("{}\n{}", self.dataset.name, folder.unwrap_or_default().display());
        format!("{:08x}", crc32c::crc32c(text.as_bytes()))
    }
}

/// What was found of a pair; nothing of one that cannot be read, which is reported.
fn unless_skipped<T>(pair: &Pair, found: Result<T>, sink: &dyn Sink) -> Option<T> {
    let skipped = |fault: &Error| Event::Skipped { path: pair.image.clone(), reason: fault.to_string() };
    found.inspect_err(|fault| sink.event(skipped(fault))).ok()
}

/// What is shown of a pair.
struct Sample {
    file: String,
    image: RgbImage,
    labels: LabelMap,
    prediction: Option<LabelMap>,
}

impl Sample {
    /// The same with no more pixels than a square of that side.
    fn reduced(self, side: f64) -> Self {
        let Size { width, height } = self.labels.size;
        let scale = side / ((width * height) as f64).sqrt();
        if scale >= 1.0 {
            return self;
        }
        let length = |length: usize| ((length as f64 * scale).round() as usize).max(1);
        let size = Size { width: length(width), height: length(height) };
        let map = |map: LabelMap| LabelMap { size, classes: nearest(&map.classes, map.size, size) };
        Self {
            image: resize(&self.image, size.width as u32, size.height as u32, FilterType::Triangle),
            labels: map(self.labels),
            prediction: self.prediction.map(map),
            file: self.file,
        }
    }

    fn shown(self, mean_iou: Option<f64>, classes: &Classes) -> Result<Shown> {
        let errors = self.prediction.as_ref().map(|prediction| errors(&self.labels, prediction)).transpose()?;
        Ok(Shown {
            width: self.labels.size.width,
            height: self.labels.size.height,
            image: data_uri("image/jpeg", &encode_jpeg(&self.image, QUALITY)?),
            label: map_uri(&self.labels, &classes.colors, true)?,
            prediction: self.prediction.as_ref().map(|map| map_uri(map, &classes.colors, true)).transpose()?,
            errors,
            score: self.prediction.is_some().then(|| score(mean_iou)),
            legend: legend(&self.labels, self.prediction.as_ref(), classes.names.len()),
            file: self.file,
        })
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn large_samples_are_reduced_to_a_number_of_pixels() {
        let size = Size { width: 400, height: 100 };
        let labels = LabelMap { size, classes: vec![1; 40_000] };
        let sample = Sample { file: "a".into(), image: RgbImage::new(400, 100), labels, prediction: None };
        let sample = sample.reduced(100.0);
        assert_eq!((sample.labels.size.to_string(), sample.image.dimensions()), ("200x50".into(), (200, 50)));
    }

    #[test]
    fn a_prediction_whose_name_several_images_have_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        ["x.npy", "y.npy"].iter().for_each(|name| std::fs::write(folder.path().join(name), "").unwrap());
        let pair = |image: &str| Pair { image: image.into(), label: PathBuf::from("labels.png").into() };
        let (pairs, dataset) = (["a/x.png", "b/x.png", "b/y.png"].map(pair), Dataset::find("demo").unwrap());
        let predictions = Some(folder.path());
        let review = Review { pairs: &pairs, dataset: &dataset, samples: 3, seed: 0, predictions };
        let notes = Mutex::new(Vec::new());
        let sink = |event: Event| notes.lock().unwrap().push(format!("{event:?}"));
        let files = review.prediction_files(&sink).unwrap().unwrap();
        assert_eq!(files.into_keys().collect::<Vec<_>>(), ["y"]);
        let notes = notes.lock().unwrap();
        let words = ["left out, because several images have the same name", "x.npy"];
        assert!(notes.len() == 1 && words.iter().all(|words| notes[0].contains(words)), "{notes:?}");
    }
}
