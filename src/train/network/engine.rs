//! The training loop.

use super::checkpoint::{self, State};
use super::course::{Course, Position, Verdict};
use super::due::Due;
use super::evaluate::{Examination, Findings, input_tensor, target};
use super::oom;
use super::pace::Pace;
use super::record::Record;
use super::unread::{Reading, Seen, Step, Unread, Which};
use crate::base::event::{EpochReport, Event, Task, Validation};
use crate::base::files::create_folder;
use crate::base::words::{bytes_in_words, per_cent};
use crate::base::{Error, Result};
use crate::data::{Batch, Cache, Loader, Pair};
use crate::draw::Classes;
use crate::metric::{AbsentClass, Scores};
use crate::nn::device::{begin_pass, is_gpu};
use crate::nn::group::Group;
use crate::nn::learner::{Learner, Losses, Part, Settings, broadcast};
use crate::nn::loss::Loss;
use crate::nn::model::{Network, are_finite};
use crate::recipe::Training;
use crate::report::{Gallery, ImageRanking, Status, write_images};
use crate::run::{NetworkRun, NetworkRunConfig, Row, Samples};
use crate::train::session::{Outcome, Session};
use crate::weights;
use burn::module::Module;
use burn::tensor::Device;
use std::sync::Arc;
use std::time::Instant;

/// The loss of a phase.
pub(super) fn loss_of(config: &NetworkRunConfig, phase: &Training) -> Result<Loss> {
    Loss::new(&phase.loss, config.recipe.activation, config.class_weights.clone())
}

/// A training at work.
pub(super) struct Trainer<'a> {
    run: NetworkRun,
    course: Course,
    device: Device,
    learner: Learner,
    train: Loader,
    validation: Option<Loader>,
    session: &'a Session<'a>,
    last_save: Instant,
    cache_noted: bool,
    pace: Pace,
}

/// What an epoch brought, and its weights if they are the best so far.
type Closed = (EpochReport, Option<Network>);

/// A validation and what it showed.
struct Exam {
    findings: Findings,
    gallery: Gallery,
    ranking: ImageRanking,
}

impl<'a> Trainer<'a> {
    pub(super) fn new(
        run: NetworkRun,
        samples: Samples,
        device: Device,
        learner: Learner,
        (session, cache): (&'a Session<'a>, u64),
    ) -> Result<Self> {
        let dataset = Arc::new(run.config.dataset.clone());
        let training = &run.config.recipe.training;
        let whole = (samples.train.len() + samples.validation.len()).max(1) as u128;
        let (rank, size) = session.group.map_or((0, 1), |group| (group.rank(), group.size()));
        session.check_shares(training.batch_size)?;
        session.connect_gpus()?;
        let loader = |pairs: Vec<Pair>, batch_size| {
            let share = u128::from(cache) * pairs.len() as u128 / whole;
            let loader = Loader::new(pairs, Arc::clone(&dataset), batch_size, session.workers);
            let loader = loader.among(rank, size);
            loader.cached(Arc::new(Cache::new(usize::try_from(share).unwrap_or(usize::MAX))))
        };
        // Each process predicts different images, as many at once as it trains on.
        let at_once = training.batch_size.div_ceil(size);
        let validation = (!samples.validation.is_empty()).then(|| loader(samples.validation, at_once));
        let train = loader(samples.train, training.batch_size);
        let train = train.sampled(training.sampling.clone(), Arc::new(samples.presence))?;
        let pace = Pace::new(train.samples(), validation.as_ref().map_or(0, |loader| loader.pairs.len()));
        let course = Course::new(training, train.batches());
        let last_save = Instant::now();
        let learner = learner.among(session.members(training.batch_size));
        Ok(Self { train, validation, course, run, device, learner, session, last_save, cache_noted: false, pace })
    }

