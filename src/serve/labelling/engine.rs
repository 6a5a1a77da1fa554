//! Trainings on request, each of which ends the one before, and the models that came of the last ones.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use super::classes::{self, LabelClass};
use super::events::{LabelEvent, Progress, TrainingState};
use super::features::FeatureStore;
use super::labelled::{AllLabelled, Picked, Snapshot, class_of};
use super::model::{Summary, Trained};
use super::patch::Rect;
use super::project::Project;
use super::score::Score;
use crate::base::event::Event;
use crate::base::{Error, Result, locked};
use crate::pixels::forest::Settings;
use crate::report::ClassReport;
use crate::train::forest::{Fitting, Samples};

/// Models that can still be asked.
const MODELS: usize = 4;
/// After a training, before it is scored: the page asks for the visible part at once.
const PATIENCE: Duration = Duration::from_millis(400);
/// How long to wait before checking again whether the page has its answer.
const PAUSE: Duration = Duration::from_millis(5);
/// Most labelled pixels that a training on request learns from, whatever the recipe says: strokes of a broad brush have many
/// pixels that look alike.
pub(super) const MOST_PIXELS: usize = 40_000;

/// What trains and is asked.
pub(super) struct Engine {
    pub(super) project: Arc<Project>,
    pub(super) store: FeatureStore,
    settings: Settings,
    most: usize,
    seed: u64,
    state: Mutex<State>,
    wake: Condvar,
    models: Mutex<VecDeque<Arc<Trained>>>,
    /// Pages that wait for an answer: what is not urgent waits for them.
    asked: AtomicUsize,
}

#[derive(Default)]
struct State {
    number: u64,
    training: Option<Request>,
    /// An image that is shown, whose features will be wanted.
    shown: Option<usize>,
    scoring: Option<Arc<Trained>>,
    /// Set to end what is being done.
    stop: Arc<AtomicBool>,
    closed: bool,
}

/// What the first of the two threads does.
enum Work {
    Train(Request),
    Warm(usize),
}

/// A training that was asked for.
#[derive(Debug, Clone, Copy)]
struct Request {
    number: u64,
    /// What the page shows.
    view: Option<(usize, Rect)>,
}

