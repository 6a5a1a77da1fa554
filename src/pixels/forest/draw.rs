//! Random choices. Every tree has its own stream, so its choices do not depend on which thread grows it.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A stream of random numbers, the same on every machine and in every version.
#[derive(Debug, Clone)]
pub(super) struct Draws(ChaCha8Rng);

/// Stream of the samples by which bins are laid; trees have the lesser ones.
const BINS: u64 = u64::MAX;

impl Draws {
    /// For tree `tree`.
    pub(super) fn for_tree(seed: u64, tree: usize) -> Self {
        Self::stream(seed, tree as u64)
    }

    /// For the samples by which bins are laid.
    pub(super) fn for_bins(seed: u64) -> Self {
        Self::stream(seed, BINS)
    }

    fn stream(seed: u64, number: u64) -> Self {
        let mut key = [0; 32];
        for (part, number) in key.chunks_exact_mut(8).zip([seed, number, 0x5e67_f05e]) {
            part.copy_from_slice(&number.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Another stream, for a part of the work that may run elsewhere.
    pub(super) fn branch(&mut self) -> Self {
        let mut key = [0; 32];
        self.0.fill_bytes(&mut key);
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A number below `end`. The product's upper half is uneven by `end / 2^64`, which nobody can see.
    pub(super) fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.0.next_u64()) * end as u128) >> 64) as usize
    }

    /// How often each of `samples` samples is drawn, in `draws` draws with replacement.
    pub(super) fn bootstrap(&mut self, samples: usize, draws: usize) -> Vec<u16> {
        let mut counts = vec![0u16; samples];
        for _ in 0..draws {
            let count = &mut counts[self.below(samples)];
            *count = count.saturating_add(1);
        }
        counts
    }
}

/// The features in random order, of which a node needs only the first few.
#[derive(Debug)]
pub(super) struct FeatureOrder(Vec<u32>);

impl FeatureOrder {
    /// Of features `0..features`.
    pub(super) fn new(features: usize) -> Self {
        Self((0..features as u32).collect())
    }

    /// Draws the feature in place `place`; those before it have been drawn already.
    pub(super) fn draw(&mut self, place: usize, draws: &mut Draws) -> usize {
        let other = place + draws.below(self.0.len() - place);
        self.0.swap(place, other);
        self.0[place] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_keep_their_values() {
        let values = |mut draws: Draws| -> Vec<usize> { (0..4).map(|_| draws.below(1000)).collect() };
        assert_eq!(values(Draws::for_tree(1, 2)), values(Draws::for_tree(1, 2)));
        assert_ne!(values(Draws::for_tree(1, 2)), values(Draws::for_tree(1, 3)));
        assert_ne!(values(Draws::for_tree(1, 2)), values(Draws::for_tree(2, 2)));
    }

    #[test]
    fn a_bootstrap_leaves_one_in_e_out() {
        let counts = Draws::for_tree(5, 0).bootstrap(100_000, 100_000);
        assert_eq!(counts.iter().map(|&count| u32::from(count)).sum::<u32>(), 100_000);
        let share = counts.iter().filter(|&&count| count == 0).count() as f64 / 100_000.0;
        assert!((share - (-1f64).exp()).abs() < 0.005, "{share}");
    }

    #[test]
    fn all_features_come_up_once() {
        let (mut order, mut draws) = (FeatureOrder::new(50), Draws::for_tree(0, 0));
        for _ in 0..3 {
            let mut drawn: Vec<usize> = (0..50).map(|place| order.draw(place, &mut draws)).collect();
            drawn.sort_unstable();
            assert!(drawn.iter().copied().eq(0..50));
        }
    }
}
