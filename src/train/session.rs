//! What a training is given beside its plan, and how it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::network::Position;
use crate::base::event::Sink;
use crate::base::{Error, Remedy, Result, require};
use crate::nn::device::DeviceChoice;
use crate::nn::group::{Collectives, Group};
use crate::nn::learner::Members;
use crate::report::ForestReport;
use crate::run::{Run, RunLock};

/// Images of a batch from which the statistics of a batch norm are steady enough without those of other processes.
pub const SMALL_SHARE: usize = 16;

/// Between two saves within an epoch, by default.
const SAVE_INTERVAL: Duration = Duration::from_secs(600);

/// How a training ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// With a run that is complete.
    Finished {
        /// Best validation mean IoU of a network, where there is validation.
        best: Option<f64>,
        /// What was found out about a random forest.
        forest: Option<Box<ForestReport>>,
    },
    /// It was asked to stop, or its time was up. A network is saved and can be resumed from there; of a forest nothing is
    /// written.
    Stopped(Option<Position>),
}

/// Where a training runs, its limits, and who is told of its progress: what does not change its result beyond roundings.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// Where to compute.
    pub device: DeviceChoice,
    /// Threads that prepare batches. Of a network alone.
    pub workers: usize,
    /// Bytes in which decoded images may be kept; a part of the memory that is free if left out. Of a network alone.
    pub cache: Option<u64>,
    /// Folder that keeps an encoder's features. Of a random forest alone.
    pub cache_features: Option<&'a Path>,
    /// Whether a run that is in the folder already is replaced; else it is an error.
    pub overwrite: bool,
    /// Whether to start even if the memory does not seem to suffice.
    pub ignore_memory: bool,
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
    /// The processes that train together, all of which are given the same plan; process 0 alone writes. Of a network alone.
    pub group: Option<&'a Group>,
    /// Whether their batch norms go by the statistics of the whole batch; if left out, where a process has fewer than
    /// [`SMALL_SHARE`] images of a batch.
    pub synchronised: Option<bool>,
    /// What exchanges their gradients.
    pub collectives: Collectives,
    /// Receiver of the progress events; a closure will do.
    pub sink: &'a dyn Sink,
}

impl<'a> Session<'a> {
    /// A session on `device` with two workers and default settings.
    pub fn new(device: DeviceChoice, stop: &'a AtomicBool, sink: &'a dyn Sink) -> Self {
        Self {
            device,
            workers: 2,
            cache: None,
            cache_features: None,
            overwrite: false,
            ignore_memory: false,
            validation_images: 0,
            keep_every: None,
            stop,
            deadline: None,
            save_every: Some(SAVE_INTERVAL),
            lock: None,
            group: None,
            synchronised: None,
            collectives: Collectives::Auto,
            sink,
        }
    }

    /// Whether this process writes, as one on its own does.
    pub(super) fn writes(&self) -> bool {
        self.group.is_none_or(Group::leads)
    }

    /// Refuses batches of which some of the processes would never have a share.
    pub(super) fn check_shares(&self, batch_size: usize) -> Result<()> {
        let size = self.group.map_or(1, Group::size);
        let expected = format!("at least {size}: each of the {size} processes trains on a share of every batch");
        require(batch_size >= size, "batch_size", batch_size, expected)
    }

    /// Connects the GPUs of the processes that train together, if they have any, and says how gradients are exchanged.
    pub(super) fn connect_gpus(&self) -> Result<()> {
        let Some(group) = self.group else { return Ok(()) };
        let gpu = self.device.resolve()?.cuda_number();
        let exchange = group.connect_gpus(gpu, self.collectives)?;
        if gpu.is_some() {
            self.sink.note(exchange.to_string());
        }
        Ok(())
    }

    /// The processes that train together, and whether their batch norms do, with batches of that size.
    pub(super) fn members(&self, batch_size: usize) -> Option<Members> {
        let group = self.group?.clone();
        let synchronised = self.synchronised.unwrap_or(batch_size < SMALL_SHARE * group.size());
        Some(Members { group, synchronised })
    }

    /// Claims the folder for a new run, if the caller has not and this process writes; an error if there is a run that may not
    /// be replaced.
    pub(super) fn claim(&self, folder: &Path) -> Result<Option<RunLock>> {
        if !self.writes() {
            return Ok(None);
        }
        if let Some(lock) = self.lock {
            lock.check_folder(folder)?;
            return Run::check_target(folder, self.overwrite).map(|()| None);
        }
        RunLock::claim(folder, self.overwrite).map(Some)
    }

    /// A lock on the folder, if the caller has none and this process writes.
    pub(super) fn lock(&self, folder: &Path) -> Result<Option<RunLock>> {
        (self.lock.is_none() && self.writes()).then(|| RunLock::acquire(folder)).transpose()
    }

    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// Refuses to train into a run that the training begins with: its weights would go before there are others.
pub(super) fn refuse_own_weights(weights: &[PathBuf], folder: &Path) -> Result<()> {
    let Ok(folder) = fs::canonicalize(folder) else { return Ok(()) };
    match weights.iter().find(|file| fs::canonicalize(file).is_ok_and(|file| file.starts_with(&folder))) {
        Some(file) => {
            let reason = "holds the initial weights of this training, which the run would overwrite";
            Err(Error::occupied(file, reason, [Remedy::Another("output")]))
        }
        None => Ok(()),
    }
}
