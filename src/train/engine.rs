//! The training loop.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use burn::module::Module;
use burn::tensor::Device;

use super::checkpoint::{self, Saved};
use super::course::{Course, Position, Verdict};
use super::record::Record;
use super::report::{Gallery, Status};
use super::{Initial, PictureRanking, Plan, oom, write_pictures};
use crate::concat::Classes;
use crate::data::{Batch, Cache, Loader, Pair};
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::evaluate::{Examination, Findings, input_tensor, target};
use crate::event::{EpochReport, Event, Sink, Task, Validation};
use crate::image::orientation_policy;
use crate::loss::Loss;
use crate::metric::{AbsentClass, Scores};
use crate::model::{Network, are_finite, identify};
use crate::recipe::Training;
use crate::run::{Run, RunConfig, Samples, utc};
use crate::step::{Learner, Part, Settings};
use crate::weights;

/// Between two saves within an epoch.
const SAVE_INTERVAL: Duration = Duration::from_secs(600);

/// How a training ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All epochs are done.
    Finished {
        /// Best validation mean IoU, where there is validation.
        best: Option<f64>,
    },
    /// It was asked to stop, or its time was up; `last/` is saved.
    Stopped(Position),
}

/// What a training needs beside its plan.
pub struct Session<'a> {
    /// Where to compute.
    pub device: DeviceChoice,
    /// Threads that prepare batches.
    pub workers: usize,
    /// Bytes in which decoded pictures may be kept.
    pub cache: u64,
    /// How many of the best and of the worst validation pictures are drawn after each epoch.
    pub validation_pictures: usize,
    /// Set from outside to stop after the current step.
    pub stop: &'a AtomicBool,
    /// When to stop by itself.
    pub deadline: Option<Instant>,
    /// Who is told.
    pub sink: &'a dyn Sink,
}

impl<'a> Session<'a> {
    /// On `device`, with two workers and without anything that is not needed.
    pub fn new(device: DeviceChoice, stop: &'a AtomicBool, sink: &'a dyn Sink) -> Self {
        Self { device, workers: 2, cache: 0, validation_pictures: 0, stop, deadline: None, sink }
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn note(&self, text: String) {
        self.sink.event(Event::Note(text));
    }
}

/// Trains from the beginning into `folder`, with random initial weights.
pub fn start(plan: Plan, folder: &Path, session: &Session<'_>) -> Result<Outcome> {
    start_with(plan, None, folder, session)
}

/// Trains from the beginning into `folder`. The plan's recipe and data set have been made to fit the initial weights, if
/// there are any, with [`Initial::fit`].
pub fn start_with(plan: Plan, initial: Option<&Initial>, folder: &Path, session: &Session<'_>) -> Result<Outcome> {
    // Everything that may be refused comes before an old run is replaced.
    plan.loader(session.workers)?;
    let device = session.device.open_for(plan.recipe.training.precision)?;
    let mut network = plan.recipe.network.init(plan.seed, &device)?;
    if let Some(initial) = initial {
        let report;
        (network, report) = initial.weights.load(network, initial.new_head)?;
        session.note(report.to_string());
    }
    let samples = Samples { train: plan.train, validation: plan.validation, presence: plan.presence };
    let config = RunConfig {
        version: env!("CARGO_PKG_VERSION").into(),
        seed: plan.seed,
        device: session.device.resolve()?.to_string(),
        weights: initial.map(Initial::files).unwrap_or_default(),
        started: Some(utc(SystemTime::now())),
        recipe: plan.recipe,
        class_weights: plan.class_weights,
        dataset: plan.descriptor,
    };
    let network = identify(network).train();
    let phases = config.recipe.training.resolved_phases();
    for phase in &phases {
        Settings::from(phase).check(&network)?;
    }
    let first = &phases[0];
    let learner = Learner::new(network, Settings::from(first), loss_of(&config, first)?)?;
    let run = Run::create(folder, config, &samples)?;
    Trainer::new(run, samples, device, learner, session)?.run(Position::default())
}

/// Continues a run from its last save.
pub fn resume(folder: &Path, session: &Session<'_>) -> Result<Outcome> {
    let run = Run::open(folder)?;
    run.config.dataset.follow_orientation();
    let (trained, requested) = (run.config.dataset.orientation.unwrap_or_default(), orientation_policy());
    if trained != requested {
        return Err(Error::Config(format!(
            "this run reads images with --orientation {trained}; it cannot be resumed with --orientation {requested}: leave \
             that out, or train anew"
        )));
    }
    let samples = run.samples()?;
    let training = &run.config.recipe.training;
    let saved = Saved::open(&run.last_path())?;
    let Some(phase) = training.resolved_phases().into_iter().nth(saved.position.phase) else {
        session.note(format!("all {} epochs of this run are done", saved.position.epoch));
        return Ok(Outcome::Finished { best: saved.position.best.map(|best| best.mean_iou) });
    };
    let device = session.device.open_for(training.precision)?;
    let network = saved.network(identify(run.config.recipe.network.init(run.config.seed, &device)?))?;
    let mut learner = Learner::new(network.train(), Settings::from(&phase), loss_of(&run.config, &phase)?)?;
    saved.restore(&mut learner)?;
    let position = saved.position;
    Trainer::new(run, samples, device, learner, session)?.run(position)
}

fn loss_of(config: &RunConfig, phase: &Training) -> Result<Loss> {
    Loss::new(&phase.loss, config.recipe.activation, config.class_weights.clone())
}

struct Trainer<'a> {
    run: Run,
    course: Course,
    device: Device,
    learner: Learner,
    train: Loader,
    validation: Option<Loader>,
    session: &'a Session<'a>,
    last_save: Instant,
    cache_noted: bool,
}

