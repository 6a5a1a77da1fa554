//! Label maps from label images, masks and predictions.

use std::path::Path;

use super::dataset::Dataset;
use super::pair::{Labels, Pair};
use crate::annotation;
use crate::base::label_map::{IGNORE, LabelMap};
use crate::base::{Error, Result, Size};
use crate::image::{RawLabels, read_labels};

/// The classes of a pair's image, which has that size.
pub fn load_pair_labels(pair: &Pair, size: Size, dataset: &Dataset) -> Result<LabelMap> {
    if let Labels::Annotated { annotations: file, image } = &pair.label {
        let annotations = annotation::open(file)?;
        let shapes = annotations.shapes(annotations.image(image)?, &pair.image, size)?;
        // What no shape covers is of the class called background, or has no label where there is none.
        let background = dataset.background_class().unwrap_or(IGNORE);
        let classes = annotation::draw(&shapes, size, background, |class| dataset.expect_class(class, file))?;
        return Ok(LabelMap { size, classes });
    }
    let mut merged: Option<LabelMap> = None;
    for file in pair.label.files() {
        let labels = load_labels(file, dataset)?;
        check_size((&pair.image, size), (file, labels.size))?;
        merge_masks(&mut merged, labels);
    }
    Ok(merged.unwrap_or_else(|| background(size)))
}

/// Refuses labels that differ in size from their image.
pub fn check_size((image, size): (&Path, Size), (label, label_size): (&Path, Size)) -> Result<()> {
    if label_size == size {
        return Ok(());
    }
    let (first, second) = (image.into(), label.into());
    Err(Error::SizeMismatch { first, first_size: size, second, second_size: label_size })
}

/// Adds a mask to those before it, of the same size.
pub fn merge_masks(merged: &mut Option<LabelMap>, mask: LabelMap) {
    let Some(merged) = merged else {
        *merged = Some(mask);
        return;
    };
    for (class, &other) in merged.classes.iter_mut().zip(&mask.classes) {
        *class = match (*class, other) {
            (IGNORE, other) => other,
            (class, IGNORE) => class,
            (class, other) => class.max(other),
        };
    }
}

/// The labels of an image without masks.
pub fn background(size: Size) -> LabelMap {
    LabelMap { size, classes: vec![0; size.width * size.height] }
}

/// Reads a label image as class indices.
pub fn load_labels(path: &Path, dataset: &Dataset) -> Result<LabelMap> {
    dataset.class_map(path, &read_labels(path)?)
}

/// Reads a prediction as class indices.
pub fn load_prediction(path: &Path, dataset: &Dataset) -> Result<LabelMap> {
    prediction_map(path, &read_labels(path)?, dataset)
}

/// Class indices of a prediction. The advice for a label value that is not defined is to correct the label image; a
/// prediction has other causes.
pub fn prediction_map(path: &Path, raw: &RawLabels, dataset: &Dataset) -> Result<LabelMap> {
    dataset.prediction_class_map(path, raw).map_err(|error| match error {
        Error::LabelValue { path, value, x, y, expected, .. } => Error::content(
            path,
            format!(
                "predicted value {value} at pixel ({x}, {y}) is not in data set '{}' (it defines {expected}); was it \
                 predicted for another data set, or are the lists swapped?",
                dataset.name
            ),
        ),
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_merged_by_maximum_and_a_label_beats_none() {
        let size = Size { width: 5, height: 1 };
        let mut merged = None;
        for classes in [[0, 0, 1, IGNORE, IGNORE], [0, 2, 0, IGNORE, 0], [0, 1, IGNORE, IGNORE, IGNORE]] {
            merge_masks(&mut merged, LabelMap { size, classes: classes.to_vec() });
        }
        assert_eq!(merged.unwrap().classes, [0, 2, 1, IGNORE, 0]);
    }
}
