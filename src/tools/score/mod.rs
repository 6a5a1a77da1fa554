//! Predictions scored against label images: images in, one [`Tally`] out.

mod partial;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::base::event::{Event, Sink, Stretch, Task};
use crate::base::label_map::{IGNORE, LabelMap, NO_CLASS};
use crate::base::words::counted;
use crate::base::{Error, Result, locked};
use crate::data::{
    Dataset, Labels, Pair, check_size, load_pair_labels, load_prediction, load_sparse_labels, prediction_map,
};
use crate::image::{RawLabels, read_labels, read_size, report_notes};
use crate::metric::{Areas, BoundaryWidth, Codes, ConfusionMatrix, OtherValues, Tally};

pub use partial::Partial;

/// Pairs whose scores are held until they are handed on in order.
const CHUNK: usize = 1024;

/// How images are scored.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What label values mean.
    pub dataset: Dataset,
    /// Whether boundaries are scored too.
    pub boundary: Option<BoundaryWidth>,
    /// What happens at a pair that cannot be used.
    pub on_fault: OnFault,
    /// A value that is taken as "not labelled" although nobody said so: it is noted where it occurs.
    pub implied_ignore: Option<u16>,
    /// Whether transparent pixels of label images are not labelled, as in strokes that a random forest learns from;
    /// else only their value or colour counts.
    pub transparent_unlabelled: bool,
}

impl Settings {
    /// Plain scores: no boundaries, and pairs that cannot be used are left out.
    pub fn new(dataset: Dataset) -> Self {
        Self { dataset, boundary: None, on_fault: OnFault::Skip, implied_ignore: None, transparent_unlabelled: false }
    }
}

/// What happens at a pair that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFault {
    /// It is reported and left out.
    Skip,
    /// It ends the work.
    Stop,
}

/// The scores of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageScores {
    /// Labelled pixels.
    pub pixels: u64,
    /// Labelled pixels that are right, over all labelled pixels.
    pub pixel_accuracy: f64,
    /// Mean IoU over the classes that occur in the image or were predicted.
    pub mean_iou: f64,
    /// IoU of every class; `None` where it neither occurs nor was predicted.
    pub class_iou: Vec<Option<f64>>,
}

/// Receives the scores of a pair.
pub type OnImage<'a> = dyn FnMut(&Pair, ImageScores) -> Result<()> + 'a;

/// Counts images one after another; one for each thread.
pub struct Scorer<'a> {
    settings: &'a Settings,
    codes: Arc<Codes>,
    /// Empty between images.
    image: ConfusionMatrix,
    /// Of the image counted last.
    last: Vec<Areas>,
    tally: Tally,
    unexpected: Unexpected,
}

/// Values in files that a reader of the scores should know of.
#[derive(Debug, Default)]
struct Unexpected {
    /// Predictions that leave labelled pixels without a class, and such pixels.
    unpredicted: (usize, u64),
    /// The values of which somebody did, where others are let through.
    listed: Option<BTreeSet<u16>>,
    files: usize,
    first: Option<(PathBuf, u16)>,
    /// Label pixels that hold [`Settings::implied_ignore`].
    ignored: u64,
}

/// A prediction and its label image as stored, of one size.
struct RawPair<'a> {
    paths: [&'a Path; 2],
    prediction: RawLabels,
    label: RawLabels,
}

impl<'a> RawPair<'a> {
    fn read(paths: [&'a Path; 2]) -> Result<Self> {
        Self::compare_headers(paths)?;
        let (prediction, label) = (read_labels(paths[0])?, read_labels(paths[1])?);
        check_size((paths[0], prediction.size()), (paths[1], label.size()))?;
        Ok(Self { paths, prediction, label })
    }

    /// Compares what the headers say, so that of a pair that cannot be scored nothing is decoded: a few bytes may claim to
    /// be billions of pixels. An array is as long as it claims, so two of them are as quickly read as looked at.
    fn compare_headers(paths: [&Path; 2]) -> Result<()> {
        let ends = |path: &Path, wanted| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(wanted));
        // Of the arrays in an archive, the header that is read may be another's than that of the label map.
        if paths.into_iter().all(|path| ends(path, "npy")) || paths.into_iter().any(|path| ends(path, "npz")) {
            return Ok(());
        }
        match paths.map(read_size) {
            [Some(prediction), Some(label)] => check_size((paths[0], prediction), (paths[1], label)),
            // Whoever reads it will say what is wrong.
            _ => Ok(()),
        }
    }
}

