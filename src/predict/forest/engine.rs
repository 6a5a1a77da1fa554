//! Label maps of whole images by a forest.

use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::budget::{BLOCK, Budget, Limits};
use crate::base::event::{Event, Sink, Task};
use crate::base::files::read_bytes;
use crate::base::label_map::{IGNORE, LabelMap};
use crate::base::{Error, Result, Size};
use crate::data::{Dataset, load_raster, prepared};
use crate::image::{Image, orientation_policy, read_size, report_notes};
use crate::nn::device::DeviceChoice;
use crate::nn::model::Checksum;
use crate::pixels::forest::{Features, Forest};
use crate::pixels::hypercolumn::{FeatureCache, Hypercolumns, PreparedImage, Window, WindowFeatures};
use crate::predict::merge::Wanted;
use crate::predict::{Claim, Maker, Outputs, Prediction, Summary, Target};
use crate::run::ForestRun;
use crate::weights;

/// A forest with what gives it its features.
#[derive(Debug)]
pub struct ForestPredictor {
    /// Where it comes from.
    source: String,
    hypercolumns: Hypercolumns,
    forest: Forest,
    dataset: Dataset,
    device: DeviceChoice,
}

/// How images are gone over.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Most bytes to hold; what is free on this machine if left out.
    pub memory: Option<u64>,
    /// Side of the windows, if not the usual ones.
    pub side: Option<usize>,
    /// Folder to keep features in.
    pub cache: Option<PathBuf>,
}

impl ForestPredictor {
    /// Of what is at hand; features are computed on `device`.
    pub(crate) fn new(hypercolumns: Hypercolumns, forest: Forest, dataset: Dataset, device: DeviceChoice) -> Self {
        Self { source: "a forest in memory".into(), hypercolumns, forest, dataset, device }
    }

    /// Loads forest and encoder of a run; features are computed on `device`.
    pub fn open(run: &ForestRun, device: DeviceChoice) -> Result<Self> {
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
                "is of {} features and {} classes, the run's config.json of {features} and {classes}; they do not \
                     belong together, train again",
                forest.features(),
                forest.classes()
            );
            return Err(Error::content(&path, reason));
        }
        let source = format!("run {}", run.folder().display());
        Ok(Self { source, hypercolumns, forest, dataset, device })
    }

    /// The forest.
    pub fn forest(&self) -> &Forest {
        &self.forest
    }

    /// What images it takes and what its classes mean.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// What makes the predictions. Devices and windows, which change no more than roundings, do not count.
    pub fn maker(&self) -> Result<Maker> {
        let mut checksum = Checksum::default();
        let written = checksum.write_all(self.hypercolumns.checksum().as_bytes());
        written
            .and_then(|()| self.forest.write(&mut checksum))
            .map_err(|e| Error::failed("take the checksum of the forest", e))?;
        let options = format!("every pixel; orientation {}", orientation_policy());
        Ok(Maker::new(self.source.clone(), checksum.hex(), &self.dataset, options))
    }

    fn budget(&self, options: &Options) -> Budget {
        let config = self.hypercolumns.config();
        let limits = Limits { memory: options.memory, side: options.side, stored: options.cache.is_some() };
        Budget::new(config, self.dataset.bands, self.device, limits)
    }

    /// Predicts an image that has been decoded; `path` is where it comes from.
    pub fn predict(&self, path: &Path, raster: &Image, wanted: Wanted, options: &Options) -> Result<Prediction> {
        let windows = self.budget(options).windows(path, raster.size, self.held(raster.size, wanted))?;
        let cache = options.cache.as_deref().map(FeatureCache::open).transpose()?;
        let raster = prepared(path, raster.clone(), &self.dataset)?;
        self.predict_in(path, &raster, &windows, wanted, cache.as_ref(), &mut || Ok(()))
    }

    /// Bytes of a prediction until it is written.
    fn held(&self, size: Size, wanted: Wanted) -> u64 {
        let classes = self.dataset.class_count() as u64;
        let all = if wanted.all { 2 * 4 * classes } else { 0 };
        // Classes, label values and what is encoded from them; the image and its colours, where they are drawn.
        (size.width * size.height) as u64 * (2 + 2 + 2 + 6 + if wanted.highest { 4 } else { 0 } + all)
    }

    fn predict_in(
        &self,
        path: &Path,
        raster: &Image,
        windows: &[Window],
        wanted: Wanted,
        cache: Option<&FeatureCache>,
        done: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Prediction> {
        let layout = self.hypercolumns.layout(raster.size);
        let image = PreparedImage::new(path, raster, &self.dataset)?;
        let stored = cache.map(|cache| cache.image(&self.hypercolumns, &image)).transpose()?;
        let mut canvas = Canvas::new(raster.size, self.dataset.class_count(), wanted);
        for window in windows {
            let seen = self.hypercolumns.recall(stored.as_ref(), &image, &layout, window)?;
            let decided: Vec<(Window, Decided)> = blocks(window)
                .into_par_iter()
                .map(|block| self.decide(&seen, &block, wanted).map(|decided| (block, decided)))
                .collect::<Result<_>>()?;
            decided.iter().for_each(|(block, decided)| canvas.paint(block, decided));
            done()?;
        }
        let mut prediction = canvas.prediction;
        prediction.leave_out(raster.nodata.as_deref());
        Ok(prediction)
    }

    /// Classes, and probabilities where they are wanted, of a block of pixels.
    fn decide(&self, seen: &WindowFeatures, block: &Window, wanted: Wanted) -> Result<Decided> {
        let (pixels, features) = (block.pixels(), seen.features());
        let mut planes = vec![0.0; features * pixels];
        seen.fill(block.rows.clone(), block.columns.clone(), &mut planes, pixels);
        let view = Features::planes(&planes, features, pixels, pixels)?;
        if !wanted.highest && !wanted.all {
            return Ok(Decided { classes: self.forest.predict(&view)?, probabilities: Vec::new() });
        }
        let (classes, probabilities) = self.forest.predict_with_probabilities(&view)?;
        Ok(Decided { classes, probabilities })
    }
}

