//! Images read ahead, computed together where they have one size, and handed on.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use image::RgbImage;

use super::by_rows::{larger_than, windows};
use super::inference::{TileRunner, View, not_numbers};
use super::memory::{Budget, Reservation};
use super::predictor::NetworkPredictor;
use super::procedure::{Join, Procedure};
use super::scene::Scene;
use super::tiles::Tiles;
use crate::base::event::{Event, Sink, Task};
use crate::base::{Error, Result, Size};
use crate::data::{AHEAD, Dataset, chosen_bands, load_bands, network_input, ordered, prepared};
use crate::image::{Image, TiffRows};
use crate::predict::merge::{Decision, ScoreMap, Wanted, WeightedScores, decide, rows_known};
use crate::predict::model::{Computed, Form, Handle, Part, Pending, Work};
use crate::predict::{Options, Prediction};

/// An image as it was read: what the network takes.
#[derive(Debug)]
struct Read {
    size: Size,
    views: Vec<View>,
    /// Pixels without data.
    nodata: Option<Vec<bool>>,
    /// The image to look at, where it is wanted.
    shown: Option<RgbImage>,
    reserved: Option<Reservation>,
}

/// What reading threads find.
#[derive(Debug)]
enum Found {
    Image(Read),
    Scene(Scene),
}

/// What reading threads know.
#[derive(Debug, Clone)]
struct Reading {
    dataset: Arc<Dataset>,
    procedure: Procedure,
    bands: Option<Vec<usize>>,
    budget: Budget,
}

impl Reading {
    /// Reads the image whose turn it is, when there is room for it. Of one that is predicted some rows at a time, nothing
    /// but the beginning is read yet.
    fn read(&self, turn: usize, path: &Path, form: Form) -> Result<Found> {
        if let Some((tiles, file)) = self.scene(path, form) {
            let reserved = Some(self.budget.admit_scene(path, turn, (tiles, &file), form)?);
            return form.check_place(path).map(|()| Found::Scene(Scene { size: file.size(), tiles, reserved }));
        }
        let reserved = self.budget.admit(path, turn, form)?;
        let image = load_bands(path, &self.dataset, self.bands.as_deref())?;
        // The beginning of the file may not have told the size.
        self.budget.check(path, image.size, form).and_then(|()| form.check_place(path))?;
        let shown = form.shown.then(|| image.clone().to_rgb(&[]));
        Ok(Found::Image(Read { shown, reserved: Some(reserved), ..self.prepare(path, image)? }))
    }

    /// The file, if it is to be predicted some rows at a time, and in which windows.
    fn scene<'a>(&self, path: &'a Path, form: Form) -> Option<(Tiles, TiffRows<'a>)> {
        let tiles = windows(&self.procedure).filter(|_| form.strips)?;
        Some((tiles, larger_than(tiles, path)?))
    }

    /// An image that the data set has [prepared](crate::data::prepared), at the sizes at which it is predicted.
    fn prepare(&self, path: &Path, image: Image) -> Result<Read> {
        let (size, nodata) = (image.size, image.nodata.clone());
        let sizes = self.procedure.views(size);
        // The last view takes the image itself.
        let last = if self.procedure.float_scaling { image.into_floats() } else { image };
        let copies: Vec<Image> = vec![last.clone(); sizes.len().saturating_sub(1)];
        let view = |(image, view): (Image, Size)| {
            let planes = network_input(path, &image.resized(view, self.procedure.scaling), &self.dataset)?;
            Ok(View { size: view, planes })
        };
        let views = copies.into_iter().chain([last]).zip(sizes).map(view).collect::<Result<_>>()?;
        Ok(Read { size, views, nodata, shown: None, reserved: None })
    }
}

/// Everything that one piece of work needs.
pub(super) struct NetworkWork<'a> {
    predictor: &'a NetworkPredictor,
    options: &'a Options,
    /// Resolution, flips and windows, as the project of such a network has them.
    procedure: Procedure,
    reading: Arc<Reading>,
    budget: Budget,
    /// Once it is set, an image that is gone over in windows is given up.
    stop: Option<&'a AtomicBool>,
    /// Inputs whose scores are not numbers, until somebody is told.
    unscored: RefCell<Vec<usize>>,
    /// Nanoseconds in which the network computed.
    busy: AtomicU64,
}

