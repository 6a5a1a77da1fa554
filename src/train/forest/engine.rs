//! From labelled pixels to a run folder.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use super::evaluate::{Fitting, Split};
use super::labels::{LabelledImage, Loaded};
use super::pixels::{Labelled, Samples, Seeing};
use crate::base::event::{Event, Sink, Task};
use crate::base::files::write_atomically;
use crate::base::named_enum::classes_that;
use crate::base::{Error, Result};
use crate::data::{Dataset, StoredNumber, load_raster, measured, repeat_notes};
use crate::image::report_notes;
use crate::metric::ConfusionMatrix;
use crate::metric::Evaluation;
use crate::nn::device::DeviceChoice;
use crate::nn::model::FeatureEncoder;
use crate::pixels::forest::{Fitted, Settings};
use crate::pixels::hypercolumn::{FeatureCache, HypercolumnConfig, Hypercolumns};
use crate::predict::forest::budget::{Budget, Limits};
use crate::predict::forest::{ForestPredictor, Options};
use crate::predict::merge::Wanted;
use crate::recipe::ForestRecipe;
use crate::report::{ClassReport, ForestReport, Importance};
use crate::run::{ForestRun, ForestRunConfig, RunLock, Samples as RunSamples, utc, write_json};
use crate::weights::{Weights, save_encoder};

/// Features that the report names.
const STRONGEST: usize = 10;

/// What is to be learnt from what.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Features and forest.
    pub recipe: ForestRecipe,
    /// What labels mean.
    pub dataset: Dataset,
    /// Images to learn from.
    pub images: Vec<LabelledImage>,
    /// Further images to score on.
    pub validation: Vec<LabelledImage>,
    /// Which of the labelled pixels are scored on, too.
    pub split: Split,
    /// Share of the labelled pixels that are held out as single ones.
    pub held_out: f64,
    /// Seed of forest, splits and random weights.
    pub seed: u64,
}

/// Where and how it is done.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// What computes features.
    pub device: DeviceChoice,
    /// Weights of the encoder; random ones if there are none.
    pub weights: Option<&'a Weights>,
    /// Folder to keep features in.
    pub cache: Option<&'a Path>,
    /// The lock of the run folder, if the caller has it; else the training takes it.
    pub lock: Option<&'a RunLock>,
    /// Ends the training soon after it is set; nothing is written then.
    pub stop: &'a AtomicBool,
    /// Takes the events.
    pub sink: &'a dyn Sink,
}

/// How a training ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// With a run, of which this is known.
    Finished(Box<ForestReport>),
    /// Stopped from outside; nothing was written.
    Stopped,
}

impl Session<'_> {
    fn note(&self, text: String) {
        self.sink.event(Event::Note(text));
    }
}