    /// From the position to the end, or to where it is time to stop. `resumed` are the epochs of a run that goes on.
    pub(super) fn run(mut self, mut position: Position, resumed: Option<Vec<Row>>) -> Result<Outcome> {
        let began = Instant::now();
        let pairs = self.validation.as_ref().map(|loader| Arc::clone(&loader.pairs)).unwrap_or_default();
        let size = (self.train.pairs.len(), self.course.steps());
        let resumed = (resumed.is_some().then_some(position.steps), resumed.unwrap_or_default());
        let mut record = Record::open(&self.run, size, pairs, resumed, self.session);
        while let Some(phase) = self.course.phase(&position).cloned() {
            if self.course.phase_is_over(&position) {
                self.begin_phase(&mut position)?;
                if self.course.phase(&position).is_some() {
                    // Its first weights may be the best of before, which are replaced by better ones of its own.
                    self.save(&position, &record, None)?;
                }
                continue;
            }
            let over = self.epoch(&phase, &mut position, &mut record)?;
            if over {
                self.pace.trained(position.seconds);
                self.tell_outlook(&position);
            }
            let clock = Instant::now();
            let closed = if over { self.close_epoch(&mut position, &mut record)? } else { None };
            let Some((mut report, best)) = closed else {
                self.save(&position, &record, None)?;
                record.report(Status::Stopped(position.epoch + 1), &position);
                return Ok(Outcome::Stopped(Some(position)));
            };
            record.epoch(&report, position.steps);
            // Before the position: what is killed in between does the epoch again.
            self.keep_weights(position.epoch);
            self.save(&position, &record, best.as_ref())?;
            record.write();
            self.note_full_cache();
            self.pace.closed(clock.elapsed());
            let outlook = self.pace.outlook(self.course.epochs_left(&position), self.session.deadline);
            report.left = outlook.between(Instant::now());
            self.session.sink.event(Event::Epoch(report));
        }
        self.note_exchanges(began);
        self.finish(&position, record)
    }

    /// Says what working together took.
    fn note_exchanges(&self, since: Instant) {
        let Some(group) = self.session.group else { return };
        let (spent, all) = (group.spent(), since.elapsed());
        let gpus = if group.connects_gpus() { ", not counting exchanges between GPUs" } else { "" };
        self.session.sink.note(format!(
            "exchanging values with the other processes, and waiting for them, took {} of the time{gpus}; {} were sent",
            per_cent(spent.time.as_millis() as u64, all.as_millis() as u64),
            bytes_in_words(spent.bytes)
        ));
    }

    fn finish(mut self, position: &Position, mut record: Record<'_>) -> Result<Outcome> {
        if record.lacks_best() && position.best.is_some() {
            self.score_best(&mut record)?;
        }
        record.note_never_predicted();
        record.report(Status::Finished, position);
        // Last: a run that is over is not resumed, so everything must be there.
        self.save(position, &record, None)?;
        Ok(Outcome::Finished { best: position.best.map(|best| best.mean_iou), forest: None })
    }

    /// Moves on to the next phase, if there is one: another optimiser, another loss, the last weights or the best.
    fn begin_phase(&mut self, position: &mut Position) -> Result<()> {
        let training = &self.run.config.recipe.training;
        let loss_before = self.course.phase(position).map(|phase| phase.loss.clone());
        if self.course.phase(position).is_some_and(|phase| position.phase_epoch < phase.epochs) {
            let epochs = position.since_best;
            self.session.sink.note(format!("validation has not improved for {epochs} epochs: the phase is over"));
        }
        *position = position.next_phase();
        let Some(phase) = self.course.phase(position) else { return Ok(()) };
        if loss_before.is_some_and(|loss| loss != phase.loss) {
            position.forget_loss(training.best_by);
        }
        let (number, phases) = (position.phase + 1, self.course.phases());
        self.session.sink.note(format!("phase {number} of {phases}: {} epochs", phase.epochs));
        let mut network = self.learner.network().valid();
        let from_best = training.phases.get(position.phase).is_some_and(|phase| phase.from_best);
        if from_best {
            network = self.best_network(network)?;
        }
        let loss = loss_of(&self.run.config, phase)?;
        let average = self.learner.average().filter(|_| !from_best).cloned();
        let learner = Learner::new(network.train(), Settings::from(phase), loss)?;
        self.learner = learner.among(self.session.members(training.batch_size));
        if let Some(average) = average {
            self.learner.set_average(average);
        }
        Ok(())
    }

