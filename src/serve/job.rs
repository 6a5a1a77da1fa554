//! An image on its way through the queue.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::budget::Share;
use super::finished::Finished;
use crate::base::Size;
use crate::base::store::HeldFile;

/// An image that is to be predicted, is, or was.
#[derive(Debug)]
pub(super) struct Job {
    /// Its id in URLs: 128 random bits.
    pub(super) id: String,
    /// What requests call its model.
    pub(super) model: String,
    /// Whether it may be computed together with others of its size.
    pub(super) together: bool,
    /// Of the file, as its sender calls it.
    pub(super) name: String,
    pub(super) file: HeldFile,
    pub(super) size: Size,
    /// Bands that the model takes, by number from 1; all if left out.
    pub(super) bands: Option<Vec<usize>>,
    pub(super) created: Instant,
    status: watch::Sender<Status>,
    /// Bytes that count until it is over.
    _share: std::sync::Mutex<Option<Share>>,
}

/// How far it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Status {
    pub(super) state: State,
    /// Its place among those that wait, from 1.
    pub(super) position: Option<usize>,
    /// Windows that are done, and all of them.
    pub(super) progress: Option<(usize, usize)>,
    /// When it began to be computed.
    began: Option<Instant>,
    /// How long it was computed.
    pub(super) took: Option<Duration>,
    pub(super) error: Option<String>,
    pub(super) result: Option<Arc<Finished>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Queued,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub(super) fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

impl Job {
    pub(super) fn new(
        (model, together): (&str, bool),
        (file, share): (HeldFile, Share),
        size: Size,
        bands: Option<Vec<usize>>,
    ) -> Self {
        Self {
            id: new_id(),
            model: model.into(),
            together,
            name: file.path().file_name().unwrap_or_default().to_string_lossy().into_owned(),
            file,
            size,
            bands,
            created: Instant::now(),
            status: watch::Sender::new(Status::default()),
            _share: std::sync::Mutex::new(Some(share)),
        }
    }

    pub(super) fn state(&self) -> State {
        self.status.borrow().state
    }

    pub(super) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Tells of changes.
    pub(super) fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    pub(super) fn moved_to(&self, position: usize) {
        self.status.send_if_modified(|status| {
            let moved = status.position != Some(position) && status.state == State::Queued;
            if moved {
                status.position = Some(position);
            }
            moved
        });
    }

    /// Begins, unless it was cancelled.
    pub(super) fn begin(&self) -> bool {
        self.status.send_if_modified(|status| {
            let begins = status.state == State::Queued;
            if begins {
                (status.state, status.position, status.began) = (State::Running, None, Some(Instant::now()));
            }
            begins
        })
    }

    pub(super) fn advance(&self, done: usize, total: usize) {
        self.status.send_if_modified(|status| {
            let running = status.state == State::Running;
            if running {
                status.progress = Some((done, total));
            }
            running
        });
    }

    /// Moves to a final state unless it is in one; returns whether it did.
    pub(super) fn end(&self, state: State, error: Option<String>, result: Option<Arc<Finished>>) -> bool {
        let ended = self.status.send_if_modified(|status| {
            if status.state.is_over() {
                return false;
            }
            let (began, took) = (status.began, status.began.map(|began| began.elapsed()));
            let progress = status.progress.filter(|_| state != State::Done);
            *status = Status { state, position: None, progress, began, took, error, result };
            true
        });
        if ended && let Ok(mut share) = self._share.lock() {
            *share = None;
        }
        ended
    }

    /// What names of its results begin with.
    pub(super) fn stem(&self) -> String {
        Path::new(&self.name).file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// What is told of it; `has_downloads` says whether its results can be asked for later.
    pub(super) fn to_json(&self, has_downloads: bool) -> Value {
        let Status { state, position, progress, began, took, error, result } = self.status();
        let seconds = took.or_else(|| Some(began?.elapsed()));
        let base = format!("/api/jobs/{}", self.id);
        let stem = self.stem();
        json!({
            "id": has_downloads.then_some(&self.id), "state": state.name(), "position": position,
            "progress": progress.map(|(done, total)| json!({ "done": done, "total": total })),
            "seconds": seconds.map(|time| (time.as_secs_f64() * 1e3).round() / 1e3), "error": error,
            "name": self.name, "model": self.model,
            "result": result.map(|result| result.to_json(has_downloads.then_some((&base, &stem)))),
        })
    }
}

/// 128 bits that nobody can foresee: the standard library seeds its hashers with the system's random numbers.
fn new_id() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let part = || {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(number);
        hasher.finish()
    };
    format!("{:016x}{:016x}", part(), part())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::budget::Budget;

    #[test]
    fn a_job_ends_once() {
        let budget = Budget::new(100);
        let mut share = budget.share();
        assert!(share.grow(40));
        let file = HeldFile::new("a.png", vec![0; 40]);
        let size = Size { width: 1, height: 1 };
        let job = Job::new(("seeps", true), (file, share), size, None);
        job.moved_to(2);
        assert_eq!(job.to_json(true)["position"], 2);
        assert!(job.begin() && !job.begin());
        job.advance(1, 3);
        assert_eq!(job.to_json(true)["progress"]["total"], 3);
        assert!(job.end(State::Cancelled, None, None) && budget.held() == 0);
        assert!(!job.end(State::Done, None, None));
        let told = job.to_json(true);
        assert_eq!(
            (&told["state"], &told["position"], &told["name"]),
            (&json!("cancelled"), &json!(null), &json!("a.png"))
        );
        assert_ne!(new_id(), new_id());
        assert_eq!(new_id().len(), 32);
    }
}