/// Learns, scores, and writes the run to `folder`, in the place of one that is there. The forest that is kept learnt from
/// all labelled pixels; the scores are those of forests that did not see what they were scored on.
pub fn train(plan: Plan, folder: &Path, session: &Session<'_>) -> Result<Outcome> {
    let _lock = session.lock.is_none().then(|| RunLock::acquire(folder)).transpose()?;
    let plan = fitted_to_weights(plan, session)?;
    plan.recipe.check(&plan.dataset)?;
    let began = SystemTime::now();
    let validation = read_validation(&plan)?;
    report_notes(session.sink);
    let mut labelled = Labelled::read(&plan.images, &plan.dataset)?;
    let classes = check_labels(&labelled, &plan, session)?;
    compare(&labelled, &validation, &plan, session);
    drop(validation);
    if labelled.thin_out(plan.recipe.max_pixels, plan.seed)? {
        session.note(format!(
            "{} pixels are labelled; a random {} of them are learnt from (max_pixels in the recipe)",
            labelled.total,
            labelled.classes().len()
        ));
    }
    let (config, bands) = (&plan.recipe.features, plan.dataset.bands);
    let encoder = encoder(&plan, session)?;
    let hypercolumns = Hypercolumns::new(config.clone(), encoder.clone(), bands, session.device.open()?)?;
    let cache = session.cache.map(FeatureCache::open).transpose()?;
    let limits = Limits { stored: cache.is_some(), ..Limits::default() };
    let seeing = Seeing {
        hypercolumns: &hypercolumns,
        dataset: &plan.dataset,
        cache: cache.as_ref(),
        budget: &Budget::new(config, bands, session.device, limits),
        stop: session.stop,
        sink: session.sink,
    };
    let clock = Instant::now();
    let Some(samples) = seeing.samples(&labelled)? else { return Ok(Outcome::Stopped) };
    let seconds = clock.elapsed().as_secs_f64();
    let settings = Settings { seed: plan.seed, ..plan.recipe.forest.clone() };
    let fitting =
        Fitting { settings: &settings, classes: plan.dataset.class_count(), stop: session.stop, sink: session.sink };
    let Some(learnt) = learn(&fitting, &samples, &plan)? else { return Ok(Outcome::Stopped) };
    let mut report = learnt.report(config, bands)?;
    report = ForestReport {
        classes,
        features: hypercolumns.features(),
        labelled_pixels: labelled.total,
        pixels: samples.classes.len(),
        feature_seconds: seconds,
        ..report
    };
    drop(samples);
    let predictor = ForestPredictor::new(hypercolumns, learnt.fitted.forest, plan.dataset.clone(), session.device);
    if !plan.validation.is_empty() {
        let Some(found) = validate(&predictor, &plan, session)? else { return Ok(Outcome::Stopped) };
        report.validation = Some(found);
    }
    write(folder, &plan, (&predictor, &encoder), (session, began), &report)?;
    Ok(Outcome::Finished(Box::new(report)))
}

/// Counts on further images, one after the other; `None` if it was stopped.
fn validate(predictor: &ForestPredictor, plan: &Plan, session: &Session<'_>) -> Result<Option<Evaluation>> {
    let mut matrix = ConfusionMatrix::new(plan.dataset.class_count());
    let options = Options { cache: session.cache.map(Path::to_path_buf), ..Options::default() };
    session.sink.event(Event::Started { task: Task::Validate, total: plan.validation.len(), done: 0 });
    for (done, image) in plan.validation.iter().enumerate() {
        if session.stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let Loaded { labels, .. } = image.load(&plan.dataset)?;
        let found =
            predictor.predict(&image.image, &load_raster(&image.image, &plan.dataset)?, Wanted::default(), &options)?;
        matrix.add(&labels.classes, &found.labels.classes);
        session.sink.event(Event::Advanced { done: done + 1, loss: None });
    }
    session.sink.event(Event::Finished);
    Ok(Some(Evaluation::new(matrix)))
}

/// The labels of further images; before any work, what is wrong with them.
fn read_validation(plan: &Plan) -> Result<Labelled<'_>> {
    let labelled = Labelled::read(&plan.validation, &plan.dataset)?;
    if plan.validation.is_empty() || labelled.total > 0 {
        return Ok(labelled);
    }
    let missing = format!("none of the {} validation images has a labelled pixel", plan.validation.len());
    Err(Error::no_data(missing, "label some, or leave the validation set out"))
}

/// Notes images that are there more than once, and classes that one of the sets alone has.
fn compare(labelled: &Labelled<'_>, validation: &Labelled<'_>, plan: &Plan, session: &Session<'_>) {
    repeat_notes(&labelled.known(), &validation.known()).into_iter().for_each(|note| session.note(note));
    if plan.validation.is_empty() {
        return;
    }
    let note = |wanted: &dyn Fn(bool, bool) -> bool, what: &str| {
        let classes = plan.dataset.classes.iter().enumerate();
        let there = |class: usize| (labelled.pixels_of(class) > 0, validation.pixels_of(class) > 0);
        let names = classes.filter(|(class, _)| wanted(there(*class).0, there(*class).1)).map(|(_, c)| c.name.as_str());
        if let Some(classes) = classes_that(names, ["is", "are"]) {
            session.note(format!("{classes} {what}"));
        }
    };
    note(&|learnt, scored| scored && !learnt, "labelled in the validation set alone: not learnt, and scored 0");
    note(&|learnt, scored| learnt && !scored, "not labelled in the validation set: not scored there");
}