    /// Trains from the position to the end of its epoch; says whether it came so far before it was time to stop.
    fn epoch(&mut self, phase: &Training, position: &mut Position, record: &mut Record<'_>) -> Result<bool> {
        self.tell_outlook(position);
        let task = Task::Train(position.epoch + 1, self.course.epochs());
        self.session.sink.event(Event::Started { task, total: self.train.samples(), done: position.samples });
        let mut unread = Unread::new();
        let over = self.steps(phase, position, record, &mut unread);
        // Alone, also after an error: the steps before it come first. In a group, others know of no error and will not add up
        // their losses.
        if over.is_ok() || self.session.group.is_none() {
            self.read(&mut unread, Which::All, position, record)?;
        }
        let over = over?;
        self.session.sink.event(Event::Finished);
        Ok(over)
    }

    /// Takes the steps of [`Self::epoch`]; the losses of the last ones may be left unread.
    fn steps(
        &mut self,
        phase: &Training,
        position: &mut Position,
        record: &mut Record<'_>,
        unread: &mut Unread,
    ) -> Result<bool> {
        let mut batches = self.train.shuffled(self.run.config.seed, position.epoch, position.batch, &phase.augment);
        loop {
            let clock = Instant::now();
            let mut next = batches.by_ref().take(phase.accumulate).collect::<Result<Vec<Batch>>>()?;
            if next.is_empty() {
                self.read(unread, Which::All, position, record)?;
                position.seconds += clock.elapsed().as_secs_f64();
                return Ok(true);
            }
            position.waited += clock.elapsed().as_secs_f64();
            let rate = self.course.learning_rate(position);
            let (step, losses) = oom::caught(|| Ok(self.step(&mut next, rate, position)))?;
            unread.push(step, losses);
            let due = self.due(unread)?;
            // On a CPU, what is computed is there at once.
            if !is_gpu(&self.device) {
                self.read(unread, Which::All, position, record)?;
            } else if due.read {
                self.read(unread, Which::Next, position, record)?;
            }
            position.seconds += clock.elapsed().as_secs_f64();
            if due.stop {
                return Ok(false);
            }
            if due.save {
                self.read(unread, Which::All, position, record)?;
                record.flush();
                self.save(position, record, None)?;
            }
        }
    }

    /// What it is time for.
    fn due(&self, unread: &Unread) -> Result<Due> {
        let save = self.session.save_every.is_some_and(|interval| self.last_save.elapsed() >= interval);
        Due { stop: self.session.is_over(), save, read: unread.are_due() }.in_all(self.session.group)
    }

    /// Begins a step of the optimiser on all of `batches`.
    fn step(&mut self, batches: &mut [Batch], rate: f64, position: &mut Position) -> (Step, Losses) {
        let device = self.device.clone().autodiff();
        let config = &self.run.config;
        let (precision, seed) = (config.recipe.training.precision, config.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let _pass = begin_pass(&self.device, precision);
        let first = position.epoch * self.train.batches() + position.batch;
        let parts = batches.iter_mut().enumerate().map(|(i, batch)| Part {
            target: target(batch, &device),
            input: input_tensor(batch, precision, &device),
            draw: seed.wrapping_add((first + i) as u64),
            first: batch.first,
            whole: batch.count == batch.total,
        });
        let losses = self.learner.step(parts, rate, position.steps);
        (Step::begun(batches, rate, position), losses)
    }

    /// Reads losses, step by step; an error if one is not finite, after which nothing is left to read.
    fn read(&self, unread: &mut Unread, which: Which, position: &mut Position, record: &mut Record<'_>) -> Result<()> {
        for (step, losses) in unread.read(which, self.session.group)? {
            let (number, rate) = (step.number, step.rate);
            match step.count(&losses, position) {
                Reading::Mean(loss) => record.step(number, loss, rate),
                Reading::Spoilt(loss, batch) => {
                    *unread = Unread::new();
                    return Err(self.non_finite(loss, position, batch));
                }
            }
            let mean = position.loss_sum / position.samples as f64;
            self.session.sink.event(Event::Advanced { done: position.samples, loss: Some(mean) });
        }
        Ok(())
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
            group: self.session.group,
        };
        let mut gallery = record.gallery();
        let images = self.own_images(&gallery, loader.pairs.len());
        let mut ranking = ImageRanking::new(self.run.config.dataset.class_count(), self.session.validation_images);
        let mut on_image = |index, labels: &_, prediction: &_| {
            gallery.add(index, labels, prediction);
            ranking.add(index, labels, prediction);
        };
        let found = examination.run(network, images, &|| self.session.is_over(), self.session.sink, &mut on_image)?;
        let Some(findings) = found else { return Ok(None) };
        if let Some(group) = self.session.group {
            ranking = self.ranking_of_all(group, &ranking, &examination, network)?;
        }
        Ok(Some(Some(Exam { findings, gallery, ranking })))
    }