/// Counts a page that waits while it lives.
pub(super) struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Engine {
    pub(super) fn new(project: Arc<Project>, store: FeatureStore, settings: Settings, most: usize, seed: u64) -> Self {
        Self {
            project,
            store,
            settings: Settings { seed, out_of_bag: false, ..settings },
            most,
            seed,
            state: Mutex::default(),
            wake: Condvar::new(),
            models: Mutex::default(),
            asked: AtomicUsize::new(0),
        }
    }

    /// Begins to work on requests, on threads of its own.
    pub(super) fn start(self: &Arc<Self>) -> Result<Vec<JoinHandle<()>>> {
        let spawn = |name: &str, work: fn(&Self)| {
            let own = Arc::clone(self);
            let spawned = thread::Builder::new().name(name.into()).spawn(move || work(&own));
            spawned.map_err(|e| Error::failed("start a thread", e))
        };
        Ok(vec![spawn("label-train", Self::train_all)?, spawn("label-score", Self::score_all)?])
    }

    /// Ends all work, soon.
    pub(super) fn close(&self) {
        let mut state = locked(&self.state);
        state.closed = true;
        state.stop.store(true, Ordering::Relaxed);
        self.wake.notify_all();
    }

    /// Asks for a training; one that is under way is given up. The number of the model that comes of it.
    pub(super) fn train(&self, view: Option<(usize, Rect)>) -> Result<u64> {
        if let Some((image, rect)) = &view {
            rect.check(self.project.image(*image)?.size)?;
        }
        let mut state = locked(&self.state);
        state.number += 1;
        state.stop.store(true, Ordering::Relaxed);
        state.stop = Arc::default();
        state.scoring = None;
        state.training = Some(Request { number: state.number, view });
        self.wake.notify_all();
        Ok(state.number)
    }

    /// Says that an image is shown: its features are computed before they are wanted.
    pub(super) fn show(&self, image: usize) {
        locked(&self.state).shown = Some(image);
        self.wake.notify_all();
    }

    /// The model of a number, the newest if left out; `None` if there is none, or no longer.
    pub(super) fn model(&self, number: Option<u64>) -> Option<Arc<Trained>> {
        let models = locked(&self.models);
        let is_it = |model: &&Arc<Trained>| number.is_none_or(|number| model.summary.number == number);
        models.iter().rev().find(is_it).cloned()
    }

    /// To be held while a page waits for an answer.
    pub(super) fn waiting(&self) -> Waiting<'_> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.asked)
    }

    /// Lets pages go first.
    fn give_way(&self, stop: &AtomicBool) {
        while self.asked.load(Ordering::Relaxed) > 0 && !stop.load(Ordering::Relaxed) {
            thread::sleep(PAUSE);
        }
    }

    /// What there is to do next of one kind; `None` once all is over.
    fn next<T>(&self, take: impl Fn(&mut State) -> Option<T>) -> Option<(T, Arc<AtomicBool>)> {
        let mut state = locked(&self.state);
        loop {
            if state.closed {
                return None;
            }
            if let Some(found) = take(&mut state) {
                return Some((found, Arc::clone(&state.stop)));
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn train_all(&self) {
        let mut picked = Picked::default();
        let work = |state: &mut State| {
            let training = state.training.take().map(Work::Train);
            training.or_else(|| state.shown.take().map(Work::Warm))
        };
        while let Some((work, stop)) = self.next(work) {
            match work {
                Work::Train(request) => {
                    let train = || self.train_once(request, &mut picked, &stop);
                    if catch_unwind(AssertUnwindSafe(train)).is_err() {
                        picked = Picked::default();
                        self.broken(request, &stop);
                    }
                }
                // Whoever needs the window meets a panic again, and tells it.
                Work::Warm(image) => drop(catch_unwind(AssertUnwindSafe(|| self.warm(image, &stop)))),
            }
        }
    }

    /// Tells that a training panicked, such as for want of memory on the device.
    fn broken(&self, request: Request, stop: &AtomicBool) {
        let course = Course { engine: self, number: request.number, began: Instant::now(), stop };
        let text =
            "the training failed with an internal error; the operator finds details in the server's standard error";
        course.tell(TrainingState::Failed, (0, 0), Some(text.into()));
    }

    fn train_once(&self, request: Request, picked: &mut Picked, stop: &AtomicBool) {
        let course = Course { engine: self, number: request.number, began: Instant::now(), stop };
        match course.run(picked) {
            Ok(Some(model)) => self.publish(model, &course),
            Ok(None) => return,
            Err(error) => course.tell(TrainingState::Failed, (0, 0), Some(error.to_string())),
        }
        if let Some((image, _)) = request.view {
            self.warm(image, stop);
        }
    }

    fn publish(&self, model: Trained, course: &Course<'_>) {
        let model = Arc::new(model);
        let mut models = locked(&self.models);
        models.push_back(Arc::clone(&model));
        if models.len() > MODELS {
            models.pop_front();
        }
        drop(models);
        course.tell(TrainingState::Ready, (1, 1), None);
        let mut state = locked(&self.state);
        if !course.is_over() {
            state.scoring = Some(model);
            self.wake.notify_all();
        }
    }

    /// Computes what is missing of the image that is shown, as long as nothing else is wanted and there is room.
    fn warm(&self, image: usize, stop: &AtomicBool) {
        let Ok(windows) = self.store.windows(image) else { return };
        for window in 0..windows.len() {
            self.give_way(stop);
            let is_left = locked(&self.state).shown.is_some();
            if stop.load(Ordering::Relaxed)
                || is_left
                || (self.store.kept((image, window)).is_none() && self.store.is_full())
            {
                return;
            }
            // A fault is told to whoever needs this window; where nothing is kept, this is of no use.
            if self.store.window((image, window)).is_err() || self.store.kept((image, window)).is_none() {
                return;
            }
        }
    }

    fn score_all(&self) {
        // One thread: the page that is asked meanwhile has the others.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        while let Some((model, stop)) = self.next(|state| state.scoring.take()) {
            let until = Instant::now() + PATIENCE;
            while Instant::now() < until && !stop.load(Ordering::Relaxed) {
                thread::sleep(PAUSE);
            }
            let sink = |_: Event| self.give_way(&stop);
            let (settings, classes) = (&self.settings, model.dataset.class_count());
            let fitting = Fitting { settings, classes, stop: &stop, sink: &sink };
            let score = || Score::of(&fitting, &model.samples, self.seed);
            let found = || pool.as_ref().map_or_else(|_| score(), |pool| pool.install(score));
            // What cannot be scored is still a model.
            let found = match catch_unwind(AssertUnwindSafe(found)) {
                Ok(Ok(found)) => found,
                Ok(Err(fault)) => Some(Score::failed(fault.to_string())),
                Err(_) => Some(Score::failed("an internal error".into())),
            };
            if let Some(found) = found.filter(|_| !stop.load(Ordering::Relaxed)) {
                model.set_score(found);
                self.project.tell(LabelEvent::Score { number: model.summary.number });
            }
        }
    }
}

/// One training.
struct Course<'a> {
    engine: &'a Engine,
    number: u64,
    began: Instant,
    stop: &'a AtomicBool,
}

