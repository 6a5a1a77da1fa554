//! The colours that palettes give to label values.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::count::RawLabel;
use crate::image::{RawLabels, Samples, read_image, read_labels};

/// Most files that are read once more for their palettes.
const MAX_FILES: usize = 32;

/// Colours of the values in the palettes of some of the files, those at the given places. Grey palettes say nothing: programs
/// write them where nobody chose a colour.
pub(super) fn colors(files: &[PathBuf], places: impl Iterator<Item = usize>) -> BTreeMap<RawLabel, [u8; 3]> {
    let places: BTreeSet<usize> = places.collect();
    let mut found = BTreeMap::new();
    for path in places.into_iter().take(MAX_FILES).filter_map(|place| files.get(place)) {
        for (label, color) in of_file(path).unwrap_or_default() {
            found.entry(label).or_insert(color);
        }
    }
    if found.values().all(|[r, g, b]| r == g && g == b) { BTreeMap::new() } else { found }
}

/// The colours of the values that a file uses; `None` where it has no palette.
fn of_file(path: &Path) -> Option<BTreeMap<RawLabel, [u8; 3]>> {
    let image = read_image(path).ok().filter(|image| image.bands == 3)?;
    let Samples::U8(samples) = &image.samples else { return None };
    let RawLabels::Values(_, values) = read_labels(path).ok()? else { return None };
    let pixels = values.iter().zip(samples.as_chunks::<3>().0);
    let mut last = None;
    // Most pixels are like the one before.
    let changes = pixels.filter(|(value, _)| last.replace(**value) != Some(**value));
    Some(changes.map(|(value, color)| (RawLabel::Number((*value).into()), *color)).collect())
}
