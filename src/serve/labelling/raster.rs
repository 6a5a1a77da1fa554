//! The labels of one image in memory, and who changed which pixels when.

use std::collections::VecDeque;
use std::sync::Arc;

use super::patch::{KEEP, Patch, Rect};
use crate::base::Size;

/// Changes that are remembered of an image: beyond them a page is told to look again.
const REMEMBERED: usize = 4096;
/// Bytes that their pixels may take.
const REMEMBERED_BYTES: usize = 32 << 20;
/// Rectangles of a conflict that are named.
const NAMED: usize = 64;

/// The labels of an image.
#[derive(Debug, Clone)]
pub(super) struct Raster {
    pub(super) size: Size,
    /// A value a pixel, row by row; nothing is labelled if left out.
    pub(super) values: Option<Arc<Vec<u8>>>,
    pub(super) labelled: usize,
    pub(super) revision: u64,
    /// What was changed since `known_since`.
    changes: VecDeque<Change>,
    known_since: u64,
    bytes: usize,
}

/// Pixels that got another value at a time.
#[derive(Debug, Clone)]
struct Change {
    revision: u64,
    tab: Arc<str>,
    rect: Rect,
    /// A bit a pixel of the rectangle.
    mask: Vec<u64>,
}

impl Change {
    fn has(&self, place: usize) -> bool {
        self.mask[place / 64] >> (place % 64) & 1 == 1
    }
}

/// Labels after a change that is not in force yet.
pub(super) struct Changed {
    values: Vec<u8>,
    labelled: usize,
    changes: Vec<(Rect, Vec<u64>)>,
}

impl Changed {
    pub(super) fn values(&self) -> &[u8] {
        &self.values
    }

    /// Whether any pixel differs from before.
    pub(super) fn is_some(&self) -> bool {
        !self.changes.is_empty()
    }
}

impl Raster {
    /// Labels as they are on disk; revisions count up from `revision`.
    pub(super) fn new(size: Size, values: Option<Vec<u8>>, revision: u64) -> Self {
        let labelled = values.iter().flatten().filter(|value| **value != 0).count();
        let values = values.filter(|_| labelled > 0).map(Arc::new);
        Self { size, values, labelled, revision, changes: VecDeque::new(), known_since: revision, bytes: 0 }
    }

    /// The labels, all of them 0 where there are none.
    pub(super) fn to_values(&self) -> Arc<Vec<u8>> {
        self.values.clone().unwrap_or_else(|| Arc::new(vec![0; self.size.width * self.size.height]))
    }

    fn at(&self, x: usize, y: usize) -> u8 {
        self.values.as_ref().map_or(0, |values| values[y * self.size.width + x])
    }

    /// Where patches that were drawn on what was there at revision `base` would overwrite what somebody other than `tab` has
    /// changed since. Of changes that are no longer remembered, or were made before the program began, nothing is known: there
    /// every label that would be overwritten counts.
    pub(super) fn conflicts(&self, patches: &[Patch], base: u64, tab: &str) -> Vec<Rect> {
        let mut found: Vec<Rect> = patches.iter().filter_map(|patch| self.conflict(patch, base, tab)).collect();
        found.truncate(NAMED);
        found
    }

    fn conflict(&self, patch: &Patch, base: u64, tab: &str) -> Option<Rect> {
        let since: Vec<&Change> = self
            .changes
            .iter()
            .rev()
            .take_while(|change| change.revision > base)
            .filter(|change| change.rect.common(&patch.rect).is_some())
            .collect();
        let mut bounds: Option<[usize; 4]> = None;
        for ((x, y), &value) in patch.rect.places().zip(&patch.values) {
            let there = self.at(x, y);
            if value == KEEP || value == there {
                continue;
            }
            let inside =
                |rect: &Rect| (rect.x..rect.x + rect.width).contains(&x) && (rect.y..rect.y + rect.height).contains(&y);
            let last = since.iter().find(|change| inside(&change.rect) && change.has(change.rect.place(x, y)));
            let is_foreign = match last {
                Some(change) => &*change.tab != tab,
                None => base < self.known_since && there != 0,
            };
            if is_foreign {
                let [left, top, right, bottom] = bounds.unwrap_or([x, y, x, y]);
                bounds = Some([left.min(x), top.min(y), right.max(x), bottom.max(y)]);
            }
        }
        bounds.map(|[x, y, right, bottom]| Rect { x, y, width: right - x + 1, height: bottom - y + 1 })
    }

    /// What patches would make of the labels, one after the other.
    pub(super) fn patched(&self, patches: &[Patch]) -> Changed {
        let mut values = self.to_values().to_vec();
        let (mut labelled, mut changes) = (self.labelled, Vec::new());
        for patch in patches {
            let mut mask = vec![0u64; patch.rect.pixels().div_ceil(64)];
            let mut any = false;
            for (place, ((x, y), &value)) in patch.rect.places().zip(&patch.values).enumerate() {
                let there = &mut values[y * self.size.width + x];
                if value == KEEP || value == *there {
                    continue;
                }
                labelled = labelled + usize::from(value != 0) - usize::from(*there != 0);
                *there = value;
                mask[place / 64] |= 1 << (place % 64);
                any = true;
            }
            if any {
                changes.push((patch.rect, mask));
            }
        }
        Changed { values, labelled, changes }
    }

