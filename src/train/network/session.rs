//! What a training is given beside its plan, and how it ends.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::course::Position;
use crate::base::Result;
use crate::base::event::{Event, Sink};
use crate::nn::device::DeviceChoice;
use crate::run::RunLock;

/// Between two saves within an epoch, by default.
const SAVE_INTERVAL: Duration = Duration::from_secs(600);

/// How a training ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All epochs are done.
    Finished {
        /// Best validation mean IoU, where there is validation.
        best: Option<f64>,
    },
    /// It was asked to stop, or its time was up; `last/` is saved.
    Stopped(Position),
}

/// What a training needs beside its plan.
pub struct Session<'a> {
    /// Where to compute.
    pub device: DeviceChoice,
    /// Threads that prepare batches.
    pub workers: usize,
    /// Bytes in which decoded images may be kept.
    pub cache: u64,
    /// How many of the best and of the worst validation images are drawn after each epoch.
    pub validation_images: usize,
    /// Every how many epochs the weights are kept beside the best and the last ones.
    pub keep_every: Option<usize>,
    /// Set from outside to stop after the current step.
    pub stop: &'a AtomicBool,
    /// When to stop by itself.
    pub deadline: Option<Instant>,
    /// How often to save within an epoch, beside the saves at the end of each; `None` for never.
    pub save_every: Option<Duration>,
    /// The lock of the run folder, if the caller has it; else the training takes it.
    pub lock: Option<&'a RunLock>,
    /// Who is told.
    pub sink: &'a dyn Sink,
}

impl<'a> Session<'a> {
    /// On `device`, with two workers and without anything that is not needed.
    pub fn new(device: DeviceChoice, stop: &'a AtomicBool, sink: &'a dyn Sink) -> Self {
        Self {
            device,
            workers: 2,
            cache: 0,
            validation_images: 0,
            keep_every: None,
            stop,
            deadline: None,
            save_every: Some(SAVE_INTERVAL),
            lock: None,
            sink,
        }
    }

    /// A lock on the folder, if the caller has none.
    pub(super) fn lock(&self, folder: &Path) -> Result<Option<RunLock>> {
        self.lock.is_none().then(|| RunLock::acquire(folder)).transpose()
    }

    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    pub(super) fn note(&self, text: String) {
        self.sink.event(Event::Note(text));
    }
}
