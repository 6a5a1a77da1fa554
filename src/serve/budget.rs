//! Bytes that are held for requests, so that many of them together do not take all memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes may be held, and how many are.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    held: AtomicU64,
}

/// Bytes that are held until this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, held: AtomicU64::new(0) })
    }

    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// A share of nothing, which can grow.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), bytes: 0 }
    }

    /// A share of this many bytes, if there is room for them.
    pub(super) fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Share> {
        let mut share = self.share();
        share.grow(bytes).then_some(share)
    }
}

impl Share {
    /// Reserves more bytes; returns false if the budget has no room for them.
    pub(super) fn grow(&mut self, bytes: u64) -> bool {
        let Budget { limit, held } = &*self.budget;
        let more = |now: u64| now.checked_add(bytes).filter(|sum| sum <= limit);
        let fits = held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        self.bytes += if fits { bytes } else { 0 };
        fits
    }

    /// Gives back what is over `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        let less = self.bytes.saturating_sub(bytes);
        self.budget.held.fetch_sub(less, Ordering::Relaxed);
        self.bytes -= less;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_given_back() {
        let budget = Budget::new(10);
        let (mut first, mut second) = (budget.share(), budget.share());
        assert!(first.grow(6) && !second.grow(5) && second.grow(4) && !first.grow(1));
        drop(first);
        assert_eq!(budget.held(), 4);
        assert!(second.grow(6) && !second.grow(u64::MAX));
        second.shrink_to(3);
        second.shrink_to(8);
        assert_eq!(budget.held(), 3);
    }
}