/// With the encoder and normalisation that the weights need, and a normalisation that is by the training images settled.
fn fitted_to_weights(mut plan: Plan, session: &Session<'_>) -> Result<Plan> {
    if let Some(weights) = session.weights {
        let (encoder, mut changes) = weights.adapt_features(&plan.recipe.features.encoder)?;
        plan.recipe.features.encoder = encoder;
        changes.extend(weights.fit_normalisation(&mut plan.dataset));
        if let Some(bands) = weights.other_bands(&plan.dataset) {
            session.note(format!(
                "the weights' own normalisation is of {bands} bands, data set '{}' has {}; its own is kept",
                plan.dataset.name, plan.dataset.bands
            ));
        }
        changes.into_iter().for_each(|change| session.note(format!("as the weights need it: {change}")));
    }
    let paths: Vec<PathBuf> = plan.images.iter().map(|image| image.image.clone()).collect();
    plan.dataset = measured(&paths, &plan.dataset)?;
    Ok(plan)
}

/// The encoder with its weights.
fn encoder(plan: &Plan, session: &Session<'_>) -> Result<FeatureEncoder> {
    let HypercolumnConfig { encoder, taps, .. } = &plan.recipe.features;
    let (bands, device) = (plan.dataset.bands, session.device.open()?);
    let Some(weights) = session.weights else { return encoder.init(bands, taps, plan.seed, &device) };
    let (loaded, report) = weights.load_features(encoder.hollow(bands, taps, &device)?)?;
    session.note(format!("loaded {} tensors ({} numbers): {}", report.tensors, report.numbers, report.source));
    Ok(loaded)
}

/// Pixels and regions of every class; an error in words if nothing can be learnt from them.
fn check_labels(labelled: &Labelled<'_>, plan: &Plan, session: &Session<'_>) -> Result<Vec<ClassReport>> {
    let count = |class: usize| {
        let own = labelled.regions.iter().filter(|region| usize::from(region.class) == class);
        let pixels = labelled.pixels_of(class);
        ClassReport { name: plan.dataset.classes[class].name.clone(), pixels, regions: own.count() }
    };
    let classes: Vec<ClassReport> = (0..plan.dataset.class_count()).map(count).collect();
    let names = |wanted: &dyn Fn(&ClassReport) -> bool| -> Vec<String> {
        classes.iter().filter(|class| wanted(class)).map(|class| format!("'{}'", class.name)).collect()
    };
    let present = names(&|class| class.pixels > 0);
    match &present[..] {
        [] => {
            let (name, ignored) = (&plan.dataset.name, plan.dataset.ignore.first());
            let ignored = ignored.map_or_else(|| "no value".into(), StoredNumber::to_string);
            Err(Error::no_data(
                format!("none of the {} images has a labelled pixel", plan.images.len()),
                format!(
                    "in label images of data set '{name}', {ignored} means not labelled, and so do transparent pixels"
                ),
            ))
        }
        [only] => Err(Error::no_data(
            format!("all {} labelled pixels are of class {only}", labelled.total),
            "label some pixels of another class, too",
        )),
        _ => {
            let absent = names(&|class| class.pixels == 0);
            if !absent.is_empty() {
                session.note(format!("no pixel is labelled {}; it is never predicted then", absent.join(" or ")));
            }
            let single = names(&|class| class.pixels == 1);
            if !single.is_empty() {
                session.note(format!(
                    "a single pixel is labelled {}: it is learnt from, but nothing can be scored",
                    single.join(" and another one ")
                ));
            }
            if plan.split == Split::Region {
                let alone = names(&|class| class.regions == 1 && class.pixels > 1);
                if !alone.is_empty() {
                    let rest = match classes.iter().any(|class| class.regions > 1) {
                        true => "the mean by region is of the other classes",
                        false => "there is no score by region",
                    };
                    session.note(format!(
                        "the labels of {} hang together, so that none of them can be held out by region: {rest}; label a \
                         second place",
                        alone.join(", and those of ")
                    ));
                }
            }
            Ok(classes)
        }
    }
}