    /// Which of `count` validation images this process predicts. The one that writes has those of the report.
    fn own_images(&self, gallery: &Gallery, count: usize) -> Vec<usize> {
        let Some(group) = self.session.group else { return (0..count).collect() };
        let shown: Vec<usize> = gallery.chosen().collect();
        let rest: Vec<usize> = (0..count).filter(|image| !gallery.wants(*image)).collect();
        let order = [shown, rest].concat();
        let share = |rank: usize| rank * count / group.size();
        // The first share is at least what is shown.
        let end = |rank: usize| if rank == 0 { 0 } else { share(rank).max(gallery.chosen().count()) };
        let mut own = order[end(group.rank())..end(group.rank() + 1)].to_vec();
        own.sort_unstable();
        own
    }

    /// The best and worst of all processes' images, in the process that writes: those of others are predicted there again.
    fn ranking_of_all(
        &self,
        group: &Group,
        own: &ImageRanking,
        examination: &Examination<'_>,
        network: &Network,
    ) -> Result<ImageRanking> {
        let mut ranking = ImageRanking::new(self.run.config.dataset.class_count(), self.session.validation_images);
        if self.session.validation_images == 0 {
            return Ok(ranking);
        }
        let (best, worst) = own.extremes();
        let places = best.iter().chain(worst).map(|image| image.index as f32);
        // One more each, so that 0 is none.
        let mut places: Vec<f32> = places.map(|place| place + 1.0).collect();
        places.resize(2 * self.session.validation_images, 0.0);
        let mut candidates: Vec<usize> =
            group.gather(&places).into_iter().filter(|place| *place > 0.0).map(|place| place as usize - 1).collect();
        group.check()?;
        candidates.sort_unstable();
        candidates.dedup();
        if group.leads() {
            let alone = Examination { group: None, loss: None, ..*examination };
            let mut on_image = |index, labels: &_, prediction: &_| ranking.add(index, labels, prediction);
            alone.run(network, candidates, &|| false, &|_| (), &mut on_image)?;
        }
        Ok(ranking)
    }

    /// `network` with the best weights so far, which the process that writes has on its disk.
    fn best_network(&self, network: Network) -> Result<Network> {
        let Some(group) = self.session.group else { return weights::load(network, &self.run.weights_path()) };
        let read = if group.leads() { weights::load(network, &self.run.weights_path()) } else { Ok(network) };
        let network = broadcast(group.together(read)?, group);
        group.check().map(|()| network)
    }

    /// Scores the epoch that is over and moves on to the next; returns its weights, too, if they are the best. `None`, with
    /// nothing changed, if it is time to stop during validation.
    fn close_epoch(&mut self, position: &mut Position, record: &mut Record<'_>) -> Result<Option<Closed>> {
        self.learner.share_statistics();
        self.session.group.map_or(Ok(()), Group::check)?;
        self.check_weights(position)?;
        let network = self.learner.predictor();
        let config = &self.run.config;
        let Some(exam) = self.examine(&network, record)? else { return Ok(None) };
        let validation = exam.as_ref().map(|exam| self.summary(&exam.findings));
        let done = position.clone();
        let verdict = position.close_epoch(config.recipe.training.best_by, validation.as_ref());
        if let Some(validation) = validation.as_ref().filter(|validation| !validation.is_numeric()) {
            self.session.sink.note(format!(
                "epoch {}: the validation loss is {}, so its scores are meaningless and it cannot be the best epoch; try a smaller \
                 `learning_rate`, or `clip_norm`",
                position.epoch,
                validation.loss.unwrap_or(f64::NAN)
            ));
        }
        if let (Some(exam), Some(loader)) = (exam, &self.validation) {
            if self.session.validation_images > 0 && self.session.writes() {
                let folder = self.run.validation_path().join(format!("epoch_{:04}", position.epoch));
                let classes = Classes::of(&config.dataset);
                if let Err(e) = write_images(&folder, &exam.ranking, &loader.pairs, &classes) {
                    let epoch = position.epoch;
                    self.session.sink.note(format!("the validation images of epoch {epoch} were not written: {e}"));
                }
            }
            if verdict == Verdict::Best {
                record.keep_best(exam.findings.matrix, exam.gallery);
            }
        }
        let report = EpochReport {
            epoch: position.epoch,
            phase: position.phase + 1,
            learning_rate: self.course.last_learning_rate(&done),
            train_loss: done.loss_sum / done.samples as f64,
            validation,
            best: verdict == Verdict::Best,
            seconds: done.seconds,
            images_per_second: done.samples as f64 / done.seconds,
            wait: done.waited / done.seconds,
            left: None,
        };
        Ok(Some((report, (verdict != Verdict::Worse).then_some(network))))
    }

