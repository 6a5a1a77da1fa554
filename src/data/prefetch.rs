//! Work done ahead on other threads, handed over in order.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

/// Results that each worker may have ready before it waits.
const AHEAD: usize = 2;

/// Computes `make(0), make(1), ..., make(count - 1)` on `workers` threads and yields the results in that order. At
/// most a few results a worker wait to be taken; dropping the iterator ends the work.
pub fn ordered<T: Send + 'static>(
    count: usize,
    workers: usize,
    make: impl Fn(usize) -> T + Send + Sync + 'static,
) -> impl Iterator<Item = T> {
    let make = Arc::new(make);
    let workers = workers.clamp(1, count.max(1));
    let receivers: Vec<Receiver<T>> = (0..workers)
        .map(|worker| {
            let (sender, receiver) = sync_channel(AHEAD);
            let make = Arc::clone(&make);
            thread::spawn(move || {
                for i in (worker..count).step_by(workers) {
                    // The receiver is gone when nobody wants the rest.
                    if sender.send(make(i)).is_err() {
                        break;
                    }
                }
            });
            receiver
        })
        .collect();
    // A channel that closes early means that its worker panicked: pass the defect on, never a shorter sequence.
    (0..count).map(move |i| receivers[i % workers].recv().expect("a worker thread panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_workers() {
        for workers in [0, 1, 3, 20] {
            assert!(ordered(10, workers, |i| i * i).eq((0..10).map(|i| i * i)));
        }
        assert_eq!(ordered(0, 2, |i| i).count(), 0);
    }
}
