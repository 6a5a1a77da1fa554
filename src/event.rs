//! What the engines report while they work. They never print: whoever calls them draws.

use std::path::PathBuf;

/// One report of a running engine.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A stretch of work begins.
    Started {
        /// What is being done.
        task: Task,
        /// How many items it has.
        total: usize,
        /// How many of them were done before (a resumed epoch).
        done: usize,
    },
    /// One item of the current stretch is done.
    Advanced {
        /// Items done so far, in the current stretch.
        done: usize,
        /// Mean loss so far, where there is one.
        loss: Option<f64>,
    },
    /// The current stretch is over.
    Finished,
    /// An epoch is over and its row is in the log.
    Epoch(EpochReport),
    /// Something worth a line.
    Note(String),
    /// An input was left out.
    Skipped {
        /// The input.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The kinds of work that engines report.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Task {
    /// Downloading a file, in MiB, with its name.
    Download(String),
    /// Looking the data set over.
    Check,
    /// Training, with epoch (from 1) and number of epochs.
    Train(usize, usize),
    /// Validation after an epoch.
    Validate,
    /// Predicting images.
    Predict,
    /// Computing features of labelled pixels, in windows.
    Features,
    /// Fitting a forest, in trees, with what for.
    Fit(&'static str),
    /// Scoring predictions.
    Score,
    /// Turning pictures grey.
    Gray,
    /// Drawing pictures, labels and predictions side by side.
    Concat,
}

/// What one epoch brought.
#[derive(Debug, Clone)]
pub struct EpochReport {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Phase that it belongs to, from 1.
    pub phase: usize,
    /// Mean training loss over the images.
    pub train_loss: f64,
    /// Result on the validation set, if there is one.
    pub validation: Option<Validation>,
    /// Whether these weights are the best so far; never where the validation is not a number.
    pub best: bool,
    /// Seconds of training.
    pub seconds: f64,
    /// Training images a second.
    pub images_per_second: f64,
    /// Share of the training time that was spent waiting for data, 0 to 1.
    pub wait: f64,
}

/// Scores of one validation.
#[derive(Debug, Clone, PartialEq)]
pub struct Validation {
    /// The mean of the loss that is trained on; `None` where it was not computed.
    pub loss: Option<f64>,
    /// Share of the labelled pixels that are right.
    pub pixel_accuracy: f64,
    /// Mean IoU over the classes that occur.
    pub mean_iou: f64,
    /// Name and IoU of every class; `None` where a class neither occurs nor was predicted.
    pub class_iou: Vec<(String, Option<f64>)>,
}

impl Validation {
    /// Whether loss and scores are numbers.
    pub fn is_numeric(&self) -> bool {
        [Some(self.pixel_accuracy), Some(self.mean_iou), self.loss].into_iter().flatten().all(f64::is_finite)
    }
}

/// Receives events. A closure will do.
pub trait Sink: Sync {
    /// Takes one event.
    fn event(&self, event: Event);
}

impl<F: Fn(Event) + Sync> Sink for F {
    fn event(&self, event: Event) {
        self(event);
    }
}
