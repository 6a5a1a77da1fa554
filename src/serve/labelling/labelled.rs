//! Labelled pixels of images, and their features.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::features::FeatureStore;
use crate::base::label_map::{IGNORE, LabelMap};
use crate::base::{Result, Size};
use crate::data::{NO_REGION, Region, Regions};
use crate::pixels::hypercolumn::Window;
use crate::train::forest::{Samples, chosen_for};

/// The labelled pixels of an image as they were at a time.
#[derive(Debug)]
pub(super) struct LabelledPixels {
    /// Revisions of labels and classes.
    revisions: [u64; 2],
    width: usize,
    /// Places in the image, row by row, ascending.
    places: Vec<u32>,
    classes: Vec<u16>,
    regions: Vec<u32>,
    all_regions: Vec<Region>,
}

impl LabelledPixels {
    /// Of labels that have a class index by value; pixels that carry no measurement do not count.
    fn of(
        size: Size,
        values: &[u8],
        class_of: &[u16; 256],
        unmeasured: Option<&Vec<bool>>,
        revisions: [u64; 2],
    ) -> Self {
        let classes = values.iter().map(|value| class_of[usize::from(*value)]).collect();
        let mut map = LabelMap { size, classes };
        unmeasured.into_iter().for_each(|unmeasured| map.leave_out(unmeasured));
        let Regions { numbers, regions: all_regions } = Regions::of(&map);
        let labelled = || numbers.iter().zip(&map.classes).enumerate().filter(|(_, (number, _))| **number != NO_REGION);
        Self {
            revisions,
            width: size.width,
            places: labelled().map(|(place, _)| place as u32).collect(),
            classes: labelled().map(|(_, (_, class))| *class).collect(),
            regions: labelled().map(|(_, (number, _))| *number).collect(),
            all_regions,
        }
    }
}

/// Labels of an image at a time.
pub(super) struct Snapshot {
    pub(super) image: usize,
    pub(super) size: Size,
    pub(super) values: Arc<Vec<u8>>,
    /// Revisions of labels and classes.
    pub(super) revisions: [u64; 2],
}

/// Features of pixels that were learnt from, by image and window: those of a few more pixels are added to them.
#[derive(Debug, Default)]
pub(super) struct Picked {
    labelled: HashMap<usize, Arc<LabelledPixels>>,
    windows: HashMap<(usize, usize), Picks>,
}

/// Features of some pixels of a window.
#[derive(Debug, Default)]
struct Picks {
    /// Ascending.
    places: Vec<u32>,
    /// `[pixels, features]`.
    values: Vec<f32>,
}

/// All that is labelled.
pub(super) struct AllLabelled {
    images: Vec<(usize, Arc<LabelledPixels>)>,
    pub(super) total: usize,
    pub(super) regions: Vec<Region>,
    /// Which of the pixels are learnt from; all if left out.
    chosen: Option<Vec<bool>>,
}

impl AllLabelled {
    /// Images with a labelled pixel.
    pub(super) fn images(&self) -> Vec<usize> {
        self.images.iter().map(|(image, _)| *image).collect()
    }

    /// Labelled pixels of a class.
    pub(super) fn pixels_of(&self, class: usize) -> usize {
        self.regions.iter().filter(|region| usize::from(region.class) == class).map(|region| region.pixels).sum()
    }

    /// Regions of a class.
    pub(super) fn regions_of(&self, class: usize) -> usize {
        self.regions.iter().filter(|region| usize::from(region.class) == class).count()
    }
}

/// A window with pixels to learn from.
struct Part {
    key: (usize, usize),
    width: usize,
    /// Their places in the image, ascending, and among all samples.
    pixels: Vec<(u32, usize)>,
}

impl Picked {
    /// The labelled pixels of images, and which are learnt from where they are more than `most`.
    pub(super) fn labelled(
        &mut self,
        snapshots: &[Snapshot],
        class_of: &[u16; 256],
        store: &FeatureStore,
        (most, seed): (usize, u64),
    ) -> Result<AllLabelled> {
        let mut all = AllLabelled { images: Vec::new(), total: 0, regions: Vec::new(), chosen: None };
        for Snapshot { image, size, values, revisions } in snapshots {
            let known = self.labelled.get(image).filter(|known| known.revisions == *revisions).cloned();
            let pixels = match known {
                Some(known) => known,
                None => {
                    let unmeasured = store.masks(*image)?.unmeasured.as_ref();
                    let new = LabelledPixels::of(*size, values, class_of, unmeasured, *revisions);
                    let new = Arc::new(new);
                    self.labelled.insert(*image, Arc::clone(&new));
                    new
                }
            };
            if !pixels.places.is_empty() {
                all.total += pixels.places.len();
                all.regions.extend(&pixels.all_regions);
                all.images.push((*image, pixels));
            }
        }
        let classes: Vec<u16> = all.images.iter().flat_map(|(_, pixels)| pixels.classes.iter().copied()).collect();
        all.chosen = chosen_for(&classes, most, seed)?;
        Ok(all)
    }

