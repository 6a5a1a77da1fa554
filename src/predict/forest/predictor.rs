//! Label maps of whole images by a forest.

use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use rayon::prelude::*;

use super::budget::{BLOCK, Budget, Limits};
use crate::base::event::{Event, Sink, Stretch, Task};
use crate::base::files::read_bytes;
use crate::base::{Error, Result, Size};
use crate::data::{Dataset, chosen_bands, load_bands, prepared};
use crate::image::{Image, orientation_policy, read_size};
use crate::nn::device::DeviceChoice;
use crate::nn::model::Checksum;
use crate::pixels::forest::{Features, Forest};
use crate::pixels::hypercolumn::{FeatureCache, Hypercolumns, PreparedImage, Window, WindowFeatures};
use crate::predict::merge::{Decision, Wanted};
use crate::predict::model::{Computed, Form, Handle, Model, Part, Pending, Work};
use crate::predict::network::{Procedure, Tiles};
use crate::predict::{Maker, Options, Prediction};
use crate::recipe::Kind;
use crate::run::ForestRun;
use crate::weights;

/// A forest with what gives it its features.
#[derive(Debug)]
pub(crate) struct ForestPredictor {
    /// Where it comes from.
    source: String,
    hypercolumns: Hypercolumns,
    forest: Forest,
    dataset: Arc<Dataset>,
    device: DeviceChoice,
}

impl ForestPredictor {
    /// Of what is at hand; features are computed on `device`.
    pub(crate) fn new(hypercolumns: Hypercolumns, forest: Forest, dataset: Dataset, device: DeviceChoice) -> Self {
        Self { source: "a forest in memory".into(), hypercolumns, forest, dataset: Arc::new(dataset), device }
    }

    /// Loads forest and encoder of a run; features are computed on `device`.
    pub(crate) fn open(run: &ForestRun, device: DeviceChoice) -> Result<Self> {
        let path = run.forest_path();
        if !path.exists() {
            let reason = "the run has no forest.bin: its training did not finish; train again with `overwrite`";
            return Err(Error::content(run.folder(), reason));
        }
        let forest = Forest::read(&read_bytes(&path)?).map_err(|reason| Error::content(&path, reason))?;
        let dataset = run.config.dataset.clone();
        dataset.follow_orientation();
        let config = &run.config.recipe.features;
        let device = device.resolve()?;
        let opened = device.open()?;
        let encoder = config.encoder.hollow(dataset.bands, &config.taps, &opened)?;
        let encoder = weights::load(encoder, &run.encoder_path())?;
        let hypercolumns = Hypercolumns::new(config.clone(), encoder, dataset.bands, opened)?;
        let (features, classes) = (hypercolumns.features(), dataset.class_count());
        if (forest.features(), forest.classes()) != (features, classes) {
            let reason = format!(
                "has {} features and {} classes, but the run's config.json has {features} and {classes}; they do not \
                     belong together; train again",
                forest.features(),
                forest.classes()
            );
            return Err(Error::content(&path, reason));
        }
        let source = format!("run {}", run.folder().display());
        Ok(Self { source, hypercolumns, forest, dataset: Arc::new(dataset), device })
    }

    /// The forest.
    pub(crate) fn forest(&self) -> &Forest {
        &self.forest
    }

    /// What windows may take; `stored` says whether features are kept.
    fn budget(&self, options: &Options, stored: bool) -> Result<Budget> {
        let limits = Limits { memory: options.memory, side: side(&options.procedure)?, stored };
        Ok(Budget::new(self.hypercolumns.config(), self.dataset.bands, self.device, limits))
    }

    /// Bytes of a prediction until it is written.
    fn held(&self, size: Size, wanted: Wanted) -> u64 {
        let classes = self.dataset.class_count() as u64;
        let all = if wanted.all { 2 * 4 * classes } else { 0 };
        // Classes, label values and what is encoded from them; the image and its colours, where they are drawn.
        (size.width * size.height) as u64 * (2 + 2 + 2 + 6 + if wanted.highest { 4 } else { 0 } + all)
    }

