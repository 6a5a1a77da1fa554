//! A forest that can be asked, and what it says of a part of an image.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use rayon::prelude::*;
use serde::Serialize;

use super::features::FeatureStore;
use super::patch::Rect;
use super::score::Score;
use crate::base::{Result, locked};
use crate::data::Dataset;
use crate::pixels::forest::Forest;
use crate::pixels::hypercolumn::{Window, WindowFeatures};
use crate::predict::forest::{Decided, blocks, decide};
use crate::predict::merge::Wanted;
use crate::report::ClassReport;
use crate::train::forest::Samples;

/// A forest that learnt from the labels.
pub(super) struct Trained {
    pub(super) summary: Summary,
    pub(super) forest: Forest,
    pub(super) dataset: Dataset,
    pub(super) samples: Samples,
    pub(super) classes: Vec<ClassReport>,
    pub(super) began: SystemTime,
    pub(super) feature_seconds: f64,
    pub(super) fit_seconds: f64,
    /// Known some time later than the rest.
    pub(super) score: Mutex<Score>,
}

/// What people are told of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Counts up from 1.
    pub number: u64,
    /// How long the training took.
    pub seconds: f64,
    /// Images that it learnt from.
    pub images: Vec<usize>,
    /// Labelled pixels.
    pub labelled: usize,
}

/// Classes of a part of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartPrediction {
    /// The label value of every pixel, row by row; 0 where there is no data.
    pub values: Vec<u8>,
    /// How uncertain every pixel is: 255 where the two most probable classes are equally probable, 0 where one is certain.
    pub uncertainty: Vec<u8>,
}

impl Trained {
    pub(super) fn score(&self) -> Score {
        locked(&self.score).clone()
    }

    pub(super) fn set_score(&self, score: Score) {
        *locked(&self.score) = score;
    }

    /// The classes of a rectangle of an image, which must lie in it.
    pub(super) fn predict(&self, store: &FeatureStore, image: usize, rect: &Rect) -> Result<PartPrediction> {
        let mut found = PartPrediction { values: vec![0; rect.pixels()], uncertainty: vec![0; rect.pixels()] };
        for (i, window) in store.windows(image)?.iter().enumerate() {
            let Some(part) = rect.common(&of_window(window)) else { continue };
            let seen = store.window((image, i))?;
            self.fill(&seen, &part, rect, &mut found)?;
        }
        if let Some(empty) = &store.masks(image)?.without_data {
            let width = store.width(image);
            for (place, _) in rect.places().enumerate().filter(|(_, (x, y))| empty[y * width + x]) {
                (found.values[place], found.uncertainty[place]) = (0, 0);
            }
        }
        Ok(found)
    }

    /// Predicts a part of a window.
    fn fill(&self, seen: &Arc<WindowFeatures>, part: &Rect, rect: &Rect, found: &mut PartPrediction) -> Result<()> {
        let window = Window { rows: part.y..part.y + part.height, columns: part.x..part.x + part.width };
        let wanted = Wanted { highest: true, all: true };
        let decided: Vec<(Window, Decided)> = blocks(&window)
            .into_par_iter()
            .map(|block| decide(&self.forest, seen, &block, wanted).map(|decided| (block, decided)))
            .collect::<Result<_>>()?;
        let count = self.dataset.class_count();
        for (block, Decided { classes, probabilities }) in decided {
            let places = block.rows.flat_map(|y| block.columns.clone().map(move |x| (x, y)));
            for ((class, own), (x, y)) in classes.iter().zip(probabilities.chunks_exact(count)).zip(places) {
                let place = rect.place(x, y);
                found.values[place] = u8::try_from(self.dataset.value_of(*class)).unwrap_or(0);
                found.uncertainty[place] = (255.0 * uncertainty(own)).round() as u8;
            }
        }
        Ok(())
    }
}

fn of_window(window: &Window) -> Rect {
    Rect { x: window.columns.start, y: window.rows.start, width: window.columns.len(), height: window.rows.len() }
}

/// 1 less the distance of the two greatest probabilities.
pub(super) fn uncertainty(probabilities: &[f32]) -> f32 {
    let (mut first, mut second) = (0.0f32, 0.0f32);
    for &probability in probabilities {
        if probability > first {
            (first, second) = (probability, first);
        } else {
            second = second.max(probability);
        }
    }
    (1.0 - (first - second)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_classes_that_are_equally_probable_are_least_certain() {
        assert_eq!(uncertainty(&[0.5, 0.0, 0.5]), 1.0);
        assert_eq!(uncertainty(&[0.0, 1.0]), 0.0);
        assert!((uncertainty(&[0.2, 0.7, 0.1]) - 0.5).abs() < 1e-6);
    }
}
