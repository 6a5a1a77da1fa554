//! What each kind of model does its own way.

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use image::RgbImage;

use super::merge::{Decision, Wanted, WeightedScores, decide};
use super::{Maker, Options, Prediction};
use crate::base::event::Sink;
use crate::base::{LabelMap, Result, Size};
use crate::data::Dataset;
use crate::image::Image;
use crate::recipe::Kind;

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

    /// Settles how images are predicted. Options that would have no effect are refused. Once `stop` is set, an image that
    /// is gone over in windows is given up.
    fn work<'a>(&'a self, options: &'a Options, stop: Option<&'a AtomicBool>) -> Result<Box<dyn Work + 'a>>;
}

/// A model at work with some options.
pub(crate) trait Work {
    /// Predicts a decoded image; `name` is what errors call it.
    fn one(&self, name: &Path, image: Image) -> Result<Prediction>;

    /// Predicts files one after another until `handle` declines; `shown` says whether the images to look at are wanted.
    /// Returns how many could not be read, each of which is reported.
    fn each(&self, inputs: &[PathBuf], shown: bool, sink: &dyn Sink, handle: &mut Handle<'_>) -> Result<usize>;
}

/// Takes what was computed of an image, with the index of the input; whether there should be more.
pub(crate) type Handle<'a> = dyn FnMut(usize, Pending) -> Result<bool> + 'a;

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
        let decision = match self.computed {
            Computed::Scores(parts) => decide(&parts, size, 0..size.height, self.wanted),
            Computed::Decided(decision) => decision,
        };
        let mut prediction = Prediction {
            labels: LabelMap { size, classes: decision.classes },
            probability: decision.highest,
            probabilities: decision.all,
            dataset: self.dataset,
        };
        prediction.leave_out(self.nodata.as_deref());
        prediction
    }
}
