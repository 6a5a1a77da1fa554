//! The part of a batch that a process computes, and what the layers of a network need to know of it.

use std::cell::RefCell;

use super::Group;

thread_local! {
    static CURRENT: RefCell<Option<Share>> = const { RefCell::new(None) };
}

/// The share of a batch that a thread computes.
#[derive(Debug, Clone)]
pub struct Share {
    /// The processes among which batch norm is synchronised; `None` if each normalises by its own statistics.
    pub statistics: Option<Group>,
    /// Index in the whole batch of the share's first sample, on which the dropout mask depends.
    pub first: usize,
}

impl Share {
    /// Runs `work` on this share.
    pub fn run<T>(self, work: impl FnOnce() -> T) -> T {
        let _end = Restore(CURRENT.replace(Some(self)));
        work()
    }

    /// The processes among which the thread's batch norms are synchronised.
    pub(crate) fn statistics() -> Option<Group> {
        CURRENT.with_borrow(|share| share.as_ref().and_then(|share| share.statistics.clone()))
    }

    /// The index in the batch of the first sample that the thread computes.
    pub(crate) fn first() -> usize {
        CURRENT.with_borrow(|share| share.as_ref().map_or(0, |share| share.first))
    }
}

/// Restores the previous share, also after a panic.
struct Restore(Option<Share>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_known_while_it_is_computed() {
        let share = |first| Share { statistics: None, first };
        let inner = share(3).run(|| (share(5).run(Share::first), Share::first()));
        assert_eq!((inner, Share::first()), ((5, 3), 0));
        let ended = std::panic::catch_unwind(|| share(3).run(|| panic!("as meant")));
        assert!(ended.is_err());
        assert_eq!(Share::first(), 0);
    }
}
