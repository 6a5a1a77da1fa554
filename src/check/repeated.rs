//! Finds the keys that occur more than once among many.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

/// Bits of the table per key, at which about nine in ten unique keys are recognised as unique.
const BITS_PER_KEY: usize = 8;

/// Filter for keys that occur more than once: no false negatives, few false positives, so that little is left to sort.
pub(super) struct Repeated {
    /// One bit per hash value: whether it has occurred, and whether it has occurred again.
    once: Vec<u64>,
    again: Vec<u64>,
    state: FixedState,
}

impl Repeated {
    pub(super) fn of(keys: impl ExactSizeIterator<Item = u64>) -> Self {
        let words = (keys.len() * BITS_PER_KEY / 64).next_power_of_two();
        let mut found = Self { once: vec![0; words], again: vec![0; words], state: FixedState::with_seed(0) };
        for key in keys {
            let (word, bit) = found.place(key);
            found.again[word] |= found.once[word] & bit;
            found.once[word] |= bit;
        }
        found
    }

    pub(super) fn may_hold(&self, key: u64) -> bool {
        let (word, bit) = self.place(key);
        self.again[word] & bit != 0
    }

    fn place(&self, key: u64) -> (usize, u64) {
        let hash = self.state.hash_one(key) as usize;
        ((hash / 64) & (self.once.len() - 1), 1 << (hash % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_keys_are_all_found_and_few_others() {
        let keys: Vec<u64> = (0..10_000).chain(0..100).map(|i| i * 0x1_0000_0001).collect();
        let repeated = Repeated::of(keys.iter().copied());
        assert!(keys[..100].iter().all(|key| repeated.may_hold(*key)));
        assert!(keys[100..10_000].iter().filter(|key| repeated.may_hold(**key)).count() < 2_000);
    }
}