    /// Classes and probabilities of a prepared image, window by window; `done` is called after each.
    fn decide_on(
        &self,
        path: &Path,
        image: &Image,
        windows: &[Window],
        (wanted, cache): (Wanted, Option<&FeatureCache>),
        done: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Decision> {
        let layout = self.hypercolumns.layout(image.size);
        let size = image.size;
        let image = PreparedImage::new(path, image, &self.dataset)?;
        let stored = cache.map(|cache| cache.image(&self.hypercolumns, &image)).transpose()?;
        let mut canvas = Canvas::new(size, self.dataset.class_count(), wanted);
        for window in windows {
            let seen = self.hypercolumns.recall(stored.as_ref(), &image, &layout, window)?;
            let decided: Vec<(Window, Decided)> = blocks(window)
                .into_par_iter()
                .map(|block| decide(&self.forest, &seen, &block, wanted).map(|decided| (block, decided)))
                .collect::<Result<_>>()?;
            decided.iter().for_each(|(block, decided)| canvas.paint(block, decided));
            done()?;
        }
        Ok(canvas.decision)
    }
}

/// What a forest says of a block.
pub(crate) struct Decided {
    pub(crate) classes: Vec<u16>,
    /// `[pixels, classes]`, or nothing.
    pub(crate) probabilities: Vec<f32>,
}

/// Classes, and probabilities where they are wanted, of a block of pixels.
pub(crate) fn decide(forest: &Forest, seen: &WindowFeatures, block: &Window, wanted: Wanted) -> Result<Decided> {
    let (pixels, features) = (block.pixels(), seen.features());
    let mut planes = vec![0.0; features * pixels];
    seen.fill(block.rows.clone(), block.columns.clone(), &mut planes, pixels);
    let view = Features::planes(&planes, features, pixels, pixels)?;
    if !wanted.highest && !wanted.all {
        return Ok(Decided { classes: forest.predict(&view)?, probabilities: Vec::new() });
    }
    let (classes, probabilities) = forest.predict_with_probabilities(&view)?;
    Ok(Decided { classes, probabilities })
}

/// Blocks of a window that threads take one after another.
pub(crate) fn blocks(window: &Window) -> Vec<Window> {
    let wide = window.columns.len().clamp(1, BLOCK);
    let tall = (BLOCK / wide).max(1);
    let steps = |range: &Range<usize>, step: usize| -> Vec<Range<usize>> {
        range.clone().step_by(step).map(|start| start..range.end.min(start + step)).collect()
    };
    let columns = steps(&window.columns, wide);
    let across =
        |rows: Range<usize>| columns.iter().map(move |columns| Window { rows: rows.clone(), columns: columns.clone() });
    steps(&window.rows, tall).into_iter().flat_map(across).collect()
}

/// A decision that fills up block by block.
struct Canvas {
    decision: Decision,
    size: Size,
    classes: usize,
}

impl Canvas {
    fn new(size: Size, classes: usize, wanted: Wanted) -> Self {
        Self { decision: Decision::blank(size.width * size.height, classes, wanted), size, classes }
    }

    fn paint(&mut self, block: &Window, decided: &Decided) {
        let Size { width, height } = self.size;
        let wide = block.columns.len();
        for (i, row) in block.rows.clone().enumerate() {
            let start = row * width + block.columns.start;
            let classes = &decided.classes[i * wide..(i + 1) * wide];
            self.decision.classes[start..start + wide].copy_from_slice(classes);
            for column in 0..wide {
                let pixel = i * wide + column;
                if let Some(highest) = &mut self.decision.highest {
                    highest[start + column] =
                        decided.probabilities[pixel * self.classes + usize::from(classes[column])];
                }
                if let Some(all) = &mut self.decision.all {
                    let own = &decided.probabilities[pixel * self.classes..][..self.classes];
                    let planes = all.chunks_exact_mut(width * height);
                    planes.zip(own).for_each(|(plane, probability)| plane[start + column] = *probability);
                }
            }
        }
    }
}

impl Model for ForestPredictor {
    fn kind(&self) -> Kind {
        Kind::Forest
    }

    fn dataset(&self) -> &Arc<Dataset> {
        &self.dataset
    }

    fn maker(&self, options: &Options) -> Result<Maker> {
        let mut checksum = Checksum::default();
        let written = checksum.write_all(self.hypercolumns.checksum().as_bytes());
        written.and_then(|()| self.forest.write(&mut checksum)).map_err(|e| Error::failed("write the forest", e))?;
        let options = format!("every pixel; orientation {}{}", orientation_policy(), options.bands_in_words());
        Ok(Maker::new(self.source.clone(), checksum.hex(), &self.dataset, options))
    }

    fn set_threshold(&mut self, _threshold: f64) -> Result<()> {
        Err(Error::conflict(
            "threshold",
            "applies only to networks with a sigmoid; a random forest predicts the most probable class, so leave it out",
        ))
    }

    fn largest_tile(&self, _options: &Options) -> Result<usize> {
        let reason = "auto is for networks: a random forest always fits its windows to the memory; leave it out";
        Err(Error::conflict("tile", reason))
    }

