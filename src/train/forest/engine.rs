//! From labelled pixels to a run folder.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use super::encoder::{encoder, fit_to_weights};
use super::evaluate::Fitting;
use super::labels::{LabelledImage, Loaded};
use super::pixels::{Labelled, Seeing};
use super::report::{QUICK, classified};
use super::result::{RunContent, importances};
use super::samples::Samples;
use super::split::Split;
use crate::base::event::{Sink, Stretch, Task};
use crate::base::named_enum::classes_that;
use crate::base::{Error, Result, require};
use crate::data::{Dataset, StoredNumber, measured, repeat_notes};
use crate::image::report_notes;
use crate::metric::{ConfusionMatrix, Evaluation};
use crate::nn::model::FeatureEncoder;
use crate::pixels::forest::{Fitted, Forest, Settings};
use crate::pixels::hypercolumn::{FeatureCache, Hypercolumns};
use crate::predict::Options;
use crate::predict::forest::ForestPredictor;
use crate::predict::forest::budget::{Budget, Limits};
use crate::predict::model::Model;
use crate::recipe::ForestRecipe;
use crate::report::{ClassReport, ForestReport, SamplePrediction};
use crate::train::job::{Job, Validation};
use crate::train::session::{Outcome, Session, refuse_own_weights};
use crate::weights::Weights;

/// Share of the labelled pixels that is held out as published.
const HELD_OUT: f64 = 0.05;

/// A training of a forest that is ready to start.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Features and forest.
    pub recipe: ForestRecipe,
    /// The data set as trained on.
    pub dataset: Dataset,
    /// Images to learn from.
    pub images: Vec<LabelledImage>,
    /// Further images to score on.
    pub validation: Vec<LabelledImage>,
    /// Which of the labelled pixels are held out to be scored.
    pub split: Split,
    /// Share of the labelled pixels that are held out one by one.
    pub held_out: f64,
    /// Weights of the encoder, to which recipe and data set are fitted; random ones if there are none.
    pub weights: Option<Weights>,
    /// Seed of forest, splits and random weights.
    pub seed: u64,
}

impl Plan {
    pub(in crate::train) fn new(recipe: ForestRecipe, job: &Job, sink: &dyn Sink) -> Result<Self> {
        let dataset = job.dataset(sink)?;
        recipe.check(&dataset)?;
        let split = job.split.unwrap_or_default();
        let held_out = match &job.validation {
            Validation::Fraction(share) if split == Split::None => {
                let reason =
                    format!("holds out {share} of the labelled pixels, but `split` is none; leave out one of the two");
                return Err(Error::conflict("val_fraction", reason));
            }
            Validation::Fraction(share) => {
                require(*share > 0.0 && *share < 1.0, "val_fraction", share, "between 0 and 1, as in 0.05")?;
                *share
            }
            _ => HELD_OUT,
        };
        let given =
            [("group_by", job.group_by.is_some()), ("exclude", job.exclude.is_some()), ("new_head", job.new_head)];
        if let Some((field, _)) = given.into_iter().find(|(_, given)| *given) {
            return Err(Error::conflict(field, "has no effect on a random forest; leave it out"));
        }
        let images =
            LabelledImage::of(&job.images, &dataset, "`images` and `labels`, or `train_list` and `label_list`", sink)?;
        let validation = match &job.validation {
            Validation::Source(source) => LabelledImage::of(source, &dataset, "`val_list` and `val_label_list`", sink)?,
            _ => Vec::new(),
        };
        let weights = if job.weights.is_empty() { None } else { Some(Weights::open(&job.weights, None)?) };
        let plan = Self { recipe, dataset, images, validation, split, held_out, weights, seed: job.seed };
        plan.fitted_to_weights(sink)
    }

    /// With the encoder and normalisation that the weights need, and a normalisation that is by the training images
    /// settled.
    fn fitted_to_weights(mut self, sink: &dyn Sink) -> Result<Self> {
        if let Some(weights) = &self.weights {
            fit_to_weights(weights, &mut self.recipe.features, &mut self.dataset, sink)?;
        }
        let paths: Vec<PathBuf> = self.images.iter().map(|labelled| labelled.image.clone()).collect();
        self.dataset = measured(&paths, &self.dataset)?;
        self.recipe.check(&self.dataset)?;
        Ok(self)
    }

    /// What deserves a word before a training.
    pub(in crate::train) fn advice(&self) -> Vec<&'static str> {
        let random = "the encoder's weights are random; pretrained ones usually do better: `weights` vgg16-imagenet";
        if self.weights.is_none() { vec![random] } else { Vec::new() }
    }
}

