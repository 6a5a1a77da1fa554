//! How well a forest does on labelled pixels that it did not learn from.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use super::samples::Samples;
use crate::base::Result;
use crate::base::event::{Sink, Stretch, Task};
use crate::data::{REGION_FOLDS as FOLDS, Region, pixel_split, region_folds, region_split};
use crate::metric::{ConfusionMatrix, Evaluation};
use crate::pixels::forest::{self, Fitted, Outcome, Settings, Watch};

/// What forests are fitted with.
pub(crate) struct Fitting<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) classes: usize,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) sink: &'a dyn Sink,
}

impl Fitting<'_> {
    /// A forest of these samples; `None` if it was stopped.
    pub(crate) fn fit(&self, samples: &Samples, what: &'static str) -> Result<Option<Fitted>> {
        self.fit_with(samples, self.settings, what)
    }

    fn fit_with(&self, samples: &Samples, settings: &Settings, what: &'static str) -> Result<Option<Fitted>> {
        let stretch = Stretch::begin(self.sink, Task::Fit(what), settings.trees);
        let progress = |done| stretch.advance_to(done);
        let watch = Watch { progress: &progress, stop: self.stop };
        let outcome = forest::fit(&samples.features()?, &samples.classes, self.classes, settings, watch)?;
        Ok(match outcome {
            Outcome::Finished(fitted) => Some(fitted),
            Outcome::Stopped => None,
        })
    }

    /// For each set of pixels to hold out, learns from the others and counts on these; `None` if it was stopped.
    fn scored(&self, samples: &Samples, sets: impl IntoIterator<Item = Vec<bool>>) -> Result<Option<Evaluation>> {
        let mut matrix = ConfusionMatrix::new(self.classes);
        let settings = Settings { out_of_bag: false, ..self.settings.clone() };
        for held_out in sets.into_iter().filter(|held_out| held_out.contains(&true)) {
            let learnt: Vec<bool> = held_out.iter().map(|held_out| !held_out).collect();
            let Some(fitted) = self.fit_with(&samples.part(&learnt), &settings, "to score")? else { return Ok(None) };
            let others = samples.part(&held_out);
            matrix.add(&others.classes, &fitted.forest.predict(&others.features()?)?);
        }
        Ok(Some(Evaluation::new(matrix)))
    }

    /// Holds a share of the pixels of every class out. Nothing is counted if there is none to hold out.
    pub(crate) fn by_pixel(&self, samples: &Samples, share: f64, seed: u64) -> Result<Option<Evaluation>> {
        self.scored(samples, [pixel_split(&samples.classes, share, seed)?])
    }

    /// Holds every connected region out once, in folds; never the only region of a class.
    pub(crate) fn by_region(&self, samples: &Samples, seed: u64) -> Result<Option<Evaluation>> {
        let (regions, of_samples) = regions(samples);
        let folds = region_folds(&regions, FOLDS, seed)?;
        self.scored(samples, (0..FOLDS).map(|fold| region_split(&of_samples, &folds, fold)))
    }
}

/// The regions that samples are of, with their numbers of samples, and which each sample is of. Not all regions of the
/// images need have samples.
fn regions(samples: &Samples) -> (Vec<Region>, Vec<u32>) {
    let (mut regions, mut numbers): (Vec<Region>, HashMap<u32, u32>) = (Vec::new(), HashMap::new());
    let mut number = |(region, class): (&u32, &u16)| {
        let number = *numbers.entry(*region).or_insert_with(|| {
            regions.push(Region { class: *class, pixels: 0 });
            regions.len() as u32 - 1
        });
        regions[number as usize].pixels += 1;
        number
    };
    let of_samples = samples.regions.iter().zip(&samples.classes).map(&mut number).collect();
    (regions, of_samples)
}
