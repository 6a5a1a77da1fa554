//! Random streams by seed, epoch and place.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
/// What a random stream decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The changes of one sample, or the order of all.
    Sample,
    /// What the samples of a batch have in common.
    Batch,
    /// The image of a sample that is to show a class.
    Foreground,
}

/// The random stream of one place in one epoch (or, at `usize::MAX`, of a shuffle).
pub(super) fn stream(seed: u64, epoch: usize, place: usize, purpose: Purpose) -> ChaCha8Rng {
    let mut key = [0; 32];
    let numbers = [seed, epoch as u64, place as u64, 0x5e67_7001 + purpose as u64];
    for (part, number) in key.chunks_exact_mut(8).zip(numbers) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
