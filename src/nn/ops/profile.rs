//! Time by kind of operation.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use burn::backend::Backend;

static ON: AtomicBool = AtomicBool::new(false);
static TIMES: Mutex<BTreeMap<&str, Spent>> = Mutex::new(BTreeMap::new());

/// What one kind of operation took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Time in all calls.
    pub time: Duration,
    /// Number of calls.
    pub calls: usize,
}

/// Starts to measure, from zero. While it measures, every operation waits for the device before and after, so that the
/// whole is slower than it is otherwise.
pub fn start() {
    times().clear();
    ON.store(true, Ordering::Relaxed);
}

/// Stops to measure; returns what each kind of operation took.
pub fn stop() -> BTreeMap<&'static str, Spent> {
    ON.store(false, Ordering::Relaxed);
    std::mem::take(&mut *times())
}

fn times() -> MutexGuard<'static, BTreeMap<&'static str, Spent>> {
    TIMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `operation`, which leaves the device nothing to do, and, while measuring, adds its time to `kind`.
pub fn timed_on_host<T>(kind: &'static str, operation: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = operation();
    add(kind, start);
    result
}

/// Runs `operation` and, while measuring, adds its time to `kind`.
pub(super) fn timed<B: Backend, T>(kind: &'static str, device: &B::Device, operation: impl FnOnce() -> T) -> T {
    if !ON.load(Ordering::Relaxed) {
        return operation();
    }
    // A device that cannot be waited for has failed; the operation itself will say so.
    let _ = B::sync(device);
    let start = Instant::now();
    let result = operation();
    let _ = B::sync(device);
    add(kind, start);
    result
}

fn add(kind: &'static str, start: Instant) {
    if ON.load(Ordering::Relaxed) {
        let mut times = times();
        let spent = times.entry(kind).or_default();
        spent.time += start.elapsed();
        spent.calls += 1;
    }
}