/// Learns, scores, and writes the run to `folder`, in the place of one that is there. The forest that is kept learnt from
/// all labelled pixels; the scores are those of forests that did not see what they were scored on.
pub(in crate::train) fn train(plan: Plan, folder: &Path, session: &Session<'_>) -> Result<Outcome> {
    let _lock = session.claim(folder)?;
    refuse_without_effect(session)?;
    if let Some(weights) = &plan.weights {
        refuse_own_weights(&weights.checkpoint.paths, folder)?;
    }
    let began = SystemTime::now();
    let (labelled, classes) = read_labels(&plan, session)?;
    let (config, bands) = (&plan.recipe.features, plan.dataset.bands);
    let encoder = encoder(config, bands, (plan.weights.as_ref(), plan.seed), session.device, session.sink)?;
    let hypercolumns = Hypercolumns::new(config.clone(), encoder.clone(), bands, session.device.open()?)?;
    let cache = session.cache_features.map(FeatureCache::open).transpose()?;
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
    let Some(samples) = seeing.samples(&labelled)? else { return Ok(Outcome::Stopped(None)) };
    let seconds = clock.elapsed().as_secs_f64();
    let settings = Settings { seed: plan.seed, ..plan.recipe.forest.clone() };
    let fitting =
        Fitting { settings: &settings, classes: plan.dataset.class_count(), stop: session.stop, sink: session.sink };
    let Some((forest, report)) = learn(&fitting, &samples, &plan)? else { return Ok(Outcome::Stopped(None)) };
    let (importances, strongest) = importances(forest.importances(), config, bands)?;
    let mut report = ForestReport {
        classes,
        features: hypercolumns.features(),
        labelled_pixels: labelled.total,
        pixels: samples.classes.len(),
        feature_seconds: seconds,
        importances,
        strongest,
        trees: forest.trees(),
        splits: forest.splits(),
        ..report
    };
    drop(samples);
    let predictor = ForestPredictor::new(hypercolumns, forest, plan.dataset.clone(), session.device);
    if !plan.validation.is_empty() {
        let Some(found) = validate(&predictor, &plan, session)? else { return Ok(Outcome::Stopped(None)) };
        report.validation = Some(found);
    }
    let own = (&plan.dataset, session.cache_features);
    // The forest does not need them.
    let samples = classified(&predictor, &plan.images, own, QUICK, session.sink).unwrap_or_else(|fault| {
        session.sink.note(format!("the report shows no images: {fault}"));
        Vec::new()
    });
    write(folder, &plan, (&predictor, &encoder), (session, began), (&report, &samples))?;
    Ok(Outcome::Finished { best: None, forest: Some(Box::new(report)) })
}

/// Refuses what would have no effect on the training of a forest.
fn refuse_without_effect(session: &Session<'_>) -> Result<()> {
    let set = [
        ("deadline", session.deadline.is_some()),
        ("cache", session.cache.is_some()),
        ("keep_every", session.keep_every.is_some()),
        ("validation_images", session.validation_images > 0),
    ];
    match set.iter().find(|(_, set)| *set) {
        Some((name, _)) => {
            Err(Error::conflict(*name, "has no effect on the training of a random forest; leave it out"))
        }
        None => Ok(()),
    }
}

/// The pixels to learn from, and what there is of each class.
fn read_labels<'a>(plan: &'a Plan, session: &Session<'_>) -> Result<(Labelled<'a>, Vec<ClassReport>)> {
    let validation = read_validation(plan)?;
    report_notes(session.sink);
    let mut labelled = Labelled::read(&plan.images, &plan.dataset)?;
    let classes = check_labels(&labelled, plan, session)?;
    compare(&labelled, &validation, plan, session);
    if labelled.thin_out(plan.recipe.max_pixels, plan.seed)? {
        session.sink.note(format!(
            "{} pixels are labelled; {} of them, chosen at random, are learnt from (max_pixels in the recipe)",
            labelled.total,
            labelled.classes().len()
        ));
    }
    Ok((labelled, classes))
}