/// A validation and what it showed.
struct Exam {
    findings: Findings,
    gallery: Gallery,
    ranking: PictureRanking,
}

impl<'a> Trainer<'a> {
    fn new(run: Run, samples: Samples, device: Device, learner: Learner, session: &'a Session<'a>) -> Result<Self> {
        let descriptor = Arc::new(run.config.dataset.clone());
        let training = &run.config.recipe.training;
        let whole = (samples.train.len() + samples.validation.len()).max(1) as u128;
        let loader = |pairs: Vec<Pair>| {
            let share = u128::from(session.cache) * pairs.len() as u128 / whole;
            let loader = Loader::new(pairs, Arc::clone(&descriptor), training.batch_size, session.workers);
            loader.cached(Arc::new(Cache::new(usize::try_from(share).unwrap_or(usize::MAX))))
        };
        let validation = (!samples.validation.is_empty()).then(|| loader(samples.validation));
        let train = loader(samples.train).sampled(training.sampling.clone(), Arc::new(samples.presence))?;
        let course = Course::new(training, train.batches());
        let last_save = Instant::now();
        Ok(Self { train, validation, course, run, device, learner, session, last_save, cache_noted: false })
    }

    fn run(mut self, mut position: Position) -> Result<Outcome> {
        let pairs = self.validation.as_ref().map(|loader| Arc::clone(&loader.pairs)).unwrap_or_default();
        let size = (self.train.pairs.len(), self.course.steps());
        let mut record = Record::open(&self.run, size, pairs, &position, self.session.sink)?;
        while let Some(phase) = self.course.phase(&position).cloned() {
            if self.course.phase_is_over(&position) {
                self.begin_phase(&mut position)?;
                continue;
            }
            let over = self.epoch(&phase, &mut position, &mut record)?;
            let rate = self.course.last_learning_rate(&position);
            let report = if over { self.close_epoch(&mut position, &mut record)? } else { None };
            let Some(report) = report else {
                self.save(&position)?;
                record.report(Status::Stopped(position.epoch + 1), &position);
                return Ok(Outcome::Stopped(position));
            };
            record.epoch(&report, rate, position.steps)?;
            self.save(&position)?;
            self.note_full_cache();
            self.session.sink.event(Event::Epoch(report));
        }
        self.save(&position)?;
        if record.lacks_best() && position.best.is_some() {
            self.score_best(&mut record)?;
        }
        record.note_never_predicted();
        record.report(Status::Finished, &position);
        Ok(Outcome::Finished { best: position.best.map(|best| best.mean_iou) })
    }

