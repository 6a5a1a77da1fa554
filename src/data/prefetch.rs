//! Work done ahead on other threads, handed over in order.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

/// Results that each worker may have ready before it waits, where they are taken one by one.
pub const AHEAD: usize = 2;

/// Computes `make(0), make(1), ..., make(count - 1)` on `workers` threads and yields the results in that order. Each
/// worker holds at most `ahead` results that nobody has taken, and one that it makes; dropping the iterator ends the work.
/// A worker's panic goes on in the thread that takes the results.
pub fn ordered<T: Send + 'static>(
    count: usize,
    (workers, ahead): (usize, usize),
    make: impl Fn(usize) -> T + Send + Sync + 'static,
) -> impl Iterator<Item = T> {
    let make = Arc::new(make);
    let workers = workers.clamp(1, count.max(1));
    let start = |worker: usize| {
        let (sender, receiver) = sync_channel(ahead);
        let make = Arc::clone(&make);
        let thread = thread::spawn(move || {
            for i in (worker..count).step_by(workers) {
                // The receiver is gone when nobody wants the rest.
                if sender.send(make(i)).is_err() {
                    break;
                }
            }
        });
        Worker { receiver, thread: Some(thread) }
    };
    let mut workers: Vec<Worker<T>> = (0..workers).map(start).collect();
    let places = workers.len();
    (0..count).map_while(move |i| workers[i % places].take())
}

struct Worker<T> {
    receiver: Receiver<T>,
    thread: Option<JoinHandle<()>>,
}

impl<T> Worker<T> {
    /// The next result. A channel that closes early means a panic: the defect is passed on, never a shorter sequence.
    fn take(&mut self) -> Option<T> {
        let result = self.receiver.recv().ok();
        if result.is_none()
            && let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
        {
            resume_unwind(panic);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_workers() {
        for workers in [0, 1, 3, 20] {
            assert!(ordered(10, (workers, AHEAD), |i| i * i).eq((0..10).map(|i| i * i)));
        }
        assert_eq!(ordered(0, (2, AHEAD), |i| i).count(), 0);
    }

    #[test]
    fn no_more_is_made_than_asked_for_and_held() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let mut results = ordered(1_000, (2, AHEAD), move |i| (i, count.fetch_add(1, Ordering::SeqCst)).0);
        assert_eq!(results.by_ref().take(4).collect::<Vec<_>>(), [0, 1, 2, 3]);
        sleep(Duration::from_millis(50));
        drop(results);
        sleep(Duration::from_millis(50));
        assert!(made.load(Ordering::SeqCst) <= 4 + 2 * (AHEAD + 1));
    }

    #[test]
    #[should_panic(expected = "seven")]
    fn a_panic_is_passed_on() {
        ordered(10, (3, AHEAD), |i| assert!(i != 7, "seven")).for_each(drop);
    }
}