/// What a forest says of a block.
struct Decided {
    classes: Vec<u16>,
    /// `[pixels, classes]`, or nothing.
    probabilities: Vec<f32>,
}

/// Blocks of a window that threads take one after another.
fn blocks(window: &Window) -> Vec<Window> {
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

/// A prediction that fills up block by block.
struct Canvas {
    prediction: Prediction,
    classes: usize,
}

impl Canvas {
    pub(crate) fn new(size: Size, classes: usize, wanted: Wanted) -> Self {
        let pixels = size.width * size.height;
        let prediction = Prediction {
            labels: LabelMap { size, classes: vec![IGNORE; pixels] },
            probability: wanted.highest.then(|| vec![0.0; pixels]),
            probabilities: wanted.all.then(|| vec![0.0; classes * pixels]),
        };
        Self { prediction, classes }
    }

    fn paint(&mut self, block: &Window, decided: &Decided) {
        let Size { width, height } = self.prediction.labels.size;
        let wide = block.columns.len();
        for (i, row) in block.rows.clone().enumerate() {
            let start = row * width + block.columns.start;
            let classes = &decided.classes[i * wide..(i + 1) * wide];
            self.prediction.labels.classes[start..start + wide].copy_from_slice(classes);
            for column in 0..wide {
                let pixel = i * wide + column;
                if let Some(highest) = &mut self.prediction.probability {
                    highest[start + column] =
                        decided.probabilities[pixel * self.classes + usize::from(classes[column])];
                }
                if let Some(all) = &mut self.prediction.probabilities {
                    let own = &decided.probabilities[pixel * self.classes..][..self.classes];
                    let planes = all.chunks_exact_mut(width * height);
                    planes.zip(own).for_each(|(plane, probability)| plane[start + column] = *probability);
                }
            }
        }
    }
}

/// Predicts files and writes what `outputs` says for each into the folder of `target`, `predictions.json`, which says what
/// made them, and `predictions.txt`, the list of what was written. An image that cannot be read, or for which the memory does
/// not suffice, is reported and left out; a result that cannot be written ends the work.
///
/// # Errors
/// Among others: a result would take the place of an input, or of a file that `target` does not let go.
pub fn predict_files(
    predictor: &ForestPredictor,
    inputs: &[PathBuf],
    target: &Target<'_>,
    outputs: &Outputs,
    options: &Options,
    sink: &dyn Sink,
) -> Result<Summary> {
    let maker = predictor.maker()?;
    let mut claim = Claim::new(target, inputs, outputs, &maker)?;
    let cache = options.cache.as_deref().map(FeatureCache::open).transpose()?;
    claim.begin(sink)?;
    let (budget, wanted) = (predictor.budget(options), outputs.wanted());
    let windows = |path: &Path, size: Size| budget.windows(path, size, predictor.held(size, wanted));
    // An image whose size cannot be told beforehand counts as one window.
    let planned = |path: &PathBuf| read_size(path).map_or(1, |size| windows(path, size).map_or(1, |all| all.len()));
    sink.event(Event::Started { task: Task::Predict, total: inputs.iter().map(planned).sum(), done: 0 });
    let (mut summary, mut done) = (Summary::default(), 0);
    for path in inputs {
        let mut read = || {
            let raster = match read_size(path) {
                Some(size) => windows(path, size).and_then(|_| load_raster(path, &predictor.dataset))?,
                None => load_raster(path, &predictor.dataset)?,
            };
            let windows = windows(path, raster.size)?;
            let mut advance = || {
                done += 1;
                sink.event(Event::Advanced { done, loss: None });
                if target.is_stopped() { Err(Error::Stopped) } else { Ok(()) }
            };
            let prediction = predictor.predict_in(path, &raster, &windows, wanted, cache.as_ref(), &mut advance)?;
            Ok((prediction, outputs.show_image().then(|| raster.to_rgb(&[]))))
        };
        match read() {
            Ok((prediction, shown)) => {
                summary.written.push(outputs.write(&predictor.dataset, path, &prediction, shown, target.folder)?);
            }
            Err(Error::Stopped) => {}
            Err(error @ Error::Write { .. }) => return Err(error),
            Err(error) => {
                summary.skipped += 1;
                sink.event(Event::Skipped { path: path.clone(), reason: error.to_string() });
            }
        }
        if target.is_stopped() {
            break;
        }
    }
    sink.event(Event::Finished);
    report_notes(sink);
    summary.stopped = target.is_stopped() && summary.written.len() + summary.skipped < inputs.len();
    claim.finish(&summary.written, !summary.stopped, sink)?;
    Ok(summary)
}