impl<'a> NetworkWork<'a> {
    pub(super) fn new(
        predictor: &'a NetworkPredictor,
        options: &'a Options,
        stop: Option<&'a AtomicBool>,
    ) -> Result<Self> {
        let procedure = predictor.fitted(&options.procedure);
        let budget = Budget::new(predictor, procedure.clone(), options)?;
        let dataset = Arc::clone(&predictor.dataset);
        let bands = options.bands.clone();
        let reading = Arc::new(Reading { dataset, procedure: procedure.clone(), bands, budget: budget.clone() });
        Ok(Self {
            predictor,
            options,
            procedure,
            reading,
            budget,
            stop,
            unscored: RefCell::default(),
            busy: AtomicU64::default(),
        })
    }
}

impl Work for NetworkWork<'_> {
    fn busy(&self) -> Option<Duration> {
        Some(Duration::from_nanos(self.busy.load(Ordering::Relaxed)))
    }

    fn one(&self, name: &Path, image: Image) -> Result<Prediction> {
        self.budget.check(name, image.size, Form::default())?;
        let image = chosen_bands(name, image, self.options.bands.as_deref())?;
        let read = self.reading.prepare(name, prepared(name, image, &self.predictor.dataset)?)?;
        let mut found = Vec::new();
        self.compute(vec![(0, read)], &|| (), &mut |_, part| {
            if let Part::Whole(pending) = part {
                found.push(pending.finish());
            }
            Ok(true)
        })?;
        found.pop().ok_or_else(|| not_numbers(name))
    }

    fn each(&self, inputs: &[PathBuf], form: Form, sink: &dyn Sink, handle: &mut Handle<'_>) -> Result<usize> {
        let total = inputs.len();
        sink.event(Event::Started { task: Task::Predict, total, done: 0 });
        if let (Some(tiles), Some(asked)) = (self.procedure.tiles, self.options.procedure.tiles)
            && tiles != asked
        {
            let multiple = self.predictor.network.multiple();
            sink.note(format!(
                "windows of {} that overlap by {} instead of {} and {}: this network takes multiples of {multiple}",
                tiles.side,
                tiles.overlap(),
                asked.side,
                asked.overlap()
            ));
        }
        let (paths, reading) = (inputs.to_vec(), Arc::clone(&self.reading));
        let reads = ordered(inputs.len(), self.readers(inputs.len()), move |i| reading.read(i, &paths[i], form));
        let mut batches = Batches { work: self, inputs, sink, handle, total, done: 0, group: Vec::new(), skipped: 0 };
        for (i, found) in reads.enumerate() {
            let go_on = match found {
                Err(e) => Ok(batches.leave_out(i, &e)),
                Ok(Found::Image(read)) => batches.add(i, read),
                Ok(Found::Scene(scene)) => batches.flush().and_then(|go_on| Ok(go_on && batches.go_over(i, &scene)?)),
            };
            if !unless_stopped(go_on)? {
                sink.event(Event::Finished);
                return Ok(batches.skipped);
            }
        }
        unless_stopped(batches.flush())?;
        sink.event(Event::Finished);
        Ok(batches.skipped)
    }
}

/// An image that is given up because of a stop counts as not begun.
fn unless_stopped(go_on: Result<bool>) -> Result<bool> {
    match go_on {
        Err(Error::Stopped) => Ok(false),
        other => other,
    }
}

/// Images on their way to the network: neighbours of one size are gathered and computed together.
struct Batches<'a, 'b> {
    work: &'a NetworkWork<'a>,
    inputs: &'a [PathBuf],
    sink: &'a dyn Sink,
    handle: &'a mut Handle<'b>,
    /// Steps of the work, an image or a window each: how many are known of, and how many are done.
    total: usize,
    done: usize,
    group: Vec<(usize, Read)>,
    skipped: usize,
}

