//! The training loop.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::Device;

use super::checkpoint::{self, Position};
use super::{Initial, Plan, Row, curves, log};
use crate::data::{Batch, Loader, Pair};
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::evaluate::{evaluate, input_tensor, target};
use crate::event::{EpochReport, Event, Sink, Task, Validation};
use crate::metric::{AbsentClass, Scores};
use crate::model::{Network, identify};
use crate::run::{Run, RunConfig, Samples};
use crate::step::{Learner, build_optimizer};
use crate::weights;

/// How a training ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All epochs are done.
    Finished {
        /// Best validation mean IoU, where there is validation.
        best: Option<f64>,
    },
    /// It was asked to stop; `last/` is saved.
    Stopped(Position),
}

/// What a training needs beside its plan.
pub struct Session<'a> {
    /// Where to compute.
    pub device: DeviceChoice,
    /// Threads that prepare batches.
    pub workers: usize,
    /// Set from outside to stop after the current step.
    pub stop: &'a AtomicBool,
    /// Who is told.
    pub sink: &'a dyn Sink,
}

/// Trains from the beginning into `folder`, with random initial weights.
pub fn start(plan: Plan, folder: &Path, session: &Session<'_>) -> Result<Outcome> {
    start_with(plan, None, folder, session)
}

/// Trains from the beginning into `folder`. The plan's recipe and data set have been made to fit the initial weights, if
/// there are any, with [`Initial::fit`].
pub fn start_with(plan: Plan, initial: Option<&Initial>, folder: &Path, session: &Session<'_>) -> Result<Outcome> {
    let device = session.device.open_for(plan.recipe.training.precision)?;
    let mut network = plan.recipe.network.init(plan.seed, &device)?;
    if let Some(initial) = initial {
        let report;
        (network, report) = initial.weights.load(network, initial.new_head)?;
        session.sink.event(Event::Note(report.to_string()));
    }
    let samples = Samples { train: plan.train, validation: plan.validation };
    let config = RunConfig {
        version: env!("CARGO_PKG_VERSION").into(),
        seed: plan.seed,
        device: session.device.resolve()?.to_string(),
        weights: initial.map(Initial::files).unwrap_or_default(),
        recipe: plan.recipe,
        dataset: plan.descriptor,
    };
    let run = Run::create(folder, config, &samples)?;
    let optimizer = build_optimizer(&run.config.recipe.training.optimizer);
    let network = identify(network).train();
    Trainer::new(run, samples, device, network, optimizer, session)?.run(Position::default())
}

/// Continues a run from its last save.
pub fn resume(folder: &Path, session: &Session<'_>) -> Result<Outcome> {
    let run = Run::open(folder)?;
    let samples = run.samples()?;
    let training = &run.config.recipe.training;
    let device = session.device.open_for(training.precision)?;
    let network = identify(run.config.recipe.network.init(run.config.seed, &device)?);
    let (network, optimizer, position) =
        checkpoint::load(&run.last_path(), network, build_optimizer(&training.optimizer))?;
    if position.epoch >= training.epochs {
        session.sink.event(Event::Note(format!("all {} epochs of this run are done", training.epochs)));
        return Ok(Outcome::Finished { best: position.best });
    }
    Trainer::new(run, samples, device, network.train(), optimizer, session)?.run(position)
}

struct Trainer<'a> {
    run: Run,
    device: Device,
    learner: Learner,
    train: Loader,
    validation: Option<Loader>,
    rows: Vec<Row>,
    session: &'a Session<'a>,
}

/// How an epoch ended.
enum EpochEnd {
    Done,
    Stopped,
}

impl<'a> Trainer<'a> {
    fn new(
        run: Run,
        samples: Samples,
        device: Device,
        network: Network,
        optimizer: ModuleOptimizer,
        session: &'a Session<'a>,
    ) -> Result<Self> {
        let descriptor = Arc::new(run.config.dataset.clone());
        let loader = |pairs: Vec<Pair>| Loader {
            pairs: Arc::new(pairs),
            descriptor: Arc::clone(&descriptor),
            batch_size: run.config.recipe.training.batch_size,
            workers: session.workers,
        };
        let train = loader(samples.train);
        let validation = (!samples.validation.is_empty()).then(|| loader(samples.validation));
        let learner = Learner::new(network, optimizer, run.config.recipe.training.loss.clone());
        Ok(Self { train, validation, rows: Vec::new(), run, device, learner, session })
    }

