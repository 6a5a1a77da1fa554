//! The jobs that clients may ask for: those that wait or run, and the results that are kept.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use super::job::Job;
use crate::base::locked;

/// Most results that are kept, however small.
const MOST: usize = 500;

/// Jobs by their ids.
#[derive(Debug)]
pub(super) struct Jobs {
    /// Bytes of results that are kept.
    limit: u64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    jobs: HashMap<String, Arc<Job>>,
    /// Those that are over, the oldest first, with their bytes.
    over: VecDeque<(String, u64)>,
    bytes: u64,
}

impl Known {
    fn forget(&mut self, id: &str) -> Option<Arc<Job>> {
        if let Some(at) = self.over.iter().position(|(over, _)| over == id)
            && let Some((_, bytes)) = self.over.remove(at)
        {
            self.bytes -= bytes;
        }
        self.jobs.remove(id)
    }
}

impl Jobs {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, known: Mutex::default() }
    }

    pub(super) fn add(&self, job: &Arc<Job>) {
        locked(&self.known).jobs.insert(job.id.clone(), Arc::clone(job));
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Job>> {
        locked(&self.known).jobs.get(id).cloned()
    }

    pub(super) fn forget(&self, id: &str) -> Option<Arc<Job>> {
        locked(&self.known).forget(id)
    }

    /// Notes that a job is over, and forgets the oldest results for which there is no room any more; the newest stays.
    pub(super) fn ended(&self, job: &Job) {
        let mut known = locked(&self.known);
        if !known.jobs.contains_key(&job.id) || known.over.iter().any(|(id, _)| *id == job.id) {
            return;
        }
        let bytes = job.status().result.map_or(0, |result| result.bytes()) + job.file.bytes().len() as u64;
        known.over.push_back((job.id.clone(), bytes));
        known.bytes += bytes;
        while known.over.len() > 1 && (known.bytes > self.limit || known.over.len() > MOST) {
            let Some(oldest) = known.over.front().map(|(id, _)| id.clone()) else { break };
            known.forget(&oldest);
        }
    }

    /// Results that are kept, and their bytes.
    pub(super) fn kept(&self) -> (usize, u64) {
        let known = locked(&self.known);
        (known.over.len(), known.bytes)
    }
}