    /// Moves on to the next phase, if there is one: another optimiser, another loss, the last weights or the best.
    fn begin_phase(&mut self, position: &mut Position) -> Result<()> {
        let training = &self.run.config.recipe.training;
        let loss_before = self.course.phase(position).map(|phase| phase.loss.clone());
        if self.course.phase(position).is_some_and(|phase| position.phase_epoch < phase.epochs) {
            self.session.note(format!("no better validation for {} epochs: the phase is over", position.since_best));
        }
        *position = position.next_phase();
        let Some(phase) = self.course.phase(position) else { return Ok(()) };
        if loss_before.is_some_and(|loss| loss != phase.loss) {
            position.forget_loss(training.best_by);
        }
        let (number, phases) = (position.phase + 1, self.course.phases());
        self.session.note(format!("phase {number} of {phases}: {} epochs", phase.epochs));
        let mut network = self.learner.network().valid();
        let from_best = training.phases.get(position.phase).is_some_and(|phase| phase.from_best);
        if from_best {
            network = weights::load(network, &self.run.weights_path())?;
        }
        let loss = loss_of(&self.run.config, phase)?;
        let average = self.learner.average().filter(|_| !from_best).cloned();
        self.learner = Learner::new(network.train(), Settings::from(phase), loss)?;
        if let Some(average) = average {
            self.learner.set_average(average);
        }
        Ok(())
    }

    /// Trains from the position to the end of its epoch; says whether it came so far before it was time to stop.
    fn epoch(&mut self, phase: &Training, position: &mut Position, record: &mut Record<'_>) -> Result<bool> {
        let task = Task::Train(position.epoch + 1, self.course.epochs());
        self.session.sink.event(Event::Started { task, total: self.train.samples(), done: position.samples });
        let mut batches = self.train.shuffled(self.run.config.seed, position.epoch, position.batch, &phase.augment);
        loop {
            let clock = Instant::now();
            let next = batches.by_ref().take(phase.accumulate).collect::<Result<Vec<Batch>>>()?;
            if next.is_empty() {
                break;
            }
            position.waited += clock.elapsed().as_secs_f64();
            let rate = self.course.learning_rate(position);
            let loss = oom::caught(|| self.step(&next, rate, position))?;
            record.step(position.steps, loss, rate);
            position.seconds += clock.elapsed().as_secs_f64();
            let mean = position.loss_sum / position.samples as f64;
            self.session.sink.event(Event::Advanced { done: position.samples, loss: Some(mean) });
            if self.session.is_over() {
                self.session.sink.event(Event::Finished);
                return Ok(false);
            }
            if self.last_save.elapsed() >= SAVE_INTERVAL {
                record.flush();
                self.save(position)?;
            }
        }
        self.session.sink.event(Event::Finished);
        Ok(true)
    }

