//! What the images of a data set show, as far as sampling asks.

use serde::{Deserialize, Serialize};

use crate::base::Size;

/// The classes and the shapes of a list of pairs. Kept with a run, so that resuming it need not look at the files
/// again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassPresence {
    /// Of each pair, the classes that it shows, each with its pixels.
    pixels: Vec<Vec<(u16, u64)>>,
    /// Of each pair, width and height.
    sizes: Vec<(usize, usize)>,
}

/// Which images are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    All,
    /// Higher than wide.
    High,
    /// The others.
    Wide,
}

impl ClassPresence {
    /// Adds a pair: its size, and the pixels of every class.
    pub fn push(&mut self, size: Size, class_pixels: &[u64]) {
        let shown = class_pixels.iter().enumerate().filter(|(_, pixels)| **pixels > 0);
        self.pixels.push(shown.map(|(class, pixels)| (class as u16, *pixels)).collect());
        self.sizes.push((size.width, size.height));
    }

    /// Pairs.
    pub fn len(&self) -> usize {
        self.pixels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// The classes that a pair shows, each with its pixels, in ascending order.
    pub fn classes(&self, pair: usize) -> &[(u16, u64)] {
        self.pixels.get(pair).map_or(&[], Vec::as_slice)
    }

    /// Of each of `classes` classes, its pixels, and all labelled pixels of the pairs that show it.
    pub fn frequencies(&self, classes: usize) -> (Vec<u64>, Vec<u64>) {
        let (mut own, mut all) = (vec![0; classes], vec![0; classes]);
        for shown in &self.pixels {
            let labelled: u64 = shown.iter().map(|(_, pixels)| pixels).sum();
            for (class, pixels) in shown {
                own[usize::from(*class)] += pixels;
                all[usize::from(*class)] += labelled;
            }
        }
        (own, all)
    }

    /// Whether an image is higher than wide.
    pub(super) fn is_high(&self, pair: usize) -> bool {
        self.sizes.get(pair).is_some_and(|(width, height)| height > width)
    }

    /// For every class but the first that a group shows, the pairs that show it.
    pub(super) fn pairs_by_class(&self, group: Group) -> Vec<(u16, Vec<usize>)> {
        let mut pairs: std::collections::BTreeMap<u16, Vec<usize>> = std::collections::BTreeMap::new();
        for (pair, shown) in self.pixels.iter().enumerate() {
            if group != Group::All && (group == Group::High) != self.is_high(pair) {
                continue;
            }
            for (class, _) in shown.iter().filter(|(class, _)| *class > 0) {
                pairs.entry(*class).or_default().push(pair);
            }
        }
        pairs.into_iter().collect()
    }
}