    /// The labels without the pixels of dropped classes.
    pub(super) fn without(&self, dropped: &dyn Fn(u8) -> bool) -> Changed {
        let rect = Rect::whole(self.size);
        let values: Vec<u8> = self.to_values().iter().map(|&v| if v != 0 && dropped(v) { 0 } else { KEEP }).collect();
        self.patched(&[Patch { rect, values }])
    }

    /// Puts a change in force; the revision that it makes.
    pub(super) fn commit(&mut self, changed: Changed, tab: &str) -> u64 {
        self.revision += 1;
        self.labelled = changed.labelled;
        self.values = (changed.labelled > 0).then(|| Arc::new(changed.values));
        let (revision, tab) = (self.revision, Arc::<str>::from(tab));
        for (rect, mask) in changed.changes {
            self.bytes += 8 * mask.len();
            self.changes.push_back(Change { revision, tab: Arc::clone(&tab), rect, mask });
        }
        while self.changes.len() > REMEMBERED || self.bytes > REMEMBERED_BYTES {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= 8 * oldest.mask.len();
            self.known_since = oldest.revision;
        }
        revision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 10, height: 4 };

    fn patch(x: usize, y: usize, width: usize, value: u8) -> Patch {
        Patch { rect: Rect { x, y, width, height: 1 }, values: vec![value; width] }
    }

    fn painted(raster: &mut Raster, patch: Patch, tab: &str) -> u64 {
        let changed = raster.patched(&[patch]);
        raster.commit(changed, tab)
    }

    #[test]
    fn others_pixels_merge_and_the_same_ones_conflict() {
        let mut raster = Raster::new(SIZE, None, 100);
        assert_eq!(painted(&mut raster, patch(0, 0, 5, 1), "a"), 101);
        assert!(raster.conflicts(&[patch(5, 0, 5, 2)], 100, "b").is_empty(), "beside it");
        assert!(raster.conflicts(&[patch(0, 0, 5, 1)], 100, "b").is_empty(), "the same value");
        assert!(raster.conflicts(&[patch(0, 0, 5, 2)], 100, "a").is_empty(), "its own pixels");
        assert!(raster.conflicts(&[patch(0, 0, 5, 2)], 101, "b").is_empty(), "seen before");
        let found = raster.conflicts(&[patch(3, 0, 5, 2), patch(0, 1, 2, 2)], 100, "b");
        assert_eq!(found, [Rect { x: 3, y: 0, width: 2, height: 1 }]);
        // Who changed a pixel last counts.
        painted(&mut raster, patch(0, 0, 5, 2), "b");
        assert!(raster.conflicts(&[patch(0, 0, 5, 3)], 100, "b").is_empty());
        assert_eq!(raster.conflicts(&[patch(0, 0, 5, 3)], 101, "a").len(), 1);
        assert_eq!(raster.labelled, 5);
    }

    #[test]
    fn what_was_there_before_the_program_began_is_not_overwritten_by_an_older_page() {
        let mut values = vec![0; 40];
        values[3] = 7;
        let raster = Raster::new(SIZE, Some(values), 100);
        assert_eq!(raster.conflicts(&[patch(0, 0, 10, 2)], 9, "a"), [Rect { x: 3, y: 0, width: 1, height: 1 }]);
        assert!(raster.conflicts(&[patch(4, 0, 6, 2)], 9, "a").is_empty(), "not labelled so far");
        assert!(raster.conflicts(&[patch(0, 0, 10, 2)], 100, "a").is_empty());
    }

    #[test]
    fn old_changes_are_forgotten_and_then_count_as_foreign() {
        let mut raster = Raster::new(SIZE, None, 0);
        for turn in 0..REMEMBERED + 10 {
            painted(&mut raster, patch(turn % 9, 0, 1, 1 + (turn / 9 % 2) as u8), "a");
        }
        assert_eq!((raster.changes.len(), raster.known_since), (REMEMBERED, 10));
        assert_eq!(raster.conflicts(&[patch(0, 0, 9, 9)], 5, "b").len(), 1);
    }

    #[test]
    fn values_that_stay_and_classes_that_go() {
        let mut raster = Raster::new(SIZE, None, 0);
        painted(&mut raster, patch(0, 0, 6, 1), "a");
        painted(&mut raster, Patch { values: vec![2, KEEP, 0], ..patch(0, 0, 3, 0) }, "a");
        assert_eq!((raster.to_values()[..7].to_vec(), raster.labelled), (vec![2, 1, 0, 1, 1, 1, 0], 5));
        let gone = raster.without(&|value| value == 1);
        raster.commit(gone, "a");
        assert_eq!((raster.to_values()[..7].to_vec(), raster.labelled), (vec![2, 0, 0, 0, 0, 0, 0], 1));
        assert!(!raster.without(&|value| value == 1).is_some());
    }
}