/// What was learnt and found out.
struct Learnt {
    by_region: Option<Evaluation>,
    by_pixel: Option<Evaluation>,
    fitted: Fitted,
    fit_seconds: f64,
}

/// Scores, then learns from everything; `None` if it was stopped.
fn learn(fitting: &Fitting<'_>, samples: &Samples, plan: &Plan) -> Result<Option<Learnt>> {
    let (mut by_region, mut by_pixel) = (None, None);
    if plan.split == Split::Region {
        by_region = fitting.by_region(samples, plan.seed)?;
        if by_region.is_none() {
            return Ok(None);
        }
    }
    if plan.split != Split::None {
        by_pixel = fitting.by_pixel(samples, plan.held_out, plan.seed)?;
        if by_pixel.is_none() {
            return Ok(None);
        }
    }
    let clock = Instant::now();
    let fitted = fitting.fit(samples, "all pixels")?;
    let fit_seconds = clock.elapsed().as_secs_f64();
    Ok(fitted.map(|fitted| Learnt { by_region, by_pixel, fitted, fit_seconds }))
}

impl Learnt {
    fn report(&self, config: &HypercolumnConfig, bands: usize) -> Result<ForestReport> {
        let out_of_bag = self.fitted.out_of_bag.as_ref().map(|counts| {
            let mut matrix = ConfusionMatrix::new(counts.classes);
            matrix.add_counts(&counts.confusion);
            Evaluation::new(matrix)
        });
        let (importances, strongest) = importances(self.fitted.forest.importances(), config, bands)?;
        Ok(ForestReport {
            by_region: self.by_region.clone(),
            by_pixel: self.by_pixel.clone(),
            out_of_bag,
            importances,
            strongest,
            trees: self.fitted.forest.trees(),
            splits: self.fitted.forest.splits(),
            fit_seconds: self.fit_seconds,
            ..ForestReport::default()
        })
    }
}

/// Importances by tap, in the order of the features, and the strongest single features.
fn importances(
    of_features: &[f64],
    config: &HypercolumnConfig,
    bands: usize,
) -> Result<(Vec<Importance>, Vec<Importance>)> {
    let (mut by_tap, mut single, mut rest) = (Vec::new(), Vec::new(), of_features);
    for part in config.parts(bands)? {
        let (own, after) = rest.split_at(part.channels);
        rest = after;
        by_tap.push(Importance { name: part.to_string(), channels: part.channels, importance: own.iter().sum() });
        let channel = |(channel, importance): (usize, &f64)| {
            let name = format!("{part} channel {channel}");
            Importance { name, channels: 1, importance: *importance }
        };
        single.extend(own.iter().enumerate().map(channel));
    }
    single.sort_by(|a, b| b.importance.total_cmp(&a.importance));
    single.truncate(STRONGEST);
    Ok((by_tap, single))
}

/// Writes the run.
fn write(
    folder: &Path,
    plan: &Plan,
    (predictor, encoder): (&ForestPredictor, &FeatureEncoder),
    (session, began): (&Session<'_>, SystemTime),
    report: &ForestReport,
) -> Result<()> {
    let whole = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let config = ForestRunConfig {
        version: env!("CARGO_PKG_VERSION").into(),
        seed: plan.seed,
        device: session.device.to_string(),
        weights: session.weights.map_or_else(Vec::new, |weights| weights.checkpoint.paths.iter().map(whole).collect()),
        started: utc(began),
        recipe: plan.recipe.clone(),
        dataset: plan.dataset.clone(),
    };
    let pairs = |images: &[LabelledImage]| images.iter().map(LabelledImage::pair).collect();
    let samples =
        RunSamples { train: pairs(&plan.images), validation: pairs(&plan.validation), presence: Default::default() };
    ForestRun::write(folder, config, &samples, |run| {
        save_encoder(encoder, &run.encoder_path())?;
        write_json(&run.scores_path(), report)?;
        report.write_html(run)?;
        write_atomically(&run.forest_path(), |out| predictor.forest().write(out))
    })
}