/// Counts on further images, one after the other; `None` if it was stopped.
fn validate(predictor: &ForestPredictor, plan: &Plan, session: &Session<'_>) -> Result<Option<Evaluation>> {
    let mut matrix = ConfusionMatrix::new(plan.dataset.class_count());
    let options = Options { cache_features: session.cache_features.map(Path::to_path_buf), ..Options::default() };
    let work = predictor.work(&options, None)?;
    let stretch = Stretch::begin(session.sink, Task::Validate, plan.validation.len());
    for validation in &plan.validation {
        if session.stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let Loaded { image, labels, .. } = validation.load(&plan.dataset)?;
        matrix.add(&labels.classes, &work.one(&validation.image, image)?.labels.classes);
        stretch.advance();
    }
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
    repeat_notes(&labelled.known(), &validation.known()).into_iter().for_each(|note| session.sink.note(note));
    if plan.validation.is_empty() {
        return;
    }
    let note = |wanted: &dyn Fn(bool, bool) -> bool, what: &str| {
        let classes = plan.dataset.classes.iter().enumerate();
        let there = |class: usize| (labelled.pixels_of(class) > 0, validation.pixels_of(class) > 0);
        let names = classes.filter(|(class, _)| wanted(there(*class).0, there(*class).1)).map(|(_, c)| c.name.as_str());
        if let Some(classes) = classes_that(names, ["is", "are"]) {
            session.sink.note(format!("{classes} {what}"));
        }
    };
    note(&|learnt, scored| scored && !learnt, "labelled only in the validation set: not learnt, and scored 0");
    note(&|learnt, scored| learnt && !scored, "not labelled in the validation set: not scored there");
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
                format!("label some; in data set '{name}', {ignored} means not labelled, and so do transparent pixels"),
            ))
        }
        [only] => Err(Error::no_data(
            format!("all {} labelled pixels are of class {only}", labelled.total),
            "label some pixels of another class, too",
        )),
        _ => {
            let absent = names(&|class| class.pixels == 0);
            if !absent.is_empty() {
                session.sink.note(format!("no pixel is labelled {}, so it is never predicted", absent.join(" or ")));
            }
            let single = names(&|class| class.pixels == 1);
            if !single.is_empty() {
                session.sink.note(format!(
                    "only one pixel is labelled {}: it is learnt from, but cannot be scored",
                    single.join(" and only one ")
                ));
            }
            if plan.split == Split::Region {
                let alone = names(&|class| class.regions == 1 && class.pixels > 1);
                if !alone.is_empty() {
                    let rest = if classes.iter().any(|class| class.regions > 1) {
                        "the mean by region is over the other classes"
                    } else {
                        "there is no score by region"
                    };
                    session.sink.note(format!(
                        "labelled in only one connected region, so not held out by region: {}; {rest}; label a \
                         second place for each",
                        alone.join(", ")
                    ));
                }
            }
            Ok(classes)
        }
    }
}

/// Scores, then learns from everything; `None` if it was stopped.
fn learn(fitting: &Fitting<'_>, samples: &Samples, plan: &Plan) -> Result<Option<(Forest, ForestReport)>> {
    let mut report = ForestReport::default();
    if plan.split == Split::Region {
        report.by_region = fitting.by_region(samples, plan.seed)?;
        if report.by_region.is_none() {
            return Ok(None);
        }
    }
    if plan.split != Split::None {
        report.by_pixel = fitting.by_pixel(samples, plan.held_out, plan.seed)?;
        if report.by_pixel.is_none() {
            return Ok(None);
        }
    }
    let clock = Instant::now();
    let Some(Fitted { forest, out_of_bag }) = fitting.fit(samples, "all pixels")? else { return Ok(None) };
    report.fit_seconds = clock.elapsed().as_secs_f64();
    report.out_of_bag = out_of_bag.map(|counts| {
        let mut matrix = ConfusionMatrix::new(counts.classes);
        matrix.add_counts(&counts.confusion);
        Evaluation::new(matrix)
    });
    Ok(Some((forest, report)))
}

/// Writes the run.
fn write(
    folder: &Path,
    plan: &Plan,
    (predictor, encoder): (&ForestPredictor, &FeatureEncoder),
    (session, began): (&Session<'_>, SystemTime),
    (report, shown): (&ForestReport, &[SamplePrediction]),
) -> Result<()> {
    let pairs = |images: &[LabelledImage]| images.iter().map(LabelledImage::pair).collect();
    let result = RunContent {
        recipe: &plan.recipe,
        dataset: &plan.dataset,
        weights: plan.weights.as_ref().map_or(&[], |weights| &weights.checkpoint.paths),
        seed: plan.seed,
        device: session.device,
        began,
        encoder,
        forest: predictor.forest(),
        report,
        shown,
    };
    result.write(folder, (pairs(&plan.images), pairs(&plan.validation)))
}
