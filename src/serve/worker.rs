//! The thread that computes: batch after batch, so that one image does not take the threads and the memory of another.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::finished::Finished;
use super::job::{Job, State};
use super::jobs::Jobs;
use super::metrics::Metrics;
use super::models::{Model, Models};
use super::queue::{Batch, Queue};
use crate::base::event::Event;
use crate::base::{LabelMap, Result};
use crate::image::report_notes;
use crate::predict::Prediction;
use crate::predict::model::{Form, Part, Strip};
use crate::train::is_out_of_memory;

/// What the thread needs.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) models: Arc<Models>,
    pub(super) queue: Arc<Queue>,
    pub(super) jobs: Arc<Jobs>,
    pub(super) metrics: Arc<Metrics>,
    /// Longest time that a batch is computed.
    pub(super) time: Duration,
}

impl Worker {
    /// Computes until the queue is closed.
    pub(super) fn run(&self) {
        while let Some(batch) = self.queue.next() {
            let began = Instant::now();
            let jobs: Vec<Arc<Job>> = batch.jobs.iter().filter(|job| job.begin()).cloned().collect();
            if let Some(model) = jobs.first().and_then(|job| self.models.get(&job.model)) {
                self.metrics.batch(jobs.len());
                self.compute(model, &jobs, &batch);
            }
            // What readers notice is gathered for a batch of files that somebody reads about; here nobody does.
            report_notes(&|_| ());
            self.queue.done(jobs.len(), began);
            batch.jobs.iter().for_each(|job| self.count(job, began));
        }
    }

    /// A panic, such as that of a device without memory, is the end of these images, not of the server.
    fn compute(&self, model: &Model, jobs: &[Arc<Job>], batch: &Batch) {
        let late = AtomicBool::new(false);
        let task = Task { model, jobs, stop: &batch.stop, late: &late, time: self.time, began: Instant::now() };
        let fault = match catch_unwind(AssertUnwindSafe(|| task.predict())) {
            Ok(Ok(())) if late.load(Ordering::Relaxed) => {
                let limit = humantime::format_duration(self.time);
                Some(format!("took longer than {limit}, the longest time allowed here; send a smaller image"))
            }
            Ok(Ok(())) => None,
            Ok(Err(fault)) => Some(fault.to_string()),
            Err(payload) => Some(panic_text(payload.as_ref())),
        };
        // It may be the fault of one of them.
        if fault.is_some() && jobs.len() > 1 && !batch.stop.load(Ordering::Relaxed) {
            let left = jobs.iter().filter(|job| !job.state().is_over());
            left.for_each(|job| self.compute(model, std::slice::from_ref(job), batch));
            return;
        }
        for job in jobs {
            let state = if fault.is_some() { State::Failed } else { State::Cancelled };
            job.end(state, fault.as_ref().map(|fault| job.file.named(fault).replace('`', "")), None);
        }
    }

    fn count(&self, job: &Job, began: Instant) {
        self.jobs.ended(job);
        let status = job.status();
        self.metrics.job(status.state.name(), Some(began.duration_since(job.created)), status.took);
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    if is_out_of_memory(payload) {
        return "there is not enough memory on the device for this image; send a smaller one".into();
    }
    "the prediction failed with an internal error; the operator finds details in the server's standard error".into()
}

/// Images of one size and one model that are computed together.
struct Task<'a> {
    model: &'a Model,
    jobs: &'a [Arc<Job>],
    stop: &'a AtomicBool,
    /// Set when it took too long.
    late: &'a AtomicBool,
    time: Duration,
    began: Instant,
}

impl Task<'_> {
    fn predict(&self) -> Result<()> {
        let Some(first) = self.jobs.first() else { return Ok(()) };
        let (options, tile) = self.model.options(first.file.path(), first.size, first.bands.as_deref())?;
        let paths: Vec<_> = self.jobs.iter().map(|job| job.file.path().to_path_buf()).collect();
        let work = self.model.predictor.work(&options, Some(self.stop))?;
        let form = Form { strips: true, rasters: Some(false), ..Form::default() };
        let total = AtomicUsize::new(0);
        let sink = |event: Event| self.hear(event, &total);
        let mut growing: Option<Prediction> = None;
        work.each(&paths, form, &sink, &mut |i, part| {
            let whole = match part {
                Part::Whole(pending) => Some(pending.finish()),
                Part::Strip(strip) => {
                    let is_last = strip.is_last();
                    let grown = growing.get_or_insert_with(|| self.begun(&strip));
                    grown.labels.classes.extend(strip.decision.classes);
                    if let (Some(all), Some(next)) = (&mut grown.probability, strip.decision.highest) {
                        all.extend(next);
                    }
                    if is_last { growing.take() } else { None }
                }
                Part::Abandoned => {
                    growing = None;
                    None
                }
            };
            whole.into_iter().try_for_each(|whole| self.finish(&self.jobs[i], whole, tile))?;
            Ok(!self.stop.load(Ordering::Relaxed))
        })
        .map(drop)
    }

    /// A prediction whose rows come one strip after another, without any of them.
    fn begun(&self, first: &Strip) -> Prediction {
        let pixels = first.size.width * first.size.height;
        Prediction {
            labels: LabelMap { size: first.size, classes: Vec::with_capacity(pixels) },
            probability: first.decision.highest.is_some().then(|| Vec::with_capacity(pixels)),
            probabilities: None,
            dataset: Arc::new(self.model.predictor.dataset().clone()),
        }
    }

    fn hear(&self, event: Event, total: &AtomicUsize) {
        match event {
            Event::Started { total: steps, .. } => total.store(steps, Ordering::Relaxed),
            Event::Advanced { done, .. } => {
                let total = total.load(Ordering::Relaxed);
                if let [job] = self.jobs
                    && total > 1
                {
                    job.advance(done, total);
                }
                if self.began.elapsed() > self.time && done < total {
                    self.late.store(true, Ordering::Relaxed);
                    self.stop.store(true, Ordering::Relaxed);
                }
            }
            Event::Skipped { path, reason } => {
                for job in self.jobs.iter().filter(|job| job.file.path() == path) {
                    job.end(State::Failed, Some(job.file.named(&reason).replace('`', "")), None);
                }
            }
            _ => {}
        }
    }

    fn finish(&self, job: &Job, prediction: Prediction, tile: Option<usize>) -> Result<()> {
        let finished = Finished::new(job.file.path(), prediction, job.bands.as_deref(), tile)?;
        job.end(State::Done, None, Some(Arc::new(finished)));
        Ok(())
    }
}
