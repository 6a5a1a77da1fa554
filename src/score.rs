//! Predictions on disk scored against label images on disk.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::data::{Descriptor, Pair, load_labels};
use crate::error::{Error, Result};
use crate::event::{Event, Sink, Task};
use crate::metric::ConfusionMatrix;

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// The pixels.
    pub matrix: ConfusionMatrix,
    /// Pairs counted.
    pub images: usize,
    /// Pairs left out because a file could not be used.
    pub skipped: usize,
}

/// Counts all pairs (`image` is the prediction) on all cores. A pair that cannot be used is reported and left out.
pub fn score_files(pairs: &[Pair], descriptor: &Descriptor, sink: &dyn Sink) -> Tally {
    let empty = || Tally { matrix: ConfusionMatrix::new(descriptor.class_count()), images: 0, skipped: 0 };
    sink.event(Event::Started { task: Task::Score, total: pairs.len(), done: 0 });
    let done = AtomicUsize::new(0);
    let count = |mut tally: Tally, pair: &Pair| {
        match add_pair(&mut tally.matrix, &pair.image, &pair.label, descriptor) {
            Ok(()) => tally.images += 1,
            Err(e) => {
                tally.skipped += 1;
                sink.event(Event::Skipped { path: pair.image.clone(), reason: e.to_string() });
            }
        }
        sink.event(Event::Advanced { done: done.fetch_add(1, Ordering::Relaxed) + 1, loss: None });
        tally
    };
    let merge = |mut a: Tally, b: Tally| {
        a.matrix.merge(&b.matrix);
        Tally { images: a.images + b.images, skipped: a.skipped + b.skipped, ..a }
    };
    let tally = pairs.par_iter().fold(empty, count).reduce(empty, merge);
    sink.event(Event::Finished);
    tally
}

/// The advice for a label value that is not defined is to correct the label image; a prediction has other causes.
fn as_prediction(error: Error, descriptor: &Descriptor) -> Error {
    match error {
        Error::LabelValue { path, value, x, y, expected, .. } => Error::content(
            path,
            format!(
                "predicted value {value} at pixel ({x}, {y}) is not in data set '{}' (it defines {expected}); was it \
                 predicted for another data set, or are the lists exchanged?",
                descriptor.name
            ),
        ),
        other => other,
    }
}

fn add_pair(matrix: &mut ConfusionMatrix, prediction: &Path, label: &Path, descriptor: &Descriptor) -> Result<()> {
    let predicted = load_labels(prediction, descriptor).map_err(|e| as_prediction(e, descriptor))?;
    let labelled = load_labels(label, descriptor)?;
    if predicted.size != labelled.size {
        return Err(Error::SizeMismatch {
            first: prediction.into(),
            first_size: predicted.size,
            second: label.into(),
            second_size: labelled.size,
        });
    }
    matrix.add(&labelled.classes, &predicted.classes);
    Ok(())
}
