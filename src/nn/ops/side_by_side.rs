//! A batch computed in shares, each by one thread of a CPU.
//!
//! libtorch shares out every operation among its threads, which wait for one another at its end, spinning. With small
//! images and other threads at work, those that read, decide and write, that takes several times as long as the
//! operation itself. Images are independent: a thread that computes some of them waits for nobody, and their features
//! stay in its cache.

use rayon::prelude::*;

/// Pixels of the images that a thread computes together: with more, the features of a layer leave the cache; with fewer,
/// weights are read more often.
const PIXELS: usize = 1 << 15;

/// How many of `count` images of that many pixels make a share: all of them where too many threads would have none.
pub fn share(count: usize, pixels: usize) -> usize {
    share_of(count, pixels, rayon::current_num_threads())
}

fn share_of(count: usize, pixels: usize, threads: usize) -> usize {
    let rounds = count.div_ceil(threads);
    let busy = 5 * count >= 4 * rounds * threads;
    let share = if busy { (PIXELS / pixels.max(1)).min(count / threads) } else { count };
    share.max(1)
}

/// Runs `work` for each item and returns the results in order. A single item has all threads; of several, each has one
/// thread, which may be helped where it uses rayon.
pub fn side_by_side<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    if items.len() < 2 {
        return items.into_iter().map(work).collect();
    }
    // Threads that are new to libtorch take the number that was set last, in whichever thread.
    let _kept = Threads::kept();
    let alone = |item| {
        let _kept = Threads::kept();
        // libtorch then computes in this thread what it asks for.
        #[cfg(feature = "libtorch")]
        tch::set_num_threads(1);
        work(item)
    };
    items.into_par_iter().map(alone).collect()
}

/// The number of libtorch's threads, which is as before once this is dropped.
struct Threads {
    #[cfg(feature = "libtorch")]
    before: i32,
}

impl Threads {
    fn kept() -> Self {
        Self {
            #[cfg(feature = "libtorch")]
            before: tch::get_num_threads(),
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        #[cfg(feature = "libtorch")]
        tch::set_num_threads(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_has_a_share_unless_many_would_have_none() {
        let small = |count, threads| share_of(count, 64 * 64, threads);
        assert_eq!([small(32, 2), small(32, 16), small(4, 2), small(7, 4)], [8, 2, 2, 1]);
        assert_eq!([small(3, 2), small(5, 4), small(1, 16), small(1, 1)], [3, 5, 1, 1]);
        assert_eq!([share_of(32, 256 * 256, 2), share_of(8, 1 << 20, 2), share_of(0, 1, 2)], [1, 1, 1]);
    }

    #[test]
    fn results_come_in_order() {
        assert_eq!(side_by_side((0..100).collect(), |i: usize| 2 * i), (0..200).step_by(2).collect::<Vec<_>>());
        assert_eq!(side_by_side(vec![7], |i| i + 1), [8]);
    }
}