    fn check_memory(&self, path: &Path, size: Size, options: &Options) -> Result<()> {
        self.budget(options, false)?.windows(path, size, self.held(size, options.wanted)).map(drop)
    }

    fn work<'a>(&'a self, options: &'a Options, stop: Option<&'a AtomicBool>) -> Result<Box<dyn Work + 'a>> {
        let cache = options.cache_features.as_deref().map(FeatureCache::open).transpose()?;
        let budget = self.budget(options, cache.is_some())?;
        let bands = options.bands.as_deref();
        Ok(Box::new(ForestWork { predictor: self, budget, wanted: options.wanted, bands, cache, stop }))
    }
}

/// The side of the windows, the only part of a procedure that a forest has.
fn side(procedure: &Procedure) -> Result<Option<usize>> {
    let side = procedure.tiles.map(|tiles| tiles.side);
    let plain = Procedure { tiles: side.map(Tiles::two_thirds_apart), ..Procedure::default() };
    if *procedure == plain {
        return Ok(side);
    }
    let reason = "has no effect except for the side of `tile`: a random forest classifies every pixel at the image's own \
                  resolution; leave `scales`, `resize`, `flip`, `stride`, `overlap`, `blend` and `upsample` out";
    Err(Error::conflict("procedure", reason))
}

/// A forest at work.
struct ForestWork<'a> {
    predictor: &'a ForestPredictor,
    budget: Budget,
    wanted: Wanted,
    bands: Option<&'a [usize]>,
    cache: Option<FeatureCache>,
    stop: Option<&'a AtomicBool>,
}

impl ForestWork<'_> {
    fn windows(&self, path: &Path, size: Size) -> Result<Vec<Window>> {
        self.budget.windows(path, size, self.predictor.held(size, self.wanted))
    }

    fn decide(&self, path: &Path, image: &Image, done: &mut dyn FnMut() -> Result<()>) -> Result<Pending> {
        let windows = self.windows(path, image.size)?;
        let cached = (self.wanted, self.cache.as_ref());
        Ok(Pending {
            size: image.size,
            computed: Computed::Decided(self.predictor.decide_on(path, image, &windows, cached, done)?),
            wanted: self.wanted,
            nodata: image.nodata.clone(),
            dataset: Arc::clone(&self.predictor.dataset),
            shown: None,
            reserved: None,
        })
    }
}

impl Work for ForestWork<'_> {
    fn one(&self, name: &Path, image: Image) -> Result<Prediction> {
        self.windows(name, image.size)?;
        let image = chosen_bands(name, image, self.bands)?;
        Ok(self.decide(name, &prepared(name, image, &self.predictor.dataset)?, &mut || Ok(()))?.finish())
    }

    fn each(&self, inputs: &[PathBuf], form: Form, sink: &dyn Sink, handle: &mut Handle<'_>) -> Result<usize> {
        // An image whose size cannot be told beforehand counts as one window.
        let planned =
            |path: &PathBuf| read_size(path).map_or(1, |size| self.windows(path, size).map_or(1, |all| all.len()));
        let planned: Vec<usize> = inputs.iter().map(planned).collect();
        let stretch = Stretch::begin(sink, Task::Predict, planned.iter().sum());
        let (mut skipped, mut done, mut after) = (0, 0, 0);
        for (i, path) in inputs.iter().enumerate() {
            after += planned[i];
            let mut read = || {
                if let Some(size) = read_size(path) {
                    self.windows(path, size)?;
                }
                let image = load_bands(path, &self.predictor.dataset, self.bands)?;
                form.check_place(path)?;
                let pending = self.decide(path, &image, &mut || {
                    done += 1;
                    stretch.advance_to(done);
                    let stopped = self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
                    if stopped { Err(Error::Stopped) } else { Ok(()) }
                })?;
                Ok(Pending { shown: form.shown.then(|| image.to_rgb(&[])), ..pending })
            };
            match read() {
                Ok(pending) => {
                    // The budget is for one image: the next one waits until this is written.
                    let (written, wait) = channel::<()>();
                    let pending = Pending { reserved: Some(Box::new(written)), ..pending };
                    let go_on = handle(i, Part::Whole(pending))?;
                    if !go_on {
                        break;
                    }
                    // An error says that the other end is gone, which is what is waited for.
                    let _ = wait.recv();
                }
                Err(Error::Stopped) => break,
                Err(error) => {
                    skipped += 1;
                    sink.event(Event::Skipped { path: path.clone(), reason: error.to_string() });
                    done = after;
                    stretch.advance_to(done);
                }
            }
        }
        Ok(skipped)
    }
}
