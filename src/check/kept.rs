//! Label images that were read to propose a data set, kept in memory until they are checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::{Result, Size, locked};
use crate::image::{RawLabels, declares_orientation, read_labels_turned};

/// Maximum number of runs of equal values kept, over all label images: 256 MiB.
const MAX_RUNS: usize = (256 << 20) / size_of::<Run>();
/// Minimum mean run length, in pixels, of a label image to be kept; with shorter runs, it would be as large as its
/// file.
const PIXELS_PER_RUN: usize = 4;

/// A value and the number of consecutive pixels that have it.
type Run = (u16, u32);

/// Run-length encoded label images by path, as many as fit; the others are read again.
#[derive(Debug, Default)]
pub(super) struct KeptLabels {
    found: Mutex<BTreeMap<PathBuf, (Size, Vec<Run>)>>,
    runs: AtomicUsize,
}

impl KeptLabels {
    /// Keeps a label image if there is room for it.
    pub(super) fn keep(&self, path: &Path, labels: &RawLabels) {
        let RawLabels::Values(size, values) = labels else { return };
        let most = values.len() / PIXELS_PER_RUN;
        let with = |runs: usize| Some(runs + most).filter(|runs| *runs <= MAX_RUNS);
        if self.runs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with).is_err() {
            return;
        }
        let mut runs: Vec<Run> =
            values.chunk_by(|a, b| a == b).take(most + 1).map(|run| (run[0], run.len() as u32)).collect();
        runs.shrink_to_fit();
        let mut free = most;
        if runs.len() <= most {
            free -= runs.len();
            let old = locked(&self.found).insert(path.into(), (*size, runs));
            free += old.map_or(0, |(_, runs)| runs.len());
        }
        self.runs.fetch_sub(free, Ordering::Relaxed);
    }

    /// Takes a label image out of memory, or reads it, and tells whether its file declares an orientation.
    pub(super) fn read(&self, path: &Path) -> Result<(RawLabels, bool)> {
        let found = locked(&self.found).remove(path);
        match found {
            None => read_labels_turned(path),
            Some((size, runs)) => {
                self.runs.fetch_sub(runs.len(), Ordering::Relaxed);
                let mut values = Vec::with_capacity(size.width * size.height);
                runs.into_iter().for_each(|(value, length)| values.extend(std::iter::repeat_n(value, length as usize)));
                Ok((RawLabels::Values(size, values), declares_orientation(path)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_again_as_it_was() {
        let (kept, size) = (KeptLabels::default(), Size { width: 8, height: 2 });
        let even = RawLabels::Values(size, [vec![3; 9], vec![7; 7]].concat());
        kept.keep(Path::new("even.png"), &even);
        assert_eq!(kept.read(Path::new("even.png")).unwrap().0, even);
        // Replacing an image frees its runs; rejecting one frees what was reserved for it.
        kept.keep(Path::new("even.png"), &even);
        kept.keep(Path::new("even.png"), &even);
        kept.keep(Path::new("ragged.png"), &RawLabels::Values(size, (0..16).collect()));
        assert_eq!(kept.runs.load(Ordering::Relaxed), 2);
        assert_eq!(kept.read(Path::new("even.png")).unwrap().0, even);
        assert_eq!(kept.runs.load(Ordering::Relaxed), 0);
        // Images with too many runs are not kept, and those kept can be taken out only once.
        kept.keep(Path::new("ragged.png"), &RawLabels::Values(size, (0..16).collect()));
        assert!(kept.read(Path::new("ragged.png")).is_err() && kept.read(Path::new("even.png")).is_err());
    }
}