/// What is counted of a pair of files.
enum ReadPair<'a> {
    Raw(RawPair<'a>),
    /// Labels that were merged from masks or drawn, and predictions.
    Maps(LabelMap, LabelMap),
}

impl<'a> ReadPair<'a> {
    fn read(pair: &'a Pair, dataset: &Dataset) -> Result<Self> {
        match &pair.label {
            Labels::File(label) => RawPair::read([&pair.image, label]).map(Self::Raw),
            Labels::Masks(_) | Labels::Annotated { .. } => {
                let predictions = load_prediction(&pair.image, dataset)?;
                Ok(Self::Maps(load_pair_labels(pair, predictions.size, dataset)?, predictions))
            }
        }
    }
}

impl<'a> Scorer<'a> {
    /// Refuses numbers of classes that cannot be counted.
    pub fn new(settings: &'a Settings) -> Result<Self> {
        let classes = settings.dataset.class_count();
        ConfusionMatrix::check_classes(classes)?;
        let table = settings.dataset.value_table();
        let let_through = settings.dataset.other_values != OtherValues::Error;
        let listed = let_through.then(|| settings.dataset.listed_values());
        Ok(Self::empty(settings, Arc::new(Codes::new(classes, |value| table[usize::from(value)])), listed))
    }

    fn empty(settings: &'a Settings, codes: Arc<Codes>, listed: Option<BTreeSet<u16>>) -> Self {
        let classes = settings.dataset.class_count();
        let (image, tally) = (ConfusionMatrix::new(classes), Tally::new(classes, settings.boundary));
        Self {
            settings,
            codes,
            image,
            last: Vec::new(),
            tally,
            unexpected: Unexpected { listed, ..Unexpected::default() },
        }
    }

    /// Another one for the same settings, which has counted nothing yet.
    fn sibling(&self) -> Self {
        Self::empty(self.settings, Arc::clone(&self.codes), self.unexpected.listed.clone())
    }

    /// Counts a pair that was read.
    fn add(&mut self, pair: &ReadPair<'_>) -> Result<()> {
        match pair {
            ReadPair::Raw(pair) => self.add_raw(pair),
            ReadPair::Maps(labels, predictions) => {
                let ignored = labels.classes.iter().filter(|class| **class == IGNORE).count();
                self.unexpected.ignored += if self.settings.implied_ignore.is_some() { ignored as u64 } else { 0 };
                self.add_maps(labels, predictions);
                Ok(())
            }
        }
    }

    fn add_raw(&mut self, RawPair { paths, prediction, label }: &RawPair<'_>) -> Result<()> {
        let [prediction_path, label_path] = *paths;
        let dataset = &self.settings.dataset;
        let counted = match (label, prediction) {
            (RawLabels::Values(_, labels), RawLabels::Values(_, predictions)) if self.settings.boundary.is_none() => {
                self.image.add_values(labels, predictions, &self.codes).is_ok()
            }
            _ => false,
        };
        let classes = self.image.classes();
        if !counted {
            self.image = ConfusionMatrix::new(classes);
            let predictions = prediction_map(prediction_path, prediction, dataset)?;
            let labels = dataset.class_map(label_path, label)?;
            self.image.add(&labels.classes, &predictions.classes);
            self.tally.add_boundaries(labels.size, &labels.classes, &predictions.classes);
        }
        if self.image.predicted(classes) > 0 {
            self.unexpected.count_unpredicted(prediction, label, dataset);
        }
        if let Some(value) = self.settings.implied_ignore.filter(|_| self.image.unlabelled() > 0) {
            self.unexpected.count_ignored(label, value);
        }
        if self.image.unlabelled() > 0 || self.image.labelled(classes) > 0 {
            self.look(label_path, label)?;
        }
        if self.image.predicted(classes) > 0 {
            self.look(prediction_path, prediction)?;
        }
        self.last = self.tally.take(&mut self.image);
        Ok(())
    }

    /// Notes a file with values that are let through although nobody said what they mean, or refuses it.
    fn look(&mut self, path: &Path, raw: &RawLabels) -> Result<()> {
        let Some(value) = self.unexpected.find(raw) else { return Ok(()) };
        if self.settings.on_fault == OnFault::Stop {
            let reason = format!("holds {value}, which is not a class of {}", self.settings.dataset.name);
            return Err(Error::content(path, reason));
        }
        self.unexpected.note(path, value);
        Ok(())
    }

