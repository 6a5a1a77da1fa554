//! Label mode without HTTP: labels, trainings, predictions, results.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use image::RgbImage;
use serde::Serialize;
use tokio::sync::broadcast;

use super::classes::LabelClass;
use super::engine::{Engine, MOST_PIXELS};
use super::events::LabelEvent;
use super::features::FeatureStore;
use super::fill::as_labels;
use super::input::{Input, usual_dataset};
use super::model::{PartPrediction, Summary, Trained};
use super::options::LabelOptions;
use super::patch::Rect;
use super::place::Place;
use super::project::{Change, Classes, Patched, Project, Reclassed};
use super::save::save_run;
use super::score::ShownScore;
use super::store::read_classes;
use super::suggest::{Suggestion, suggestions};
use crate::base::event::Sink;
use crate::base::{Error, Result, Size, locked, path_text};
use crate::data::{Dataset, displayed, shell_word};
use crate::image::{orientation_policy, read_image};
use crate::nn::device::DeviceChoice;
use crate::predict::Prediction;
use crate::run::RunLock;

/// Most pixels of a side of a thumbnail.
const THUMBNAIL: u32 = 256;
/// How long threads have to end, and how often that is looked at.
const GRACE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);
/// Most places that are suggested at a time.
const SUGGESTIONS: usize = 100;

/// A folder of images that is being labelled. No other process labels it while this lives.
pub struct Labelling {
    project: Arc<Project>,
    engine: Arc<Engine>,
    input: Input,
    device: DeviceChoice,
    seed: u64,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Whether label images of all images were seen to.
    completed: Once,
    stopped: Arc<AtomicBool>,
}

impl fmt::Debug for Labelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Labelling").field("place", &self.project.place).finish_non_exhaustive()
    }
}

/// All that a page begins with.
#[derive(Debug, Clone, Serialize)]
pub struct Overview {
    /// What is labelled.
    pub folder: String,
    /// Name of the recipe.
    pub recipe: String,
    /// The images.
    pub images: Vec<ImageOverview>,
    /// What is painted.
    pub classes: Vec<LabelClass>,
    /// Their revision.
    pub classes_revision: u64,
    /// The newest model.
    pub model: Option<Summary>,
    /// Models whose predictions may be corrected; the server knows them.
    pub models: Vec<String>,
    /// Where labels are.
    #[serde(serialize_with = "path_text::one")]
    pub labels_folder: PathBuf,
    /// Where the forest is saved.
    #[serde(serialize_with = "path_text::one")]
    pub run_folder: PathBuf,
}

/// An image.
#[derive(Debug, Clone, Serialize)]
pub struct ImageOverview {
    /// Its index.
    pub id: usize,
    /// Its file.
    pub name: String,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Labelled pixels.
    pub labelled: usize,
    /// Revision of its labels.
    pub revision: u64,
}

/// What was saved where.
#[derive(Debug, Clone, Serialize)]
pub struct Saved {
    /// The run folder, if there was a model.
    #[serde(serialize_with = "path_text::optional")]
    pub run: Option<PathBuf>,
    /// The folder of the label images.
    #[serde(serialize_with = "path_text::one")]
    pub labels: PathBuf,
    /// What these mean.
    #[serde(serialize_with = "path_text::one")]
    pub dataset: PathBuf,
    /// The same labels as a table.
    #[serde(serialize_with = "path_text::one")]
    pub csv: PathBuf,
    /// What predicts further images, if there was a model.
    pub command: Option<String>,
}

impl Labelling {
    /// Opens a folder of images with the labels that it has.
    pub fn with(options: &LabelOptions, sink: &dyn Sink) -> Result<Self> {
        let place = Place::find(&options.images, options.labels.as_deref(), sink)?;
        let lock = RunLock::acquire_for(&place.labels, "labelled")?;
        let usual = usual_dataset(&options.recipe)?;
        let (classes, saved) = read_classes(&place, &usual)?;
        if let Some(saved) = &saved {
            check_orientation(saved, &place)?;
        }
        let mut input = Input::settle(options, &place, (saved, usual), sink)?;
        // A training with the recipe of the run is this one.
        input.recipe.max_pixels = input.recipe.max_pixels.min(MOST_PIXELS);
        let device = options.device.resolve()?;
        let store = FeatureStore::new(&input, &place, options, device)?;
        let (settings, most) = (input.recipe.forest.clone(), input.recipe.max_pixels);
        let project = Arc::new(Project::open(place, classes, input.dataset.clone(), lock)?);
        let engine = Arc::new(Engine::new(Arc::clone(&project), store, settings, most, options.seed));
        let threads = Mutex::new(engine.start()?);
        let (completed, stopped) = (Once::new(), Arc::default());
        let new = Self { project, engine, input, device, seed: options.seed, threads, completed, stopped };
        if new.overview().images.iter().any(|image| image.labelled > 0) {
            new.complete();
        }
        Ok(new)
    }

