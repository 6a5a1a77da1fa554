//! How well a forest does on labelled pixels that it did not learn from.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use super::pixels::Samples;
use crate::data::{Region, pixel_split, region_folds, region_split};
use crate::error::{Error, Result};
use crate::event::{Event, Sink, Task};
use crate::forest::{self, Fitted, Outcome, Settings, Watch};
use crate::metric::{AbsentClass, ConfusionMatrix, Scores};
use crate::named;

/// Parts into which regions are dealt out.
pub(super) const FOLDS: usize = 5;

/// Which labelled pixels a forest is scored on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Whole connected regions, each held out once: what a user may expect elsewhere on the core. Single pixels, too.
    #[default]
    Region,
    /// Single pixels alone, as published. Their neighbours look the same and are learnt from, so the score is too good.
    Pixel,
    /// None.
    None,
}

impl FromStr for Split {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        named::by_name("split", name, &[("region", Self::Region), ("pixel", Self::Pixel), ("none", Self::None)])
    }
}

/// Counts on pixels that were not learnt from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Pixels by label and prediction.
    #[serde(skip)]
    pub matrix: ConfusionMatrix,
    /// F1 of every class; `None` of one of which nothing was held out.
    pub f1: Vec<Option<f64>>,
    /// Mean of these; `None` if nothing was held out.
    pub mean_f1: Option<f64>,
    /// Share of the pixels that are right.
    pub accuracy: f64,
    /// Pixels that were held out.
    pub pixels: u64,
    /// `[label, prediction]`.
    pub confusion: Vec<Vec<u64>>,
    /// Indices of the classes that occur in the labels, but in no prediction.
    pub never_predicted: Vec<usize>,
}

impl Evaluation {
    pub(super) fn new(matrix: ConfusionMatrix) -> Self {
        let scores = Scores::new(&matrix, AbsentClass::LeftOut);
        let f1: Vec<Option<f64>> = scores.classes.iter().map(|class| class.dice.filter(|_| class.pixels > 0)).collect();
        let known: Vec<f64> = f1.iter().flatten().copied().collect();
        let mean_f1 = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
        let classes = 0..matrix.classes();
        let row = |label: usize| classes.clone().map(|prediction| matrix.at(label, prediction)).collect();
        let confusion = classes.clone().map(row).collect();
        let (accuracy, pixels, never_predicted) = (scores.pixel_accuracy, scores.pixels, matrix.never_predicted());
        Self { f1, mean_f1, accuracy, pixels, confusion, never_predicted, matrix }
    }
}

/// What forests are fitted with.
pub(super) struct Fitting<'a> {
    pub(super) settings: &'a Settings,
    pub(super) classes: usize,
    pub(super) stop: &'a AtomicBool,
    pub(super) sink: &'a dyn Sink,
}

impl Fitting<'_> {
    /// A forest of these samples; `None` if it was stopped.
    pub(super) fn fit(&self, samples: &Samples, what: &'static str) -> Result<Option<Fitted>> {
        self.fit_with(samples, self.settings, what)
    }

    fn fit_with(&self, samples: &Samples, settings: &Settings, what: &'static str) -> Result<Option<Fitted>> {
        self.sink.event(Event::Started { task: Task::Fit(what), total: settings.trees, done: 0 });
        let progress = |done| self.sink.event(Event::Advanced { done, loss: None });
        let watch = Watch { progress: &progress, stop: self.stop };
        let outcome = forest::fit(&samples.features()?, &samples.classes, self.classes, settings, watch)?;
        self.sink.event(Event::Finished);
        Ok(match outcome {
            Outcome::Finished(fitted) => Some(fitted),
            Outcome::Stopped => None,
        })
    }

    /// Learns from the others and counts on those held out; `None` if it was stopped.
    fn hold_out(&self, samples: &Samples, held_out: &[bool], matrix: &mut ConfusionMatrix) -> Result<Option<()>> {
        let learnt: Vec<bool> = held_out.iter().map(|held_out| !held_out).collect();
        let settings = Settings { out_of_bag: false, ..self.settings.clone() };
        let Some(fitted) = self.fit_with(&samples.part(&learnt), &settings, "to score")? else { return Ok(None) };
        let others = samples.part(held_out);
        matrix.add(&others.classes, &fitted.forest.predict(&others.features()?)?);
        Ok(Some(()))
    }

    /// Holds a share of the pixels of every class out. Nothing is counted if there is none to hold out.
    pub(super) fn by_pixel(&self, samples: &Samples, share: f64, seed: u64) -> Result<Option<Evaluation>> {
        let mut matrix = ConfusionMatrix::new(self.classes);
        let held_out = pixel_split(&samples.classes, share, seed)?;
        if held_out.contains(&true) && self.hold_out(samples, &held_out, &mut matrix)?.is_none() {
            return Ok(None);
        }
        Ok(Some(Evaluation::new(matrix)))
    }

    /// Holds every connected region out once, in folds; never the only region of a class.
    pub(super) fn by_region(&self, samples: &Samples, seed: u64) -> Result<Option<Evaluation>> {
        let mut matrix = ConfusionMatrix::new(self.classes);
        let (regions, of_samples) = regions(samples);
        let folds = region_folds(&regions, FOLDS, seed)?;
        for fold in 0..FOLDS {
            let held_out = region_split(&of_samples, &folds, fold);
            if held_out.contains(&true) && self.hold_out(samples, &held_out, &mut matrix)?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(Evaluation::new(matrix)))
    }
}

/// The regions that samples are of, with their numbers of samples, and which each sample is of. Not all regions of the
/// pictures need have samples.
fn regions(samples: &Samples) -> (Vec<Region>, Vec<u32>) {
    let (mut regions, mut numbers): (Vec<Region>, HashMap<u32, u32>) = (Vec::new(), HashMap::new());
    let mut number = |(region, class): (&u32, &u16)| {
        let number = *numbers.entry(*region).or_insert_with(|| {
            regions.push(Region { class: *class, pixels: 0 });
            regions.len() as u32 - 1
        });
        regions[number as usize].pixels += 1;
        number
    };
    let of_samples = samples.regions.iter().zip(&samples.classes).map(&mut number).collect();
    (regions, of_samples)
}