    /// Counts a prediction that is at hand, of the pair's image. Pixels without data, which have no class there, do not
    /// count.
    pub fn add_map(&mut self, pair: &Pair, prediction: &LabelMap) -> Result<()> {
        let dataset = &self.settings.dataset;
        let mut labels = match &pair.label {
            Labels::File(file) if self.settings.transparent_unlabelled => {
                let labels = load_sparse_labels(file, dataset)?;
                check_size((&pair.image, prediction.size), (file, labels.size))?;
                labels
            }
            _ => load_pair_labels(pair, prediction.size, dataset)?,
        };
        let nodata: Vec<bool> = prediction.classes.iter().map(|class| *class == IGNORE).collect();
        labels.leave_out(&nodata);
        self.add_maps(&labels, prediction);
        Ok(())
    }

    /// Counts maps of one size.
    fn add_maps(&mut self, labels: &LabelMap, predictions: &LabelMap) {
        self.image.add(&labels.classes, &predictions.classes);
        self.tally.add_boundaries(labels.size, &labels.classes, &predictions.classes);
        self.last = self.tally.take(&mut self.image);
    }

    /// Notes an image that was left out.
    pub fn skip(&mut self) {
        self.tally.skipped += 1;
    }

    /// The scores of the image counted last.
    pub fn last(&self) -> ImageScores {
        let pixels: u64 = self.last.iter().map(|areas| areas.label).sum();
        let right: u64 = self.last.iter().map(|areas| areas.both).sum();
        let class_iou: Vec<Option<f64>> = self.last.iter().map(Areas::iou).collect();
        let found: Vec<f64> = class_iou.iter().flatten().copied().collect();
        ImageScores {
            pixels,
            pixel_accuracy: right as f64 / pixels.max(1) as f64,
            mean_iou: found.iter().sum::<f64>() / found.len().max(1) as f64,
            class_iou,
        }
    }

    /// Ends the counting and returns the tally.
    pub fn finish(self) -> Tally {
        self.tally
    }
}

impl Unexpected {
    /// A value that is neither a class nor one for "not labelled".
    fn find(&self, raw: &RawLabels) -> Option<u16> {
        let (RawLabels::Values(_, values), Some(listed)) = (raw, &self.listed) else { return None };
        // Mostly the listed values are all from 0 to some number, and the largest value settles it.
        let largest = values.iter().fold(0, |largest, &value| largest.max(value));
        if listed.range(..=largest).count() == usize::from(largest) + 1 {
            return None;
        }
        values.iter().find(|value| !listed.contains(value)).copied()
    }

    /// The same file is kept for the report however the threads share the work.
    fn note(&mut self, path: &Path, value: u16) {
        self.files += 1;
        let found = (path.to_path_buf(), value);
        self.first = Some(self.first.take().map_or(found.clone(), |first| first.min(found)));
    }

    /// Counts labelled pixels whose prediction is "not labelled".
    fn count_unpredicted(&mut self, prediction: &RawLabels, label: &RawLabels, dataset: &Dataset) {
        let (RawLabels::Values(_, predictions), RawLabels::Values(_, labels)) = (prediction, label) else { return };
        let unlabelled = dataset.unlabelled_value();
        if !predictions.contains(&unlabelled) {
            return;
        }
        let table = dataset.value_table();
        let is_class = |value: u16| table[usize::from(value)].is_some_and(|class| class != IGNORE && class != NO_CLASS);
        let missed = predictions.iter().zip(labels).filter(|(p, l)| **p == unlabelled && is_class(**l)).count();
        self.unpredicted.0 += usize::from(missed > 0);
        self.unpredicted.1 += missed as u64;
    }

    fn count_ignored(&mut self, label: &RawLabels, value: u16) {
        self.ignored += match label {
            RawLabels::Values(_, values) => values.iter().filter(|found| **found == value).count() as u64,
            RawLabels::Numbers(labels) => {
                labels.values.iter().filter(|found| **found == f64::from(value)).count() as u64
            }
            RawLabels::Colors(..) => 0,
        };
    }

