//! What each kind of model does its own way.

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use image::RgbImage;

use super::merge::{Decision, Wanted, WeightedScores, decide};
use super::{Maker, Options, Prediction};
use crate::base::event::Sink;
use crate::base::{LabelMap, Result, Size};
use crate::data::Dataset;
use crate::image::Image;
use crate::recipe::Kind;
use crate::tools::polygons::{GeojsonCrs, Grid};

/// A trained model of some kind. A new kind is one more of these.
pub(crate) trait Model: fmt::Debug + Send + Sync {
    fn kind(&self) -> Kind;

    /// What images it takes and what its classes mean.
    fn dataset(&self) -> &Arc<Dataset>;

    /// What makes the predictions with these options. Devices, batches and windows of forests, which change no more than
    /// roundings, do not count.
    fn maker(&self, options: &Options) -> Result<Maker>;

    /// See [`Predictor::set_threshold`](super::Predictor::set_threshold).
    fn set_threshold(&mut self, threshold: f64) -> Result<()>;

    /// See [`Predictor::largest_tile`](super::Predictor::largest_tile).
    fn largest_tile(&self, options: &Options) -> Result<usize>;

    /// Says whether an image of that size fits into the memory that `options` allow or this machine has free.
    fn check_memory(&self, path: &Path, size: Size, options: &Options) -> Result<()>;

    /// Settles how images are predicted. Options that would have no effect are refused. Once `stop` is set, an image that
    /// is gone over in windows is given up.
    fn work<'a>(&'a self, options: &'a Options, stop: Option<&'a AtomicBool>) -> Result<Box<dyn Work + 'a>>;
}

/// A model at work with some options.
pub(crate) trait Work {
    /// How long the network has computed, where there is one.
    fn busy(&self) -> Option<Duration> {
        None
    }

    /// Predicts a decoded image; `name` is what errors call it.
    fn one(&self, name: &Path, image: Image) -> Result<Prediction>;

    /// Predicts files one after another until `handle` declines. Returns how many could not be read, each of which is
    /// reported.
    fn each(&self, inputs: &[PathBuf], form: Form, sink: &dyn Sink, handle: &mut Handle<'_>) -> Result<usize>;
}

/// In what form predictions are handed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Form {
    /// With the images to show.
    pub(crate) shown: bool,
    /// Whether large ones may come some rows at a time.
    pub(crate) strips: bool,
    /// Whether GeoTIFFs are written; of GeoTIFFs alone if it is left out.
    pub(crate) rasters: Option<bool>,
    /// Whether polygons are written in longitude and latitude, which not every image has.
    pub(crate) degrees: bool,
}

impl Form {
    /// Says of an image that is read whether its polygons can be written.
    pub(crate) fn check_place(self, image: &Path) -> Result<()> {
        // Its size does not decide whether.
        let size = Size { width: 1, height: 1 };
        if self.degrees { Grid::of(image, size, GeojsonCrs::Wgs84).map(drop) } else { Ok(()) }
    }
}

/// Takes what was computed of an image, with the index of the input; whether there should be more.
pub(crate) type Handle<'a> = dyn FnMut(usize, Part) -> Result<bool> + 'a;

/// What is handed on of an image.
pub(crate) enum Part {
    /// All of it.
    Whole(Pending),
    /// Its next rows.
    Strip(Strip),
    /// That no more rows of it follow, since it cannot be read further.
    Abandoned,
}

/// Some rows of a prediction.
#[derive(Debug)]
pub(crate) struct Strip {
    /// Of the whole image.
    pub(crate) size: Size,
    /// The first row.
    pub(crate) top: usize,
    pub(crate) decision: Decision,
}

impl Strip {
    /// All rows of a prediction.
    pub(crate) fn whole(prediction: Prediction) -> Self {
        let Prediction { labels, probability, probabilities, .. } = prediction;
        let decision = Decision { classes: labels.classes, highest: probability, all: probabilities };
        Self { size: labels.size, top: 0, decision }
    }

    pub(crate) fn rows(&self) -> usize {
        self.decision.classes.len() / self.size.width
    }

    /// Whether they are the last of the image.
    pub(crate) fn is_last(&self) -> bool {
        self.top + self.rows() == self.size.height
    }

    /// Takes class and probabilities away from pixels without data, row by row.
    pub(crate) fn leave_out(&mut self, nodata: impl Iterator<Item = Option<Vec<bool>>>) {
        for (y, row) in nodata.enumerate() {
            row.iter().for_each(|row| self.decision.leave_out(y * self.size.width, row));
        }
    }
}

/// A prediction that may still have to be decided on.
pub(crate) struct Pending {
    pub(crate) size: Size,
    pub(crate) computed: Computed,
    pub(crate) wanted: Wanted,
    pub(crate) nodata: Option<Vec<bool>>,
    pub(crate) dataset: Arc<Dataset>,
    /// The image to look at, where it is wanted.
    pub(crate) shown: Option<RgbImage>,
    /// Memory that is held until this is gone.
    pub(crate) reserved: Option<Box<dyn Any + Send>>,
}

/// How far it is.
#[derive(Debug)]
pub(crate) enum Computed {
    /// Scores that are not averaged yet.
    Scores(Vec<WeightedScores>),
    /// Classes, with the probabilities that are wanted.
    Decided(Decision),
}

impl Pending {
    pub(crate) fn finish(self) -> Prediction {
        let size = self.size;
        let mut decision = match self.computed {
            Computed::Scores(parts) => decide(&parts, size, 0..size.height, self.wanted),
            Computed::Decided(decision) => decision,
        };
        self.nodata.iter().for_each(|nodata| decision.leave_out(0, nodata));
        Prediction {
            labels: LabelMap { size, classes: decision.classes },
            probability: decision.highest,
            probabilities: decision.all,
            dataset: self.dataset,
        }
    }
}
