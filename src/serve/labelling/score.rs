//! How well forests do on labels that they did not learn from.

use serde::Serialize;

use crate::base::Result;
use crate::base::named_enum::classes_that;
use crate::data::Dataset;
use crate::metric::Evaluation;
use crate::report::ClassReport;
use crate::train::forest::{Fitting, Samples};

/// Share of the labelled pixels that is held out one by one.
const HELD_OUT: f64 = 0.05;

/// The held-out scores of a model.
#[derive(Debug, Clone, Default)]
pub(super) struct Score {
    /// On connected regions that were held out, each once.
    pub(super) by_region: Option<Evaluation>,
    /// On single pixels that were held out.
    pub(super) by_pixel: Option<Evaluation>,
    pub(super) done: bool,
    /// Why there is none.
    pub(super) fault: Option<String>,
}

/// Scores as people see them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownScore {
    /// `running` or `done`.
    pub state: &'static str,
    /// On strokes that the forests had not seen: what to expect elsewhere.
    pub by_region: Option<ShownEvaluation>,
    /// On single pixels, whose neighbours were learnt from: too good.
    pub by_pixel: Option<ShownEvaluation>,
    /// What is to be known of them.
    pub note: String,
}

/// One kind of score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownEvaluation {
    /// Mean F1 of the classes that have one.
    pub mean_f1: Option<f64>,
    /// Mean IoU of the classes that have one.
    pub mean_iou: Option<f64>,
    /// Class by class.
    pub classes: Vec<ClassScore>,
}

/// The score of a class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScore {
    /// Its label value.
    pub value: u16,
    /// Its name.
    pub name: String,
    /// F1; none if nothing of it was held out.
    pub f1: Option<f64>,
    /// Intersection over union; none if nothing of it was held out.
    pub iou: Option<f64>,
    /// Connected regions that are labelled so.
    pub regions: usize,
}

impl Score {
    /// By region, then by pixel; `None` if it was given up.
    pub(super) fn of(fitting: &Fitting<'_>, samples: &Samples, seed: u64) -> Result<Option<Self>> {
        let Some(by_region) = fitting.by_region(samples, seed)? else { return Ok(None) };
        let Some(by_pixel) = fitting.by_pixel(samples, HELD_OUT, seed)? else { return Ok(None) };
        Ok(Some(Self { by_region: Some(by_region), by_pixel: Some(by_pixel), done: true, fault: None }))
    }

    /// That of a model that could not be scored.
    pub(super) fn failed(fault: String) -> Self {
        Self { done: true, fault: Some(fault), ..Self::default() }
    }

    /// As people see it.
    pub(super) fn shown(&self, dataset: &Dataset, classes: &[ClassReport]) -> ShownScore {
        let shown = |found: &Evaluation| ShownEvaluation::new(found, dataset, classes);
        ShownScore {
            state: if self.done { "done" } else { "running" },
            by_region: self.by_region.as_ref().map(shown),
            by_pixel: self.by_pixel.as_ref().map(shown),
            note: self
                .fault
                .as_ref()
                .map_or_else(|| note(classes), |fault| format!("the model cannot be scored: {fault}")),
        }
    }
}

impl ShownEvaluation {
    fn new(found: &Evaluation, dataset: &Dataset, reports: &[ClassReport]) -> Self {
        let areas = found.matrix.areas();
        let iou = |class: usize| areas[class].iou().filter(|_| found.f1[class].is_some());
        let class = |(i, report): (usize, &ClassReport)| ClassScore {
            value: dataset.value_of(i as u16),
            name: report.name.clone(),
            f1: found.f1[i],
            iou: iou(i),
            regions: report.regions,
        };
        let known: Vec<f64> = (0..areas.len()).filter_map(iou).collect();
        let mean_iou = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
        Self { mean_f1: found.mean_f1, mean_iou, classes: reports.iter().enumerate().map(class).collect() }
    }
}

/// What classes have too few regions to be scored.
fn note(classes: &[ClassReport]) -> String {
    let alone = classes.iter().filter(|class| class.regions == 1).map(|class| class.name.as_str());
    let absent = classes.iter().filter(|class| class.regions == 0).map(|class| class.name.as_str());
    let alone = classes_that(alone, ["is", "are"]).map(|classes| {
        format!("{classes} labelled in one region only, so not held out by region; label a second place")
    });
    let absent =
        classes_that(absent, ["is", "are"]).map(|classes| format!("{classes} not labelled, so never predicted"));
    alone.into_iter().chain(absent).collect::<Vec<_>>().join(". ")
}