    fn run(mut self, mut position: Position) -> Result<Outcome> {
        let epochs = self.run.config.recipe.training.epochs;
        let classes: Vec<String> = self.run.config.dataset.classes.iter().map(|c| c.name.clone()).collect();
        self.rows = log::read(&self.run.log_path(), classes.len(), position.epoch)?;
        while position.epoch < epochs {
            if let EpochEnd::Stopped = self.epoch(&mut position)? {
                self.save(&position)?;
                return Ok(Outcome::Stopped(position));
            }
            let Some(report) = self.close_epoch(&mut position)? else {
                self.save(&position)?;
                return Ok(Outcome::Stopped(position));
            };
            let rate = self.learning_rate(position.epoch * self.train.batches());
            self.rows.push(Row::new(&report, rate, classes.len()));
            log::write(&self.run.log_path(), &classes, &self.rows)?;
            curves::write(&self.run.curves_path(), &self.rows)?;
            self.save(&position)?;
            self.session.sink.event(Event::Epoch(report));
        }
        Ok(Outcome::Finished { best: position.best })
    }

    /// Trains from the position to the end of its epoch, or until asked to stop.
    fn epoch(&mut self, position: &mut Position) -> Result<EpochEnd> {
        let training = self.run.config.recipe.training.clone();
        let (epoch, total) = (position.epoch, self.train.pairs.len());
        let task = Task::Train(epoch + 1, training.epochs);
        self.session.sink.event(Event::Started { task, total, done: position.samples });
        let mut clock = Instant::now();
        for batch in self.train.shuffled(self.run.config.seed, epoch, position.step, &training.augment) {
            let batch = batch?;
            position.waited += clock.elapsed().as_secs_f64();
            let loss = self.step(&batch, epoch * self.train.batches() + position.step);
            if !loss.is_finite() {
                return Err(self.non_finite(loss, position, &batch));
            }
            position.step += 1;
            position.samples += batch.count;
            position.loss_sum += loss * batch.count as f64;
            position.seconds += clock.elapsed().as_secs_f64();
            clock = Instant::now();
            let mean = position.loss_sum / position.samples as f64;
            self.session.sink.event(Event::Advanced { done: position.samples, loss: Some(mean) });
            if self.session.stop.load(Ordering::Relaxed) {
                self.session.sink.event(Event::Finished);
                return Ok(EpochEnd::Stopped);
            }
        }
        self.session.sink.event(Event::Finished);
        Ok(EpochEnd::Done)
    }

    /// One step; returns the loss before it.
    fn step(&mut self, batch: &Batch, step: usize) -> f64 {
        let device = self.device.clone().autodiff();
        let input = input_tensor(batch, self.run.config.recipe.training.precision, &device);
        let draw = self.run.config.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(step as u64);
        self.learner.step(input, &target(batch, &device), self.learning_rate(step), draw)
    }

    /// Scores the epoch that is over, keeps the weights if they are the best, and moves on to the next. `None`, with
    /// nothing changed, if asked to stop during validation.
    fn close_epoch(&mut self, position: &mut Position) -> Result<Option<EpochReport>> {
        let network = self.learner.network().valid();
        let precision = self.run.config.recipe.training.precision;
        let validation = match &self.validation {
            None => None,
            Some(loader) => {
                let matrix = evaluate(&network, loader, precision, &self.device, self.session.stop, self.session.sink)?;
                let Some(matrix) = matrix else { return Ok(None) };
                Some(self.summary(&Scores::new(&matrix, AbsentClass::LeftOut)))
            }
        };
        let score = validation.as_ref().map(|v| v.mean_iou);
        // Without validation the latest weights are the best guess.
        let best = score.is_none_or(|score| position.best.is_none_or(|best| score > best));
        if best {
            weights::save(&network, &self.run.config.description(), &self.run.weights_path())?;
        }
        let report = EpochReport {
            epoch: position.epoch + 1,
            train_loss: position.loss_sum / position.samples as f64,
            validation,
            best,
            seconds: position.seconds,
            images_per_second: position.samples as f64 / position.seconds,
            wait: position.waited / position.seconds,
        };
        *position = Position {
            epoch: position.epoch + 1,
            best: if best { score } else { position.best },
            ..Position::default()
        };
        Ok(Some(report))
    }

    fn summary(&self, scores: &Scores) -> Validation {
        let names = self.run.config.dataset.classes.iter().map(|c| c.name.clone());
        Validation {
            pixel_accuracy: scores.pixel_accuracy,
            mean_iou: scores.mean_iou,
            class_iou: names.zip(scores.classes.iter().map(|c| c.iou)).collect(),
        }
    }

    fn save(&self, position: &Position) -> Result<()> {
        let network = self.learner.network().valid();
        let described = (&network, &self.run.config.description());
        checkpoint::save(&self.run.last_path(), described, &self.learner.optimizer, position)
    }

    fn learning_rate(&self, step: usize) -> f64 {
        let training = &self.run.config.recipe.training;
        training.learning_rate * training.schedule.factor(step, training.epochs * self.train.batches())
    }

    fn non_finite(&self, loss: f64, position: &Position, batch: &Batch) -> Error {
        let name = |&i: &usize| self.train.pairs[i].image.display().to_string();
        Error::NonFiniteLoss {
            loss,
            epoch: position.epoch + 1,
            step: position.step + 1,
            files: batch.indices.iter().map(name).collect::<Vec<_>>().join(", "),
        }
    }
}