    /// One step of the optimiser on all of `batches`; returns their mean loss.
    fn step(&mut self, batches: &[Batch], rate: f64, position: &mut Position) -> Result<f64> {
        let device = self.device.clone().autodiff();
        let config = &self.run.config;
        let (precision, seed) = (config.recipe.training.precision, config.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let first = position.epoch * self.train.batches() + position.batch;
        let parts = batches.iter().enumerate().map(|(i, batch)| Part {
            input: input_tensor(batch, precision, &device),
            target: target(batch, &device),
            draw: seed.wrapping_add((first + i) as u64),
        });
        let losses = self.learner.step(parts, rate, position.steps);
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        for (batch, loss) in batches.iter().zip(losses) {
            if !loss.is_finite() {
                return Err(self.non_finite(loss, position, batch));
            }
            position.batch += 1;
            position.samples += batch.count;
            position.loss_sum += loss * batch.count as f64;
        }
        position.steps += 1;
        Ok(mean)
    }

    /// Validates `network`, if there is something to validate with. `None` if it is time to stop.
    fn examine(&self, network: &Network, record: &Record<'_>) -> Result<Option<Option<Exam>>> {
        let Some(loader) = &self.validation else { return Ok(Some(None)) };
        let recipe = &self.run.config.recipe;
        let examination = Examination {
            loader,
            rule: recipe.rule(),
            precision: recipe.training.precision,
            device: &self.device,
            loss: Some(self.learner.loss()),
        };
        let mut gallery = record.gallery();
        let mut ranking = PictureRanking::new(self.run.config.dataset.class_count(), self.session.validation_pictures);
        let mut look = |index, labels: &_, prediction: &_| {
            gallery.add(index, labels, prediction);
            ranking.add(index, labels, prediction);
        };
        let found = oom::caught(|| examination.run(network, &|| self.session.is_over(), self.session.sink, &mut look))?;
        Ok(found.map(|findings| Some(Exam { findings, gallery, ranking })))
    }

    /// Scores the epoch that is over, keeps the weights if they are the best, and moves on to the next. `None`, with
    /// nothing changed, if it is time to stop during validation.
    fn close_epoch(&mut self, position: &mut Position, record: &mut Record<'_>) -> Result<Option<EpochReport>> {
        self.check_weights(position)?;
        let network = self.learner.predictor();
        let config = &self.run.config;
        let Some(exam) = self.examine(&network, record)? else { return Ok(None) };
        let validation = exam.as_ref().map(|exam| self.summary(&exam.findings));
        let done = position.clone();
        let verdict = position.close_epoch(config.recipe.training.best_by, validation.as_ref());
        if let Some(validation) = validation.as_ref().filter(|validation| !validation.is_numeric()) {
            self.session.note(format!(
                "epoch {}: loss {} in the validation, so its scores mean nothing and it is not the best; a smaller \
                 --learning-rate or --clip-norm may help",
                position.epoch,
                validation.loss.unwrap_or(f64::NAN)
            ));
        }
        if verdict != Verdict::Worse {
            weights::save(&network, &config.description(), &self.run.weights_path())?;
        }
        if let (Some(exam), Some(loader)) = (exam, &self.validation) {
            if self.session.validation_pictures > 0 {
                let folder = self.run.validation_path().join(format!("epoch_{:04}", position.epoch));
                let classes = Classes::of(&config.dataset);
                if let Err(e) = write_pictures(&folder, &exam.ranking, &loader.pairs, &classes) {
                    self.session.note(format!("no validation pictures of epoch {}: {e}", position.epoch));
                }
            }
            if verdict == Verdict::Best {
                record.keep_best(exam.findings.matrix, exam.gallery);
            }
        }
        Ok(Some(EpochReport {
            epoch: position.epoch,
            phase: position.phase + 1,
            train_loss: done.loss_sum / done.samples as f64,
            validation,
            best: verdict == Verdict::Best,
            seconds: done.seconds,
            images_per_second: done.samples as f64 / done.seconds,
            wait: done.waited / done.seconds,
        }))
    }

    /// Scores the best weights once more, for the report.
    fn score_best(&self, record: &mut Record<'_>) -> Result<()> {
        let network = weights::load(self.learner.predictor(), &self.run.weights_path())?;
        if let Some(Some(exam)) = self.examine(&network, record)? {
            record.keep_best(exam.findings.matrix, exam.gallery);
        }
        Ok(())
    }

    fn summary(&self, findings: &Findings) -> Validation {
        let scores = Scores::new(&findings.matrix, AbsentClass::LeftOut);
        let names = self.run.config.dataset.classes.iter().map(|c| c.name.clone());
        Validation {
            loss: findings.loss,
            pixel_accuracy: scores.pixel_accuracy,
            mean_iou: scores.mean_iou,
            class_iou: names.zip(scores.classes.iter().map(|c| c.iou)).collect(),
        }
    }

    /// Says, once, that the cache did not suffice.
    fn note_full_cache(&mut self) {
        let cache = &self.train.cache;
        if cache.is_full() && !std::mem::replace(&mut self.cache_noted, true) {
            let usage = cache.usage(self.train.pairs.len());
            self.session.note(format!("the cache is full: {usage}; --cache may allow it more"));
        }
    }

    /// An update can spoil the weights without any loss that shows it yet.
    fn check_weights(&self, position: &Position) -> Result<()> {
        if are_finite(self.learner.network()) {
            return Ok(());
        }
        Err(Error::NonFiniteWeights { epoch: position.epoch + 1, batch: position.batch })
    }

    fn save(&mut self, position: &Position) -> Result<()> {
        self.check_weights(position)?;
        checkpoint::save(&self.run.last_path(), &self.learner, &self.run.config.description(), position)?;
        self.last_save = Instant::now();
        Ok(())
    }

    fn non_finite(&self, loss: f64, position: &Position, batch: &Batch) -> Error {
        let name = |&i: &usize| self.train.pairs[i].image.display().to_string();
        Error::NonFiniteLoss {
            loss,
            epoch: position.epoch + 1,
            batch: position.batch + 1,
            files: batch.indices.iter().map(name).collect::<Vec<_>>().join(", "),
        }
    }
}
