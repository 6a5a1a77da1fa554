//! Images and label images given in each other's place.

use std::path::Path;

use super::dataset::Dataset;
use super::pair::{Labels, Pair};
use crate::base::{Error, Result};
use crate::image::{RawLabels, read_image, read_labels};

/// This many undefined values a photograph has at least; a label image of another data set may have a few.
const UNDEFINED: usize = 4;

/// Refuses pairs whose images are label images of the data set, and whose label images are none. A few pairs are read, before
/// all are: one line tells more than a list of faults of every file. `fields` is what to exchange.
pub fn refuse_exchanged(pairs: &[Pair], dataset: &Dataset, fields: &str) -> Result<()> {
    let chosen = [0, pairs.len() / 2, pairs.len().saturating_sub(1)];
    let mut chosen: Vec<&Pair> = chosen.into_iter().filter_map(|i| pairs.get(i)).collect();
    chosen.dedup();
    let mut varied = false;
    let mut exchanged = |pair: &&Pair| {
        // Annotations are no images.
        if matches!(pair.label, Labels::Annotated { .. }) {
            return false;
        }
        let labels = pair.label.files();
        // Labels that are none but those of the data set.
        let shown = read_labels(&pair.image).ok().filter(|labels| undefined(labels, dataset) == 0);
        varied |= shown.as_ref().is_some_and(varies);
        shown.is_some() && !labels.is_empty() && labels.iter().all(|label| shows_no_classes(label, dataset))
    };
    match chosen.first() {
        Some(first) if chosen.iter().all(&mut exchanged) && varied => {
            let label = first.label.files().first().map_or(first.label.name(), |file| file.as_path());
            let reason = format!(
                "seem to be swapped: the first, given as an image, holds only label values of data \
                 set '{}', while the second, given as its label image, holds other values; swap {fields}",
                dataset.name
            );
            Err(Error::pair(&first.image, label, reason))
        }
        _ => Ok(()),
    }
}

/// Whether a file is an image, and no label image of the data set.
fn shows_no_classes(path: &Path, dataset: &Dataset) -> bool {
    match read_labels(path) {
        Ok(labels) => undefined(&labels, dataset) >= UNDEFINED,
        // A JPEG, for instance.
        Err(_) => read_image(path).is_ok(),
    }
}

/// How many values or colours the data set does not list, up to a few; those that it lets pass are among them.
fn undefined(labels: &RawLabels, dataset: &Dataset) -> usize {
    let RawLabels::Values(_, values) = labels else { return dataset.label_faults(labels, 0).1 };
    let mut known = dataset.listed_values();
    values.iter().filter(|value| known.insert(**value)).take(UNDEFINED).count()
}

/// Whether there are two values or more: an image that is black all over says nothing.
fn varies(labels: &RawLabels) -> bool {
    match labels {
        RawLabels::Values(_, values) => values.iter().any(|value| *value != values[0]),
        RawLabels::Colors(_, colors) => colors.iter().any(|color| *color != colors[0]),
        RawLabels::Numbers(labels) => labels.values.iter().any(|value| *value != labels.values[0]),
    }
}
