//! Time by kind of operation, and what is asked of the device.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::backend::Backend;

use crate::base::locked;

static ON: AtomicBool = AtomicBool::new(false);
static TIMES: Mutex<BTreeMap<&str, Spent>> = Mutex::new(BTreeMap::new());

thread_local! {
    static READS: Cell<u64> = const { Cell::new(0) };
}

/// What a piece of work asked of the device, on one thread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Calls of libtorch's operators by name, as PyTorch's profiler lists them, without those that operators make of one
    /// another. On flex there are none.
    pub operators: BTreeMap<String, u64>,
    /// Calls that operators made of one another.
    pub nested: u64,
    /// How often numbers were read back from the device.
    pub reads: u64,
}

/// Runs `work` and counts what it asks of the device on this thread.
pub fn counted<T>(work: impl FnOnce() -> T) -> (T, Asked) {
    let before = READS.get();
    #[cfg(feature = "libtorch")]
    let (result, asked) = {
        let (result, calls) = super::libtorch::count_calls(work);
        (result, Asked { operators: calls.direct, nested: calls.nested, reads: 0 })
    };
    #[cfg(not(feature = "libtorch"))]
    let (result, asked) = (work(), Asked::default());
    (result, Asked { reads: READS.get() - before, ..asked })
}

/// Counts that numbers are read back from a device.
pub(super) fn note_read() {
    READS.set(READS.get() + 1);
}

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
    locked(&TIMES).clear();
    ON.store(true, Ordering::Relaxed);
}

/// Stops to measure; returns what each kind of operation took.
pub fn stop() -> BTreeMap<&'static str, Spent> {
    ON.store(false, Ordering::Relaxed);
    std::mem::take(&mut *locked(&TIMES))
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
        let mut times = locked(&TIMES);
        let spent = times.entry(kind).or_default();
        spent.time += start.elapsed();
        spent.calls += 1;
    }
}