    /// What a page begins with.
    pub fn overview(&self) -> Overview {
        let place = &self.project.place;
        let image = |(id, file): (usize, &super::place::ImageFile)| {
            let raster = self.project.raster(id);
            let Size { width, height } = file.size;
            ImageOverview { id, name: file.name(), width, height, labelled: raster.labelled, revision: raster.revision }
        };
        let Classes { revision, classes } = self.project.classes().clone();
        Overview {
            folder: place.name(),
            recipe: self.input.recipe.name.clone(),
            images: place.images.iter().enumerate().map(image).collect(),
            classes,
            classes_revision: revision,
            model: self.engine.model(None).map(|model| model.summary.clone()),
            models: Vec::new(),
            labels_folder: place.labels.clone(),
            run_folder: place.run(),
        }
    }

    /// Tells of everything that changes from now on.
    pub fn events(&self) -> broadcast::Receiver<LabelEvent> {
        self.project.events().subscribe()
    }

    /// An image as people see it.
    pub fn shown(&self, image: usize) -> Result<RgbImage> {
        let file = self.project.image(image)?;
        let dataset = &self.engine.store.dataset;
        Ok(displayed(read_image(&file.path)?, dataset.bands, &dataset.nodata_numbers()))
    }

    /// A small one of it.
    pub fn thumbnail(&self, image: usize) -> Result<RgbImage> {
        let shown = self.shown(image)?;
        let longest = shown.width().max(shown.height());
        if longest <= THUMBNAIL {
            return Ok(shown);
        }
        let side = |side: u32| (u64::from(side) * u64::from(THUMBNAIL) / u64::from(longest)).max(1) as u32;
        Ok(image::imageops::thumbnail(&shown, side(shown.width()), side(shown.height())))
    }

    /// The labels of an image, a value a pixel, and their revision.
    pub fn labels(&self, image: usize) -> Result<(Arc<Vec<u8>>, u64)> {
        let labels = self.project.labels(image)?;
        self.engine.show(image);
        Ok(labels)
    }

    /// Changes labels of an image. They are on disk when this returns.
    pub fn change(&self, image: usize, change: &Change) -> Result<Patched> {
        let done = self.project.change(image, change)?;
        self.complete();
        Ok(done)
    }

    /// Writes an empty label image for each image that has none, in the background, once.
    fn complete(&self) {
        self.completed.call_once(|| {
            let (project, stopped) = (Arc::clone(&self.project), Arc::clone(&self.stopped));
            // Saving does what fails here, and tells.
            let work = move || _ = project.complete(&stopped);
            locked(&self.threads).push(thread::spawn(work));
        });
    }

    /// Puts other classes in the place of those of a revision.
    pub fn reclass(&self, revision: u64, classes: Vec<LabelClass>, drop_pixels: bool) -> Result<Reclassed> {
        self.project.reclass(revision, classes, drop_pixels)
    }

    /// Asks for a training, of which events tell; the number of its model. `view` is the part of an image that is shown.
    pub fn train(&self, view: Option<(usize, Rect)>) -> Result<u64> {
        self.engine.train(view)
    }

    /// A model by its number; the newest if that is left out.
    fn model(&self, number: Option<u64>) -> Result<Arc<Trained>> {
        self.engine.model(number).ok_or_else(|| match number {
            Some(number) => {
                Error::no_data(format!("model {number} is not there, or no longer"), "ask for the newest one, or train")
            }
            None => Error::no_data("there is no model yet", "label two classes or more, and train"),
        })
    }

