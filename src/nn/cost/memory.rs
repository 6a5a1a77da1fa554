//! Memory by the size of the batch, from what a dry run noted.

use serde::Serialize;

use crate::nn::device::{DeviceChoice, library_memory};
use crate::nn::ops::dry::{Event, Need};

/// Bytes that are held at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Whatever the batch is.
    pub fixed: u64,
    /// For every image of the batch.
    pub per_image: u64,
}

impl Held {
    /// Bytes for a batch of this size.
    pub fn bytes(self, batch: usize) -> u64 {
        self.fixed.saturating_add(self.per_image.saturating_mul(batch as u64))
    }

    /// The numbers of bytes that a tensor adds to, or is taken from.
    fn part(&mut self, need: Need) -> (&mut u64, u64) {
        match need {
            Need::Fixed(bytes) => (&mut self.fixed, bytes),
            Need::PerImage(bytes) => (&mut self.per_image, bytes),
        }
    }
}

/// What a process on some device holds beside the numbers in its tensors.
#[derive(Debug, Clone, Copy)]
struct Overhead {
    /// Program, libraries, threads and their scratch memory, in bytes.
    process: u64,
    /// Bytes for each byte of parameters beyond these themselves, in eighths.
    parameters: u64,
    /// Bytes for each byte of a pass's tensors beyond these themselves, in eighths: gaps in the heap between tensors of
    /// different sizes.
    tensors: u64,
}

impl Overhead {
    /// Measured on a dozen networks at several sizes, in inference and in training.
    fn of(device: DeviceChoice) -> Self {
        match device {
            // There, tensors alone count.
            device if device.is_gpu() => Self { process: 0, parameters: 0, tensors: 0 },
            // Its convolutions keep weights in an order of their own, too.
            DeviceChoice::Libtorch => Self { process: library_memory() + (30 << 20), parameters: 3, tensors: 2 },
            _ => Self { process: library_memory() + (23 << 20), parameters: 0, tensors: 2 },
        }
    }
}

/// Most memory that is held at a time, as a function of the batch: what the process needs, weights, what the optimiser
/// keeps, and images, activations and gradients with the gaps between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// The times at which most is held; which is the worst depends on the batch.
    peaks: Vec<Held>,
}

impl Memory {
    /// On `device`, with what a dry run noted, and `parameters` bytes that are there all the time.
    pub(super) fn new(device: DeviceChoice, events: &[Event], parameters: u64) -> Self {
        let overhead = Overhead::of(device);
        let with = |bytes: u64, eighths: u64| bytes.saturating_add(bytes / 8 * eighths);
        let there = overhead.process.saturating_add(with(parameters, overhead.parameters));
        let peak = |held: Held| Held {
            fixed: with(held.fixed, overhead.tensors).saturating_add(there),
            per_image: with(held.per_image, overhead.tensors),
        };
        Self { peaks: worst(events).into_iter().map(peak).collect() }
    }

    /// Bytes for a batch of this size.
    pub fn bytes(&self, batch: usize) -> u64 {
        self.parts(batch).bytes(batch)
    }

    /// What is held at the worst time for a batch of this size.
    pub fn parts(&self, batch: usize) -> Held {
        // Wider than `bytes`, which ends at the largest number.
        let bytes = |held: &Held| u128::from(held.fixed) + u128::from(held.per_image) * batch as u128;
        self.peaks.iter().copied().max_by_key(bytes).unwrap_or_default()
    }

    /// The same with half of what the images add, as with numbers of 16 bits.
    #[must_use]
    pub fn with_halved_images(mut self) -> Self {
        self.peaks.iter_mut().for_each(|held| held.per_image /= 2);
        self
    }

    /// The largest batch that `limit` bytes suffice for; 0 if they do not suffice for one image.
    pub fn images_within(&self, limit: u64) -> usize {
        let most = |held: &Held| match limit.checked_sub(held.fixed) {
            None => 0,
            Some(room) => room.checked_div(held.per_image).map_or(usize::MAX, |count| count as usize),
        };
        self.peaks.iter().map(most).min().unwrap_or_default()
    }
}

/// The times at which most is held: for a batch of any size, one of them is the worst.
fn worst(events: &[Event]) -> Vec<Held> {
    let (mut taken, mut now, mut peaks) = (Vec::new(), Held::default(), vec![Held::default()]);
    for event in events {
        match *event {
            Event::Take(need) => {
                taken.push(need);
                let (sum, bytes) = now.part(need);
                *sum = sum.saturating_add(bytes);
                let covers = |a: &Held, b: &Held| a.fixed >= b.fixed && a.per_image >= b.per_image;
                if !peaks.iter().any(|peak| covers(peak, &now)) {
                    peaks.retain(|peak| !covers(&now, peak));
                    peaks.push(now);
                }
            }
            Event::GiveBack(number) => {
                let (sum, bytes) = now.part(taken[number]);
                *sum = sum.saturating_sub(bytes);
            }
        }
    }
    peaks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_time_depends_on_the_batch() {
        let events = [
            Event::Take(Need::PerImage(100)),
            Event::Take(Need::PerImage(20)),
            Event::GiveBack(0),
            Event::Take(Need::Fixed(300)),
            Event::GiveBack(1),
        ];
        let memory = Memory { peaks: worst(&events) };
        assert_eq!([1, 2, 4].map(|batch| memory.bytes(batch)), [320, 340, 480]);
        assert_eq!([319, 320, 340, 479, 480].map(|limit| memory.images_within(limit)), [0, 1, 2, 3, 4]);
    }
}
