//! Images that wait for a model, in the order in which they came.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::job::{Job, State};
use crate::base::locked;

/// Images that a network computes together at most.
pub(super) const BATCH: usize = 4;
/// What an image is taken to need until one has been computed.
const GUESS: Duration = Duration::from_secs(2);

/// Images that wait, and those that are computed.
#[derive(Debug)]
pub(super) struct Queue {
    capacity: usize,
    line: Mutex<Line>,
    changed: Condvar,
}

#[derive(Debug)]
struct Line {
    waiting: VecDeque<Arc<Job>>,
    running: Batch,
    closed: bool,
    /// How long an image took lately.
    pace: Duration,
}

/// Images that are computed together.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    pub(super) jobs: Vec<Arc<Job>>,
    /// Once it is set, they are given up.
    pub(super) stop: Arc<AtomicBool>,
}

/// Why nothing more is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Seconds until there is probably room.
    Full(u64),
    Closed,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        let line = Line { waiting: VecDeque::new(), running: Batch::default(), closed: false, pace: GUESS };
        Self { capacity, line: Mutex::new(line), changed: Condvar::new() }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Images that wait, and that are computed.
    pub(super) fn lengths(&self) -> (usize, usize) {
        let line = locked(&self.line);
        (line.waiting.len(), line.running.jobs.len())
    }

    /// Whether another image would be taken.
    pub(super) fn check(&self) -> Result<(), Refused> {
        locked(&self.line).check(self.capacity)
    }

    pub(super) fn push(&self, job: Arc<Job>) -> Result<(), Refused> {
        let mut line = locked(&self.line);
        line.check(self.capacity)?;
        line.waiting.push_back(job);
        line.number();
        drop(line);
        self.changed.notify_all();
        Ok(())
    }

    /// Waits for the next image, with those behind it that can be computed together with it; `None` once closed.
    pub(super) fn next(&self) -> Option<Batch> {
        let mut line = locked(&self.line);
        loop {
            if line.closed {
                return None;
            }
            if let Some(first) = line.waiting.pop_front() {
                let batch = Batch { jobs: line.with_alike(first), stop: Arc::default() };
                line.running = batch.clone();
                line.number();
                return Some(batch);
            }
            line = self.changed.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Notes that what was computed is over.
    pub(super) fn done(&self, images: usize, began: Instant) {
        let mut line = locked(&self.line);
        line.running = Batch::default();
        if images > 0 {
            line.pace = (line.pace + began.elapsed() / images as u32) / 2;
        }
    }

    /// Has a job end at once, whether it waits or is computed: a batch is given up when nobody wants any of it. Returns
    /// whether it waited.
    pub(super) fn cancel(&self, job: &Job) -> bool {
        let mut line = locked(&self.line);
        let before = line.waiting.len();
        line.waiting.retain(|waiting| waiting.id != job.id);
        line.number();
        job.end(State::Cancelled, None, None);
        if line.running.jobs.iter().all(|job| job.state().is_over()) {
            line.running.stop.store(true, Ordering::Relaxed);
        }
        line.waiting.len() < before
    }

    /// Takes nothing more; all that wait or are computed are cancelled.
    pub(super) fn close(&self) {
        let mut line = locked(&self.line);
        line.closed = true;
        let waiting = std::mem::take(&mut line.waiting);
        waiting.iter().chain(&line.running.jobs).for_each(|job| {
            job.end(State::Cancelled, Some("the server is shutting down".into()), None);
        });
        line.running.stop.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }
}

impl Line {
    fn check(&self, capacity: usize) -> Result<(), Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        if self.waiting.len() < capacity {
            return Ok(());
        }
        let left = self.pace * self.running.jobs.len().max(1) as u32;
        Err(Refused::Full(left.as_secs_f64().ceil().clamp(1.0, 600.0) as u64))
    }

    /// Tells all that wait their places.
    fn number(&self) {
        self.waiting.iter().enumerate().for_each(|(i, job)| job.moved_to(i + 1));
    }

    fn with_alike(&mut self, first: Arc<Job>) -> Vec<Arc<Job>> {
        let mut batch = vec![first];
        let mut at = 0;
        while at < self.waiting.len() && batch.len() < BATCH {
            let (job, first) = (&self.waiting[at], &batch[0]);
            let is_alike =
                job.together && (&job.model, job.size, &job.bands) == (&first.model, first.size, &first.bands);
            match is_alike.then(|| self.waiting.remove(at)).flatten() {
                Some(job) => batch.push(job),
                None => at += 1,
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Size;
    use crate::base::store::HeldFile;
    use crate::serve::budget::Budget;

    #[test]
    fn a_job_that_was_taken_does_not_count_as_one_that_waits() {
        let queue = Queue::new(4);
        let job = || {
            let file = (HeldFile::new("a.png", vec![0; 4]), Budget::new(100).share());
            Arc::new(Job::new(("seeps", false), file, Size { width: 2, height: 2 }, None))
        };
        let [taken, waiting] = [job(), job()];
        [&taken, &waiting].into_iter().for_each(|job| queue.push(Arc::clone(job)).unwrap());
        let batch = queue.next().unwrap();
        assert_eq!((batch.jobs.len(), taken.state()), (1, State::Queued));
        assert!(queue.cancel(&waiting) && !queue.cancel(&waiting));
        assert!(!queue.cancel(&taken) && batch.stop.load(Ordering::Relaxed));
        assert_eq!([taken.state(), waiting.state()], [State::Cancelled; 2]);
    }
}
