//! What the engines report while they work. They never print: whoever calls them draws.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A progress report from a running engine.
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
    /// What follows the training or the validation of an epoch, which begins next.
    Outlook(Outlook),
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
    /// Turning images grey.
    Gray,
    /// Drawing images with their labels and predictions.
    Draw,
    /// Converting labels.
    Convert,
}

/// What one epoch brought.
#[derive(Debug, Clone)]
pub struct EpochReport {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Phase that it belongs to, from 1.
    pub phase: usize,
    /// Learning rate of its last step.
    pub learning_rate: f64,
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
    /// How long the epochs after it will take, with validation; `None` after the last.
    pub left: Option<Left>,
}

/// What a training has before it besides the epoch at hand, for whoever tells how long it will take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// Epochs after this one, in all phases.
    pub epochs: usize,
    /// Seconds that an epoch trains, where one has been measured.
    pub training: Option<f64>,
    /// Seconds of what follows the training of an epoch, validation and saving, where that has been measured.
    pub closing: Option<f64>,
    /// What that probably is until then, as a share of the training.
    pub closing_share: f64,
    /// When the training stops by itself.
    pub deadline: Option<Instant>,
}

/// How long something will take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// The time until it is over.
    pub time: Duration,
    /// Whether it is over then because its time is up.
    pub by_deadline: bool,
}

impl Outlook {
    /// The time until all is over, while an epoch trains: `rest` seconds more of `epoch`.
    pub fn in_training(&self, rest: f64, epoch: f64, now: Instant) -> Left {
        let closing = self.closing.unwrap_or(epoch * self.closing_share);
        self.limited(rest + closing + self.epochs as f64 * (epoch + closing), now)
    }

    /// The same while an epoch is validated: `rest` seconds more of `closing`.
    pub fn in_closing(&self, rest: f64, closing: f64, now: Instant) -> Left {
        self.limited(rest + self.epochs as f64 * (self.training.unwrap_or(0.0) + closing), now)
    }

    /// The same between two epochs; `None` after the last.
    pub fn between(&self, now: Instant) -> Option<Left> {
        let training = self.training.unwrap_or(0.0);
        let closing = self.closing.unwrap_or(training * self.closing_share);
        (self.epochs > 0).then(|| self.limited(self.epochs as f64 * (training + closing), now))
    }

    fn limited(&self, seconds: f64, now: Instant) -> Left {
        let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        match self.deadline.map(|deadline| deadline.saturating_duration_since(now)) {
            Some(most) if most < time => Left { time: most, by_deadline: true },
            _ => Left { time, by_deadline: false },
        }
    }
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

    /// Takes a note.
    fn note(&self, text: String) {
        self.event(Event::Note(text));
    }
}

impl<F: Fn(Event) + Sync> Sink for F {
    fn event(&self, event: Event) {
        self(event);
    }
}

/// A stretch of work, on one thread or several. It ends when it is dropped, so that it also does where an error leaves it.
pub(crate) struct Stretch<'a> {
    sink: &'a dyn Sink,
    done: AtomicUsize,
}

impl<'a> Stretch<'a> {
    /// Begins work on `total` items.
    pub(crate) fn begin(sink: &'a dyn Sink, task: Task, total: usize) -> Self {
        sink.event(Event::Started { task, total, done: 0 });
        Self { sink, done: AtomicUsize::new(0) }
    }

    /// Counts an item that is done.
    pub(crate) fn advance(&self) {
        self.advance_to(self.done.fetch_add(1, Ordering::Relaxed) + 1);
    }

    /// Says how many items are done, where the caller counts them.
    pub(crate) fn advance_to(&self, done: usize) {
        self.sink.event(Event::Advanced { done, loss: None });
    }
}

impl Drop for Stretch<'_> {
    fn drop(&mut self) {
        self.sink.event(Event::Finished);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_stretch_ends_where_an_error_leaves_it() {
        let events = Mutex::new(Vec::new());
        let sink = |event: Event| events.lock().unwrap().push(format!("{event:?}"));
        let work = || -> Result<(), ()> {
            let stretch = Stretch::begin(&sink, Task::Check, 2);
            stretch.advance();
            Err(())
        };
        assert_eq!(work(), Err(()));
        let expected = ["Started { task: Check, total: 2, done: 0 }", "Advanced { done: 1, loss: None }", "Finished"];
        assert_eq!(*events.lock().unwrap(), expected);
    }

    fn seconds(left: Left) -> (f64, bool) {
        (left.time.as_secs_f64(), left.by_deadline)
    }

    #[test]
    fn the_time_left_is_that_of_all_epochs_with_their_validation() {
        let now = Instant::now();
        let outlook =
            Outlook { epochs: 3, training: Some(100.0), closing: Some(20.0), closing_share: 0.5, deadline: None };
        // The rest of this epoch and its validation, then three more of both.
        assert_eq!(seconds(outlook.in_training(40.0, 90.0, now)), (40.0 + 20.0 + 3.0 * (90.0 + 20.0), false));
        assert_eq!(seconds(outlook.in_closing(5.0, 30.0, now)), (5.0 + 3.0 * (100.0 + 30.0), false));
        assert_eq!(seconds(outlook.between(now).unwrap()), (3.0 * (100.0 + 20.0), false));
        let last = Outlook { epochs: 0, ..outlook };
        assert_eq!(seconds(last.in_training(40.0, 90.0, now)), (60.0, false));
        assert_eq!(last.between(now), None);
    }

    #[test]
    fn a_validation_that_was_not_measured_yet_is_estimated() {
        let now = Instant::now();
        let outlook = Outlook { epochs: 1, training: None, closing: None, closing_share: 0.1, deadline: None };
        assert_eq!(seconds(outlook.in_training(50.0, 100.0, now)), (50.0 + 10.0 + 110.0, false));
    }

    #[test]
    fn a_training_takes_no_longer_than_it_may() {
        let now = Instant::now();
        let deadline = Some(now + Duration::from_secs(60));
        let outlook = Outlook { epochs: 9, training: Some(10.0), closing: Some(0.0), closing_share: 0.0, deadline };
        assert_eq!(seconds(outlook.between(now).unwrap()), (60.0, true));
        assert_eq!(seconds(outlook.in_training(5.0, 10.0, now)), (60.0, true));
        assert_eq!(seconds(Outlook { epochs: 4, ..outlook }.between(now).unwrap()), (40.0, false));
        // No number of seconds is too large.
        assert!(outlook.in_training(f64::INFINITY, 1.0, now).by_deadline);
        assert_eq!(seconds(outlook.between(now + Duration::from_secs(90)).unwrap()), (0.0, true));
    }
}