    /// The features of labelled pixels; `None` once `stopped` says so. `progress` is told of windows: done, and of how many.
    pub(super) fn samples(
        &mut self,
        all: &AllLabelled,
        store: &FeatureStore,
        stopped: &dyn Fn() -> bool,
        progress: &dyn Fn(usize, usize),
    ) -> Result<Option<Samples>> {
        let (parts, classes, regions) = parts(all, store)?;
        let (features, count) = (store.features(), classes.len());
        let mut planes = vec![0.0; features * count];
        for (done, part) in parts.iter().enumerate() {
            if stopped() {
                return Ok(None);
            }
            progress(done, parts.len());
            let picks = self.windows.remove(&part.key).unwrap_or_default().with(part, store)?;
            picks.lay_out(part, features, &mut planes, count);
            self.windows.insert(part.key, picks);
        }
        progress(parts.len(), parts.len());
        // Features of pixels that are no longer learnt from go.
        let needed: HashSet<_> = parts.iter().map(|part| part.key).collect();
        self.windows.retain(|key, _| needed.contains(key));
        Ok(Some(Samples::new(planes, features, classes, regions)))
    }
}

/// Windows with their pixels to learn from, and classes and regions of all samples.
#[allow(clippy::type_complexity)] // three lists
fn parts(all: &AllLabelled, store: &FeatureStore) -> Result<(Vec<Part>, Vec<u16>, Vec<u32>)> {
    let (mut parts, mut classes, mut regions) = (Vec::new(), Vec::new(), Vec::new());
    let mut chosen = all.chosen.as_deref().unwrap_or_default().iter();
    let mut first = 0;
    for (image, pixels) in &all.images {
        let windows = store.windows(*image)?;
        let mut own: Vec<Part> = (0..windows.len())
            .map(|window| Part { key: (*image, window), width: pixels.width, pixels: Vec::new() })
            .collect();
        for (i, &place) in pixels.places.iter().enumerate() {
            if all.chosen.is_some() && !chosen.next().copied().unwrap_or(true) {
                continue;
            }
            let [row, column] = [place as usize / pixels.width, place as usize % pixels.width];
            let has_it = |window: &Window| window.rows.contains(&row) && window.columns.contains(&column);
            if let Some(window) = windows.iter().position(has_it) {
                own[window].pixels.push((place, classes.len()));
                classes.push(pixels.classes[i]);
                regions.push(first + pixels.regions[i]);
            }
        }
        first += pixels.all_regions.len() as u32;
        parts.extend(own.into_iter().filter(|part| !part.pixels.is_empty()));
    }
    Ok((parts, classes, regions))
}

impl Picks {
    /// The same for other pixels of the window: of those that are known already, features are taken over.
    fn with(self, part: &Part, store: &FeatureStore) -> Result<Self> {
        let features = store.features();
        let known: Vec<Option<usize>> =
            part.pixels.iter().map(|(place, _)| self.places.binary_search(place).ok()).collect();
        let missing: Vec<u32> =
            part.pixels.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|((place, _), _)| *place).collect();
        let count = missing.len();
        let mut planes = vec![0.0; features * count];
        if count > 0 {
            let at = |(i, place): (usize, &u32)| ([*place as usize / part.width, *place as usize % part.width], i);
            let pixels: Vec<_> = missing.iter().enumerate().map(at).collect();
            store.window(part.key)?.pick(&pixels, &mut planes, count);
        }
        let mut values = Vec::with_capacity(features * part.pixels.len());
        let mut new = 0..count;
        for known in known {
            match known {
                Some(at) => values.extend_from_slice(&self.values[at * features..][..features]),
                None => {
                    let at = new.next().unwrap_or(0);
                    values.extend((0..features).map(|feature| planes[feature * count + at]));
                }
            }
        }
        Ok(Self { places: part.pixels.iter().map(|(place, _)| *place).collect(), values })
    }

    /// Writes the features to their places among all, `[features, count]`.
    fn lay_out(&self, part: &Part, features: usize, planes: &mut [f32], count: usize) {
        planes.par_chunks_exact_mut(count).enumerate().for_each(|(feature, plane)| {
            for (pixel, (_, sample)) in part.pixels.iter().enumerate() {
                plane[*sample] = self.values[pixel * features + feature];
            }
        });
    }
}

/// The class index of every label value; [`IGNORE`] of those that have none.
pub(super) fn class_of(values: impl Iterator<Item = u8>) -> [u16; 256] {
    let mut found = [IGNORE; 256];
    values.enumerate().for_each(|(class, value)| found[usize::from(value)] = class as u16);
    found
}
