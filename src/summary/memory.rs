//! Memory by the size of the batch.

use crate::device::DeviceChoice;
use crate::ops::dry::{Held, Record};

/// What the program itself and its threads hold beside tensors, in bytes, on flex.
const FLEX: u64 = 40 << 20;
/// The same with libtorch's libraries and its scratch memory.
const LIBTORCH: u64 = 200 << 20;

/// Most memory that is held at a time, as a function of the batch: fixed bytes (the process, weights, what the optimiser
/// keeps, gradients) and bytes of every picture (it and its activations).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// The times at which most is held; which is the worst depends on the batch.
    peaks: Vec<Held>,
}

impl Memory {
    /// What a dry run found, and `fixed` bytes that are there all the time.
    pub(super) fn new(record: &Record, fixed: u64) -> Self {
        let with_fixed = |held: &Held| Held { fixed: held.fixed.saturating_add(fixed), ..*held };
        let peaks = if record.peaks.is_empty() { &[Held::default()] } else { &record.peaks[..] };
        Self { peaks: peaks.iter().map(with_fixed).collect() }
    }

    /// Bytes for a batch of so many pictures.
    pub fn bytes(&self, batch: usize) -> u64 {
        self.peaks.iter().map(|held| bytes(held, batch)).max().unwrap_or_default()
    }

    /// Fixed bytes and bytes of every picture at the worst time for a batch of so many.
    pub fn parts(&self, batch: usize) -> Held {
        self.peaks.iter().copied().max_by_key(|held| bytes(held, batch)).unwrap_or_default()
    }

    /// The largest batch that `limit` bytes suffice for; 0 if they do not suffice for one picture.
    pub fn pictures_within(&self, limit: u64) -> usize {
        let most = |held: &Held| match limit.checked_sub(held.fixed) {
            None => 0,
            Some(room) => room.checked_div(held.per_picture).map_or(usize::MAX, |count| count as usize),
        };
        self.peaks.iter().map(most).min().unwrap_or_default()
    }
}

fn bytes(held: &Held, batch: usize) -> u64 {
    held.fixed.saturating_add(held.per_picture.saturating_mul(batch as u64))
}

/// What a process on `device` holds beside tensors. On a GPU only tensors count.
pub(super) fn of_process(device: DeviceChoice) -> u64 {
    match device {
        DeviceChoice::LibtorchCuda(_) => 0,
        DeviceChoice::Libtorch => LIBTORCH,
        _ => FLEX,
    }
}
