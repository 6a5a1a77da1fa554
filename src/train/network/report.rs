//! The report of a run at any time, also while another process trains it.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::checkpoint::Saved;
use super::evaluate::{Examination, Findings};
use crate::base::event::Sink;
use crate::base::{Error, Result};
use crate::data::{Loader, Pair};
use crate::nn::device::DeviceChoice;
use crate::nn::precision::Precision;
use crate::report::{Gallery, Report, Status};
use crate::run::{NetworkRun, RunLock};
use crate::weights;

/// How often scores are computed again because the training has found better weights.
const TRIES: usize = 3;
/// Threads that read images.
const WORKERS: usize = 2;

/// Counts of the best weights on the validation set, and images to show.
type Scored = (Findings, Gallery);

/// Scores the best weights of a run so far on its validation set and writes the report to `path`.
pub(in crate::train) fn write(run: &NetworkRun, path: &Path, device: DeviceChoice, sink: &dyn Sink) -> Result<()> {
    let samples = run.samples()?;
    let config = &run.config;
    let validation = Arc::new(samples.validation);
    let (Saved { position, rows, .. }, is_held, best) = consistent(run, &validation, device, sink)?;
    let predictions = match &best {
        Some((_, gallery)) => gallery.samples(&validation, &config.dataset)?,
        None => Vec::new(),
    };
    let is_over = position.phase >= config.recipe.training.resolved_phases().len();
    let status = match position.epoch + 1 {
        _ if is_over => Status::Finished,
        epoch if is_held => Status::Running(epoch),
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

/// Where a training stands, and whether a process trains the run.
fn state_of(run: &NetworkRun) -> Result<(Saved, bool)> {
    // First: a process that ends meanwhile has saved its last position before.
    let is_held = RunLock::is_held(run.folder());
    Ok((Saved::peek(run)?, is_held))
}

/// What [`state_of`] says, and the scores of the best weights of that moment: while they are computed, the training may
/// find better ones.
fn consistent(
    run: &NetworkRun,
    validation: &[Pair],
    device: DeviceChoice,
    sink: &dyn Sink,
) -> Result<(Saved, bool, Option<Scored>)> {
    let (mut saved, mut is_held) = state_of(run)?;
    for _ in 0..TRIES {
        if saved.position.best.is_none() || validation.is_empty() {
            return Ok((saved, is_held, None));
        }
        let found = scored(run, validation, device, sink)?;
        let before = saved.position.best;
        (saved, is_held) = state_of(run)?;
        if saved.position.best == before {
            return Ok((saved, is_held, Some(found)));
        }
    }
    let reason = "found better weights each time the report scored the best ones; try again when it is finished";
    Err(Error::failed("write the report of a run that is training", reason))
}

/// Predicts the validation set with the best weights.
fn scored(run: &NetworkRun, validation: &[Pair], device: DeviceChoice, sink: &dyn Sink) -> Result<Scored> {
    let config = &run.config;
    let (recipe, dataset) = (&config.recipe, Arc::new(config.dataset.clone()));
    // Weights that were trained in another precision are float32 all the same.
    let trained_in = recipe.training.precision;
    let precision = if device.supports(trained_in).is_ok() { trained_in } else { Precision::Float32 };
    let device = device.open_for(precision)?;
    let network = weights::load(recipe.network.hollow(&device)?, &run.weights_path())?;
    let loader = Loader::new(validation.to_vec(), dataset, recipe.training.batch_size, WORKERS);
    let mut gallery = Gallery::new(validation.len(), config.dataset.class_count());
    let rule = recipe.rule();
    let examination = Examination { loader: &loader, rule, precision, device: &device, loss: None, group: None };
    let mut on_image = |index, labels: &_, prediction: &_| gallery.add(index, labels, prediction);
    let findings = examination.run(&network, (0..validation.len()).collect(), &|| false, sink, &mut on_image)?;
    Ok((findings.expect("nothing stops it"), gallery))
}