    /// What a model says of a part of an image, and the model's number.
    pub fn prediction(&self, image: usize, number: Option<u64>, rect: Option<Rect>) -> Result<(PartPrediction, u64)> {
        let size = self.project.image(image)?.size;
        let rect = rect.unwrap_or_else(|| Rect::whole(size));
        rect.check(size)?;
        let model = self.model(number)?;
        let _waiting = self.engine.waiting();
        Ok((model.predict(&self.engine.store, image, &rect)?, model.summary.number))
    }

    /// Where to label next.
    pub fn suggestions(&self, image: usize, number: Option<u64>, count: usize) -> Result<Vec<Suggestion>> {
        let size = self.project.image(image)?.size;
        let model = self.model(number)?;
        let (labels, _) = self.project.labels(image)?;
        suggestions(&model, &self.engine.store, (image, size), &labels, count.min(SUGGESTIONS))
    }

    /// The held-out scores of a model, as far as they are known.
    pub fn score(&self, number: Option<u64>) -> Result<ShownScore> {
        let model = self.model(number)?;
        Ok(model.score().shown(&model.dataset, &model.classes))
    }

    /// The file of an image.
    pub fn path(&self, image: usize) -> Result<&Path> {
        Ok(&self.project.image(image)?.path)
    }

    /// Another model's prediction for an image as labels to correct; nothing is changed.
    pub fn filled(&self, image: usize, prediction: &Prediction) -> Result<Vec<u8>> {
        let file = self.project.image(image)?;
        let classes = self.project.classes().classes.clone();
        as_labels(prediction, &classes, file.size, &file.path)
    }

    /// Writes the labels as images and as a table, and a run with the forest of a model, the newest if its number is left out.
    pub fn save(&self, number: Option<u64>) -> Result<Saved> {
        // One that is asked for by its number must be there before anything is written.
        let model = number.map(|number| self.model(Some(number))).transpose()?;
        self.project.save()?;
        let place = &self.project.place;
        let labels = Saved {
            labels: place.labels.clone(),
            dataset: place.dataset(),
            csv: place.table(),
            run: None,
            command: None,
        };
        let Some(model) = model.or_else(|| self.engine.model(None)) else { return Ok(labels) };
        self.check_classes(&model)?;
        save_run(&self.input, (self.seed, self.device), place, &self.engine.store, &model)?;
        let (run, output) = (place.run(), place.labels.join("predicted"));
        let [run_word, output, root] = [&run, &output, &place.root].map(|path| shell_word(path));
        let command = format!("segtool predict --run {run_word} --output-path {output} {root}");
        Ok(Saved { run: Some(run), command: Some(command), ..labels })
    }

    /// A run has the classes of the labels beside it, or is not written.
    fn check_classes(&self, model: &Trained) -> Result<()> {
        let painted = self.project.classes();
        let now = painted.classes.iter().map(|class| (u16::from(class.value), class.name.as_str()));
        let then = model.dataset.classes.iter().map(|class| (class.values[0], class.name.as_str()));
        if now.eq(then) {
            return Ok(());
        }
        let missing = "the labels are saved, but the model is not: the classes were changed after it was trained";
        Err(Error::no_data(missing, "train again, then save"))
    }
}

/// Labels fit images that are turned as they were when they were painted.
fn check_orientation(saved: &Dataset, place: &Place) -> Result<()> {
    let (then, now) = (saved.orientation.unwrap_or_default(), orientation_policy());
    if then == now {
        return Ok(());
    }
    let labels = place.labels.display();
    let reason = format!("is {now}, but the labels in {labels} were painted with {then}; set it to {then}");
    Err(Error::conflict("orientation", reason))
}

impl Labelling {
    /// Ends all trainings and the events, for good. Labels are on disk already.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.engine.close();
        self.project.tell(LabelEvent::Closed);
        let mut threads = locked(&self.threads);
        let until = Instant::now() + GRACE;
        for thread in threads.drain(..) {
            while !thread.is_finished() && Instant::now() < until {
                thread::sleep(PAUSE);
            }
            // All writes are atomic: a window or a tree that is still computed ends with the program.
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Labelling {
    fn drop(&mut self) {
        self.stop();
    }
}