    /// Says what follows the epoch at which the training stands.
    fn tell_outlook(&self, position: &Position) {
        let after = self.course.epochs_left(position).saturating_sub(1);
        self.session.sink.event(Event::Outlook(self.pace.outlook(after, self.session.deadline)));
    }

    /// Scores the best weights once more, for the report. If that fails, it is said: they are there all the same.
    fn score_best(&self, record: &mut Record<'_>) -> Result<()> {
        let exam = self.best_network(self.learner.predictor()).and_then(|network| self.examine(&network, record));
        match exam {
            Ok(Some(Some(exam))) => record.keep_best(exam.findings.matrix, exam.gallery),
            Ok(_) => {}
            Err(e) => self.session.sink.note(format!("the report lacks predictions of the best weights: {e}")),
        }
        // What ended the other processes is no matter of the report.
        self.session.group.map_or(Ok(()), Group::check)
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

    /// Keeps the weights of an epoch, if that is wanted. If that fails, it is said; the training goes on.
    fn keep_weights(&self, epoch: usize) {
        if !self.session.writes() || self.session.keep_every.is_none_or(|every| !epoch.is_multiple_of(every)) {
            return;
        }
        let (path, description) = (self.run.epoch_path(epoch), self.run.config.description());
        let kept = create_folder(path.parent().unwrap_or(&path))
            .and_then(|()| weights::save(&self.learner.predictor(), &description, &path));
        if let Err(e) = kept {
            self.session.sink.note(format!("the weights of epoch {epoch} were not kept: {e}"));
        }
    }

    /// Says, once, that the cache did not suffice.
    fn note_full_cache(&mut self) {
        let cache = &self.train.cache;
        if cache.is_full() && !std::mem::replace(&mut self.cache_noted, true) {
            let usage = cache.usage(self.train.pairs.len());
            self.session.sink.note(format!("the cache is full: {usage}; raise `cache` to hold more"));
        }
    }

    /// An update can spoil the weights without any loss that shows it yet, and so can an exchange of gradients that failed.
    fn check_weights(&self, position: &Position) -> Result<()> {
        let finite = are_finite(self.learner.network());
        // Only now are the exchanges that GPUs had been given over, or aborted after a failure.
        self.session.group.map_or(Ok(()), Group::check)?;
        if finite {
            return Ok(());
        }
        Err(Error::NonFiniteWeights { epoch: position.epoch + 1, batch: position.batch })
    }

    fn save(&mut self, position: &Position, record: &Record<'_>, best: Option<&Network>) -> Result<()> {
        self.check_weights(position)?;
        if self.session.writes() {
            checkpoint::save(&self.run, &State { learner: &self.learner, position, rows: record.rows(), best })?;
        }
        self.last_save = Instant::now();
        Ok(())
    }

    fn non_finite(&self, loss: f64, position: &Position, batch: Seen) -> Error {
        let name = |&i: &usize| self.train.pairs[i].image.display().to_string();
        Error::NonFiniteLoss {
            loss,
            epoch: position.epoch + 1,
            batch: batch.place,
            files: batch.indices.iter().map(name).collect::<Vec<_>>().join(", "),
        }
    }
}