impl Course<'_> {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn tell(&self, state: TrainingState, (done, total): (usize, usize), error: Option<String>) {
        let seconds = self.began.elapsed().as_secs_f64();
        let number = self.number;
        let progress = Progress { state, done, total, number, seconds, error };
        if !self.is_over() {
            self.engine.project.tell(LabelEvent::Training(progress));
        }
    }

    /// Learns from all labels; `None` if it was given up.
    fn run(&self, picked: &mut Picked) -> Result<Option<Trained>> {
        let Engine { store, most, seed, .. } = self.engine;
        let began = SystemTime::now();
        self.tell(TrainingState::Features, (0, 1), None);
        let (snapshots, painted) = self.snapshot();
        let dataset = classes::dataset(&painted, &store.dataset);
        let class_of = class_of(painted.iter().map(|class| class.value));
        let all = picked.labelled(&snapshots, &class_of, store, (*most, *seed))?;
        let reports = reports(&all, &painted)?;
        let progress = |done, total| self.tell(TrainingState::Features, (done, total), None);
        let Some(samples) = picked.samples(&all, store, &|| self.is_over(), &progress)? else { return Ok(None) };
        let featured = self.began.elapsed().as_secs_f64();
        let Some(forest) = self.fit(&samples, painted.len())? else { return Ok(None) };
        let seconds = self.began.elapsed().as_secs_f64();
        Ok(Some(Trained {
            summary: Summary { number: self.number, seconds, images: all.images(), labelled: all.total },
            forest,
            dataset,
            samples,
            classes: reports,
            began,
            feature_seconds: featured,
            fit_seconds: seconds - featured,
            score: Mutex::default(),
        }))
    }

    fn fit(&self, samples: &Samples, classes: usize) -> Result<Option<crate::pixels::forest::Forest>> {
        let trees = self.engine.settings.trees;
        let step = trees.div_ceil(10).max(1);
        let sink = |event: Event| {
            if let Event::Advanced { done, .. } = event
                && done % step == 0
            {
                self.tell(TrainingState::Fitting, (done, trees), None);
            }
        };
        let fitting = Fitting { settings: &self.engine.settings, classes, stop: self.stop, sink: &sink };
        Ok(fitting.fit(samples, "all pixels")?.map(|fitted| fitted.forest))
    }

    /// The labels of all images that have some, and the classes.
    fn snapshot(&self) -> (Vec<Snapshot>, Vec<LabelClass>) {
        let project = &self.engine.project;
        let classes = project.classes();
        let of = |image: usize| {
            let raster = project.raster(image);
            let values = raster.values.clone()?;
            Some(Snapshot { image, size: raster.size, values, revisions: [raster.revision, classes.revision] })
        };
        ((0..project.place.images.len()).filter_map(of).collect(), classes.classes.clone())
    }
}

/// Labelled pixels and regions of every class; an error in words if nothing can be learnt from them.
fn reports(all: &AllLabelled, classes: &[LabelClass]) -> Result<Vec<ClassReport>> {
    let report = |(i, class): (usize, &LabelClass)| ClassReport {
        name: class.name.clone(),
        pixels: all.pixels_of(i),
        regions: all.regions_of(i),
    };
    let reports: Vec<ClassReport> = classes.iter().enumerate().map(report).collect();
    let mut present = reports.iter().filter(|report| report.pixels > 0);
    match (present.next(), present.next()) {
        (None, _) => Err(Error::no_data("nothing is labelled yet", "paint some pixels of two classes or more")),
        (Some(only), None) => {
            let missing = format!("all labelled pixels are of class '{}'", only.name);
            Err(Error::no_data(missing, "paint some of another class, too"))
        }
        _ => Ok(reports),
    }
}