impl Batches<'_, '_> {
    /// Reports an input that has no prediction.
    fn skip(&mut self, i: usize, fault: &Error) {
        self.skipped += 1;
        self.sink.event(Event::Skipped { path: self.inputs[i].clone(), reason: fault.to_string() });
    }

    /// Leaves an input out that cannot be read; that there should be more.
    fn leave_out(&mut self, i: usize, fault: &Error) -> bool {
        self.skip(i, fault);
        self.advance(1);
        true
    }

    fn advance(&mut self, steps: usize) {
        self.done += steps;
        self.sink.event(Event::Advanced { done: self.done, loss: None });
    }

    /// Adds an image, and computes what is gathered before it, where that has another size, or with it, where that is a
    /// batch; whether there should be more.
    fn add(&mut self, i: usize, read: Read) -> Result<bool> {
        if self.group.last().is_some_and(|(_, last)| last.size != read.size) && !self.flush()? {
            return Ok(false);
        }
        let full = self.group.len() + 1 >= self.work.group_size(read.size);
        self.group.push((i, read));
        let reserved = self.group.iter().filter_map(|(_, read)| read.reserved.as_ref());
        let may_wait = reserved.map(|held| held.bytes).sum::<u64>() <= self.work.budget.waiting();
        if full || !may_wait { self.flush() } else { Ok(true) }
    }

    /// Computes what is gathered; whether there should be more.
    fn flush(&mut self) -> Result<bool> {
        let group = std::mem::take(&mut self.group);
        if group.is_empty() {
            return Ok(true);
        }
        let windows = self.work.windows_of(&group[0].1);
        let steps = windows.unwrap_or(group.len());
        let (work, sink, before) = (self.work, self.sink, self.done);
        if windows.is_some() {
            self.extend(steps - 1);
        }
        let done = AtomicUsize::new(before);
        let advanced = || {
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if done < before + steps {
                sink.event(Event::Advanced { done, loss: None });
            }
        };
        let go_on = work.compute(group, &advanced, self.handle)?;
        for i in work.unscored.take() {
            self.skip(i, &not_numbers(&self.inputs[i]));
        }
        self.done = before;
        self.advance(steps);
        Ok(go_on)
    }

    /// Starts the progress bar again, with more steps.
    fn extend(&mut self, steps: usize) {
        self.total += steps;
        self.sink.event(Event::Finished);
        self.sink.event(Event::Started { task: Task::Predict, total: self.total, done: self.done });
    }

    /// Predicts an image some rows at a time; whether there should be more.
    fn go_over(&mut self, i: usize, scene: &Scene) -> Result<bool> {
        let (path, before) = (&self.inputs[i], self.done);
        let steps = windows_over(scene.tiles, scene.size);
        self.extend(steps - 1);
        let (work, sink, done) = (self.work, self.sink, AtomicUsize::new(before));
        let advanced = || {
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            sink.event(Event::Advanced { done, loss: None });
        };
        let batch = work.budget.windows_at_once(scene.tiles, scene.reserved.as_ref());
        let at_once = |_| batch;
        let what = (&work.procedure, work.options, &*work.predictor.dataset);
        let outcome = scene.predict((i, path), &work.runner(&at_once, &advanced), what, self.handle);
        self.done = before + steps;
        outcome.map(|()| true).or_else(|fault| match fault {
            // It is not the image that is at fault.
            Error::Failed { .. } | Error::Stopped => Err(fault),
            fault => {
                self.skip(i, &fault);
                (self.handle)(i, Part::Abandoned)
            }
        })
    }
}

