//! The report of a run at any time, also while another process trains it.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::checkpoint::Saved;
use super::evaluate::{Examination, Findings};
use crate::base::Result;
use crate::base::event::Sink;
use crate::data::{Loader, Pair};
use crate::nn::device::DeviceChoice;
use crate::nn::model::identify;
use crate::report::{Gallery, Report, Status};
use crate::run::{NetworkRun, RunLock};
use crate::weights;

/// Threads that read images.
const WORKERS: usize = 2;

/// Scores the best weights of a run so far on its validation set and writes the report to `path`.
pub(in crate::train) fn write(run: &NetworkRun, path: &Path, device: DeviceChoice, sink: &dyn Sink) -> Result<()> {
    let Saved { position, rows, .. } = Saved::peek(run)?;
    let samples = run.samples()?;
    let config = &run.config;
    let validation = Arc::new(samples.validation);
    let best = match position.best {
        Some(_) if !validation.is_empty() => Some(scored(run, &validation, device, sink)?),
        _ => None,
    };
    let predictions = match &best {
        Some((_, gallery)) => gallery.samples(&validation, &config.dataset)?,
        None => Vec::new(),
    };
    let is_over = position.phase >= config.recipe.training.resolved_phases().len();
    let status = match position.epoch + 1 {
        _ if is_over => Status::Finished,
        epoch if RunLock::is_held(run.folder()) => Status::Running(epoch),
        epoch => Status::Stopped(epoch),
    };
    let report = Report {
        config,
        rows: &rows,
        best_epoch: position.best.map(|best| best.epoch),
        matrix: best.as_ref().map(|(findings, _)| &findings.matrix),
        samples: &predictions,
        images: (samples.train.len(), validation.len()),
        status,
        written: SystemTime::now(),
    };
    report.write(path)
}

/// Counts of the best weights on the validation set, and images to show.
fn scored(run: &NetworkRun, validation: &[Pair], device: DeviceChoice, sink: &dyn Sink) -> Result<(Findings, Gallery)> {
    let config = &run.config;
    let (recipe, dataset) = (&config.recipe, Arc::new(config.dataset.clone()));
    let precision = recipe.training.precision;
    let device = device.open_for(precision)?;
    let network = weights::load(identify(recipe.network.init(config.seed, &device)?), &run.weights_path())?;
    let loader = Loader::new(validation.to_vec(), dataset, recipe.training.batch_size, WORKERS);
    let mut gallery = Gallery::new(validation.len(), config.dataset.class_count());
    let examination = Examination { loader: &loader, rule: recipe.rule(), precision, device: &device, loss: None };
    let mut on_image = |index, labels: &_, prediction: &_| gallery.add(index, labels, prediction);
    let findings = examination.run(&network, &|| false, sink, &mut on_image)?;
    Ok((findings.expect("nothing stops it"), gallery))
}
