//! What all requests share.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::budget::Budget;
use super::error::{ApiResult, fault};
use super::job::{Job, State};
use super::jobs::Jobs;
use super::labelling::Labelling;
use super::metrics::{Metrics, Now};
use super::models::Models;
use super::queue::Queue;
use super::settings::Settings;
use super::worker::Worker;
use crate::base::{Error, Result, main_memory};
use crate::image::limits::set_memory_limit;

/// Images that are drawn, encoded or read at the same time, beside those that are computed.
const DRAWN: usize = 2;
/// Images that are fetched from other servers at the same time.
const FETCHED: usize = 4;
/// What uploads may take where the system does not say what is free.
const UNKNOWN: u64 = 2 << 30;
/// What answers that wait for their clients may take in any case.
const LEAST_ANSWERS: u64 = 512 << 20;

/// What all requests share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) models: Arc<Models>,
    pub(super) queue: Arc<Queue>,
    pub(super) jobs: Arc<Jobs>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) label: Option<Arc<Labelling>>,
    /// Bytes of images that arrive, wait or are computed.
    pub(super) uploads: Arc<Budget>,
    /// Bytes of answers that clients have not taken yet.
    pub(super) answers: Arc<Budget>,
    drawing: Arc<Semaphore>,
    pub(super) fetching: Arc<Semaphore>,
}

/// The state of the routes.
pub(super) type App = Arc<Shared>;

impl Shared {
    /// Opens the models and what is labelled.
    pub(super) fn open(settings: Settings) -> Result<Self> {
        let models = Arc::new(Models::open(&settings)?);
        let label = settings.label.as_ref().map(|options| Labelling::with(options, &|_| ())).transpose()?.map(Arc::new);
        let limits = settings.limits;
        let free = main_memory::free().unwrap_or(UNKNOWN);
        // Images are decoded while others wait, are drawn or sent.
        set_memory_limit(settings.compute.memory.or(Some(free / 4)));
        let uploads = Budget::new((free / 4).max(limits.bytes));
        Ok(Self {
            models,
            label,
            queue: Arc::new(Queue::new(limits.queue)),
            jobs: Arc::new(Jobs::new(limits.kept.min(free / 4))),
            metrics: Arc::default(),
            uploads,
            answers: Budget::new((free / 4).max(LEAST_ANSWERS)),
            drawing: Arc::new(Semaphore::new(DRAWN)),
            fetching: Arc::new(Semaphore::new(FETCHED)),
            settings,
        })
    }

    /// Starts the thread that computes.
    pub(super) fn start(&self) -> Result<JoinHandle<()>> {
        let worker = Worker {
            models: Arc::clone(&self.models),
            queue: Arc::clone(&self.queue),
            jobs: Arc::clone(&self.jobs),
            metrics: Arc::clone(&self.metrics),
            time: self.settings.limits.time,
        };
        let thread = std::thread::Builder::new().name("predict".into());
        thread.spawn(move || worker.run()).map_err(|cause| Error::failed("start a thread", cause))
    }

    /// Takes nothing more, and ends what goes on.
    pub(super) fn close(&self) {
        self.queue.close();
        if let Some(label) = &self.label {
            label.stop();
        }
    }

    /// Cancels a job. Returns false if it had already finished.
    pub(super) fn cancel(&self, job: &Job) -> bool {
        let was_over = job.state().is_over();
        if !was_over && self.queue.cancel(job) {
            self.metrics.job(State::Cancelled.name(), Some(job.created.elapsed()), None);
        }
        !was_over
    }

    /// Draws, encodes or reads an image where that holds nobody up, when it is its turn.
    pub(super) async fn drawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> ApiResult<T> {
        let turn = Arc::clone(&self.drawing).acquire_owned().await.map_err(|_| fault())?;
        let work = move || {
            // It goes with the work, which goes on when its client is gone.
            let _turn = turn;
            work()
        };
        spawn_blocking(work).await.map_err(|_| fault())
    }

    /// Gauges, read when they are asked for.
    pub(super) fn now(&self) -> Now {
        let (waiting, running) = self.queue.lengths();
        let (kept, result_bytes) = self.jobs.kept();
        Now { waiting, running, kept, upload_bytes: self.uploads.held(), result_bytes }
    }
}