impl NetworkWork<'_> {
    /// Threads that read, and images that each has ready: in all a batch, so that the next is there when one is computed.
    /// Images larger than windows are computed one by one.
    fn readers(&self, inputs: usize) -> (usize, usize) {
        let Options { workers, batch_size, .. } = *self.options;
        let batch = if self.procedure.tiles.is_some() { 0 } else { batch_size.min(inputs).div_ceil(workers.max(1)) };
        (workers, batch.max(AHEAD))
    }

    /// Images of a size that are computed together.
    fn group_size(&self, size: Size) -> usize {
        let views = self.procedure.views(size);
        let in_windows = |tiles: Tiles| views.iter().any(|view| view.width.max(view.height) > tiles.side);
        if self.procedure.tiles.is_some_and(in_windows) {
            return 1;
        }
        let parts = if self.procedure.flip { 2 } else { 1 };
        let fitting = views.iter().map(|view| self.budget.at_once(*view)).min().unwrap_or(1);
        (fitting / parts).max(1)
    }

    /// Windows that go over an image, in all its sizes and mirrored; `None` if it is seen as a whole.
    fn windows_of(&self, read: &Read) -> Option<usize> {
        let tiles = self.procedure.tiles?;
        let over = |view: &View| if tiles.go_over(view.size) { windows_over(tiles, view.size) } else { 0 };
        let mirrored = self.procedure.flip && self.procedure.join != Join::Probabilities;
        let all = read.views.iter().map(over).sum::<usize>() * if mirrored { 2 } else { 1 };
        Some(all).filter(|all| *all > 0)
    }

    /// The network at work; `at_once` says how many inputs of a size it takes, and `advanced` is called after each window.
    fn runner<'b>(
        &'b self,
        at_once: &'b (dyn Fn(Size) -> usize + Sync),
        advanced: &'b (dyn Fn() + Sync),
    ) -> TileRunner<'b> {
        let predictor = self.predictor;
        TileRunner {
            network: &predictor.network,
            device: &predictor.device,
            precision: predictor.precision,
            rule: predictor.rule,
            bands: predictor.dataset.bands,
            outputs: predictor.config.bands_and_outputs().1.unwrap_or(usize::MAX),
            at_once,
            stop: self.stop,
            advanced,
            busy: &self.busy,
        }
    }

    /// Computes images of one size; those whose scores are not numbers are not handed on.
    fn compute(
        &self,
        images: Vec<(usize, Read)>,
        advanced: &(dyn Fn() + Sync),
        handle: &mut Handle<'_>,
    ) -> Result<bool> {
        let Some(size) = images.first().map(|(_, read)| read.size) else { return Ok(true) };
        let procedure = &self.procedure;
        let budget = &self.budget;
        let at_once = |size| budget.at_once(size);
        let runner = self.runner(&at_once, advanced);
        if self.is_one_view(&images[0].1) {
            let views: Vec<&View> = images.iter().map(|(_, read)| &read.views[0]).collect();
            if let Some(found) = runner.decided(&views)? {
                let seen = |classes| Computed::Decided(Decision { classes, ..Decision::default() });
                return self.hand_on(images, found.into_iter().map(|classes| classes.map(seen)), handle);
            }
        }
        let mut parts: Vec<Vec<WeightedScores>> = images.iter().map(|_| Vec::new()).collect();
        for view in 0..images[0].1.views.len() {
            let views: Vec<&View> = images.iter().map(|(_, read)| &read.views[view]).collect();
            let tiles = procedure.tiles.filter(|tiles| tiles.go_over(views[0].size));
            let seen = match tiles {
                None => runner.whole(&views, size, procedure)?,
                Some(tiles) if self.goes_in_strips(&images, tiles) => {
                    for (i, read) in images {
                        let seen = self.in_strips(&runner, &read.views[0], tiles, size)?.map(Computed::Decided);
                        if !self.hand_on(vec![(i, read)], [seen], handle)? {
                            return Ok(false);
                        }
                    }
                    return Ok(true);
                }
                Some(tiles) => views.iter().map(|view| runner.tiled(view, tiles, procedure)).collect::<Result<_>>()?,
            };
            parts.iter_mut().zip(seen).for_each(|(parts, seen)| parts.extend(seen));
        }
        let seen = parts
            .into_iter()
            .map(|parts| parts.iter().all(WeightedScores::is_numeric).then_some(Computed::Scores(parts)));
        self.hand_on(images, seen, handle)
    }

    /// Hands on what was seen of each image, or remembers that it was nothing; whether there should be more.
    fn hand_on(
        &self,
        images: Vec<(usize, Read)>,
        seen: impl IntoIterator<Item = Option<Computed>>,
        handle: &mut Handle<'_>,
    ) -> Result<bool> {
        for ((i, read), seen) in images.into_iter().zip(seen) {
            let Some(seen) = seen else {
                self.unscored.borrow_mut().push(i);
                continue;
            };
            if !handle(i, Part::Whole(self.pending(read, seen)))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the network sees the whole image once, at its own size, and nothing but its classes is wanted.
    fn is_one_view(&self, read: &Read) -> bool {
        let procedure = &self.procedure;
        let whole = |tiles: Tiles| !tiles.go_over(read.size);
        let once = read.views.len() == 1 && read.views[0].size == read.size && !procedure.flip;
        let own = procedure.join != Join::Direct;
        once && own && self.options.wanted == Wanted::default() && procedure.tiles.is_none_or(whole)
    }

    fn pending(&self, read: Read, computed: Computed) -> Pending {
        let Read { size, nodata, shown, reserved, .. } = read;
        Pending {
            size,
            computed,
            wanted: self.options.wanted,
            nodata,
            dataset: Arc::clone(&self.predictor.dataset),
            shown,
            reserved: reserved.map(|reserved| Box::new(reserved) as _),
        }
    }

    /// Whether windows go over one size of the image, once, so that rows can be decided on as they are complete.
    fn goes_in_strips(&self, images: &[(usize, Read)], tiles: Tiles) -> bool {
        let procedure = &self.procedure;
        let once = !procedure.flip || procedure.join == Join::Probabilities;
        once && !tiles.is_padded() && images.iter().all(|(_, read)| read.views.len() == 1)
    }

    /// Goes over a view from the top down and decides on the image's rows as soon as they are known, so that only the
    /// scores of a few rows are held. `None` if the scores are not numbers.
    fn in_strips(&self, runner: &TileRunner<'_>, view: &View, tiles: Tiles, image: Size) -> Result<Option<Decision>> {
        let procedure = &self.procedure;
        let wanted = self.options.wanted;
        let mut decision = Decision {
            classes: Vec::with_capacity(image.width * image.height),
            highest: wanted.highest.then(Vec::new),
            all: None,
        };
        let mut strips: Vec<(usize, Vec<f32>)> = Vec::new();
        let mut held: Option<WeightedScores> = None;
        let (mut done, mut numeric) = (0, true);
        runner.sweep_rows(view, tiles, procedure, &mut |rows: ScoreMap| {
            let part = match held.take() {
                None => WeightedScores { map: rows, enlargement: procedure.upsample, share: 1.0 },
                Some(mut part) => {
                    part.map.values.extend(rows.values);
                    part
                }
            };
            numeric &= part.is_numeric();
            let bottom = part.map.top + part.map.values.len() / (part.map.size.width * part.map.classes);
            let known = rows_known(&part, bottom, image);
            let parts = [part];
            let strip = decide(&parts, image, done..known, wanted);
            decision.classes.extend(strip.classes);
            decision.highest.iter_mut().for_each(|all| all.extend(strip.highest.iter().flatten()));
            strips.extend(strip.all.map(|all| (known - done, all)));
            done = known;
            let [mut part] = parts;
            part.drop_above(done, image);
            held = Some(part);
            Ok(())
        })?;
        decision.all = wanted.all.then(|| stacked(&strips, image));
        Ok(numeric.then_some(decision))
    }
}

/// Windows that go over an image of a size once.
fn windows_over(tiles: Tiles, size: Size) -> usize {
    tiles.axis(size.height).starts.len() * tiles.axis(size.width).starts.len()
}

/// Strips `[classes, rows, width]` as one `[classes, height, width]`.
fn stacked(strips: &[(usize, Vec<f32>)], size: Size) -> Vec<f32> {
    let filled = strips.iter().find(|(rows, _)| *rows > 0);
    let classes = filled.map_or(0, |(rows, strip)| strip.len() / (rows * size.width));
    let mut all = Vec::with_capacity(classes * size.width * size.height);
    for class in 0..classes {
        for (rows, strip) in strips {
            all.extend_from_slice(&strip[class * rows * size.width..][..rows * size.width]);
        }
    }
    all
}