    /// Notes all of it.
    fn report(&self, tally: &Tally, settings: &Settings, sink: &dyn Sink) {
        let name = &settings.dataset.name;
        if let (Some(value), 1..) = (settings.implied_ignore, self.ignored) {
            sink.note(ignored_note(value, self.ignored, tally, settings));
        }
        if let (files @ 1.., pixels) = self.unpredicted {
            sink.note(format!(
                "the ignore value {} is predicted at {} in {}, as where an image is nodata; each counts as an error, whereas \
                 scoring a `run` leaves nodata pixels out",
                settings.dataset.unlabelled_value(),
                counted(pixels as usize, "labelled pixel"),
                counted(files, "prediction")
            ));
        }
        if let Some((path, value)) = &self.first {
            sink.note(format!(
                "{} values outside {name} (for example {value} in {}): counted as not labelled, or as \
                 errors where predicted; to make them classes, raise `classes`, or change `first_label` or `dataset`",
                if self.files == 1 { "1 file holds".to_owned() } else { format!("{} files hold", self.files) },
                path.display()
            ));
        }
    }

    fn merge(&mut self, other: Self) {
        self.ignored += other.ignored;
        self.unpredicted.0 += other.unpredicted.0;
        self.unpredicted.1 += other.unpredicted.1;
        self.files += other.files;
        self.first = self.first.take().into_iter().chain(other.first).min();
    }
}

/// Counts all pairs (`image` is the prediction) on all threads of the rayon pool. A pair that cannot be used is reported
/// and left out, or ends the work, as the settings say. `on_image` gets the scores of each pair, in order.
pub fn score_files(
    pairs: &[Pair],
    settings: &Settings,
    mut on_image: Option<&mut OnImage<'_>>,
    sink: &dyn Sink,
) -> Result<Tally> {
    let threads = rayon::current_num_threads();
    let first = Scorer::new(settings)?;
    let scorers: Vec<_> = (0..threads).map(|_| Mutex::new(first.sibling())).collect();
    let stretch = Stretch::begin(sink, Task::Score, pairs.len());
    let wanted = on_image.is_some();
    let score = |pair: &Pair| -> Result<Option<ImageScores>> {
        let read = ReadPair::read(pair, &settings.dataset);
        // Each thread has its own, so this never waits.
        let thread = rayon::current_thread_index().unwrap_or(0) % threads;
        let mut scorer = locked(&scorers[thread]);
        let scores = match read.and_then(|read| scorer.add(&read)) {
            Ok(()) => wanted.then(|| scorer.last()),
            Err(fault) if settings.on_fault == OnFault::Stop => return Err(fault),
            Err(fault) => {
                scorer.skip();
                sink.event(Event::Skipped { path: pair.image.clone(), reason: fault.to_string() });
                None
            }
        };
        stretch.advance();
        Ok(scores)
    };
    for chunk in pairs.chunks(CHUNK) {
        let scores = chunk.par_iter().map(score).collect::<Result<Vec<_>>>()?;
        if let Some(on_image) = &mut on_image {
            for (pair, scores) in chunk.iter().zip(scores) {
                scores.map_or(Ok(()), |scores| on_image(pair, scores))?;
            }
        }
    }
    drop(stretch);
    report_notes(sink);
    let mut tally = Tally::new(settings.dataset.class_count(), settings.boundary);
    let mut unexpected = Unexpected::default();
    for scorer in scorers {
        let scorer = scorer.into_inner().unwrap_or_else(PoisonError::into_inner);
        tally.merge(&scorer.tally);
        unexpected.merge(scorer.unexpected);
    }
    unexpected.report(&tally, settings, sink);
    Ok(tally)
}

/// The note on label pixels of a value that counts as "not labelled" by convention alone, with the way to count them.
fn ignored_note(value: u16, pixels: u64, tally: &Tally, settings: &Settings) -> String {
    let (classes, all) = (&settings.dataset.classes, tally.matrix.total() + tally.matrix.unlabelled());
    let share = 100.0 * pixels as f64 / all.max(1) as f64;
    let share = if share < 0.1 { "less than 0.1".to_owned() } else { format!("{share:.1}") };
    let follows = classes.first().is_some_and(|class| value.checked_add(1) == Some(class.values[0]));
    let last = classes.len().saturating_sub(1);
    let last_occurs = tally.matrix.labelled(last) + tally.matrix.predicted(last) > 0;
    let way = match (follows, last_occurs) {
        (true, true) => {
            format!(
                "to count it, give `first_label` {value} `classes` {}, or a `dataset` in which it is a class",
                classes.len() + 1
            )
        }
        (true, false) => format!("to count it, give `first_label` {value}, or a `dataset` in which it is a class"),
        (false, _) => "to count it, give a `dataset` in which it is a class".to_owned(),
    };
    format!("value {value} ({share} % of the label pixels) is taken as not labelled; {way}")
}
