//! Everything settled and checked before a file is written.

use std::path::PathBuf;
use std::sync::Arc;

use super::course::Course;
use super::initial::Initial;
use crate::base::event::Sink;
use crate::base::named_enum::classes_that;
use crate::base::{Error, Result, Size};
use crate::data::{
    ClassPresence, Dataset, Loader, Normalisation, Pair, Survey, largest_after, overlap_note, refuse_exchanged, survey,
};
use crate::nn::device::DeviceChoice;
use crate::nn::precision::Precision;
use crate::recipe::{Criterion, NetworkRecipe, Training};
use crate::train::job::Job;

/// A training that is ready to start.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Network and training.
    pub recipe: NetworkRecipe,
    /// The data set as trained: merged, normalisation measured.
    pub dataset: Dataset,
    /// To train on.
    pub train: Vec<Pair>,
    /// To score after each epoch.
    pub validation: Vec<Pair>,
    /// What each training pair shows.
    pub presence: ClassPresence,
    /// The sizes of the training images that occur.
    pub sizes: Vec<Size>,
    /// Those of the validation images.
    pub validation_sizes: Vec<Size>,
    /// What a pixel of each class counts, where they do not all count the same.
    pub class_weights: Option<Vec<f32>>,
    /// Weights to begin with, to which recipe and data set are fitted.
    pub initial: Option<Initial>,
    /// Seed of weights, order and augmentation.
    pub seed: u64,
}

impl Plan {
    /// Reads the lists, checks every file, fits recipe and data set to the weights to begin with, and measures the
    /// normalisation where it is asked for.
    pub(in crate::train) fn new(mut recipe: NetworkRecipe, job: &Job, sink: &dyn Sink) -> Result<Self> {
        if job.split.is_some() {
            return Err(Error::conflict("split", "has no effect on a network; leave it out"));
        }
        let mut dataset = job.dataset(sink)?;
        let initial = Initial::open(job, &recipe)?;
        if let Some(initial) = &initial {
            for change in initial.fit(&mut recipe, &mut dataset)? {
                sink.note(format!("changed to fit the weights: {change}"));
            }
        }
        let dataset = recipe.fit(&dataset)?;
        let (train, validation) = job.pairs(sink)?;
        overlap_note(&train, &validation).into_iter().for_each(|note| sink.note(note));
        prepared(recipe, dataset, (absolute(train)?, absolute(validation)?), (initial, job.seed), sink)
    }

    /// What deserves a word before a training on `device`.
    pub(in crate::train) fn advice(&self, device: DeviceChoice) -> Vec<&'static str> {
        let mut advice = Vec::new();
        let could = device.supports(Precision::Tf32).is_ok();
        if could && self.recipe.training.precision == Precision::Float32 {
            advice.push(
                "float32 is the most accurate, but slow on a GPU; on recent NVIDIA GPUs `precision` tf32 trains up to three \
                 times as fast, with nearly the same result",
            );
        }
        if self.validation.is_empty() {
            advice.push(
                "no validation set, so the last weights count as the best; give `val_list`, `val_mask_folders` or \
                 `val_fraction`",
            );
        }
        advice
    }
}

/// Checks the files of both sets and settles what depends on them.
fn prepared(
    recipe: NetworkRecipe,
    mut dataset: Dataset,
    (train, validation): (Vec<Pair>, Vec<Pair>),
    (initial, seed): (Option<Initial>, u64),
    sink: &dyn Sink,
) -> Result<Plan> {
    refuse_exchanged(&train, &dataset, "`images` and `labels`, or `train_list` and `label_list`")?;
    refuse_exchanged(&validation, &dataset, "`val_list` and `val_label_list`")?;
    let everything = survey(&train, &validation, &dataset, sink)?;
    check_classes(&dataset, &everything, validation.is_empty(), sink)?;
    note_sizes(&recipe.training, &everything.sizes, sink);
    if validation.is_empty() && (recipe.training.patience.is_some() || recipe.training.best_by != Criterion::MeanIou) {
        let text =
            "without a validation set, `patience` and `best_by` have no effect: the last weights count as the best";
        sink.note(text.into());
    }
    if let Normalisation::PerDataset { valid } = dataset.normalisation {
        let (mean, std) = everything.statistics.mean_and_std();
        dataset.normalisation = Normalisation::Fixed { mean, std, valid };
        sink.note(format!("normalisation measured: {}", dataset.normalisation));
    }
    dataset = dataset.trained_on(everything.samples.clone());
    let (pixels, pixels_where_present) = everything.presence.frequencies(dataset.class_count());
    let class_weights = recipe.training.class_weights.resolve(&pixels, &pixels_where_present)?;
    if let Some(weights) = &class_weights {
        let named = weights.iter().zip(&dataset.classes).map(|(weight, class)| format!("{} {weight:.3}", class.name));
        sink.note(format!("class weights: {}", named.collect::<Vec<_>>().join(", ")));
    }
    let Survey { presence, sizes, validation_sizes, .. } = everything;
    let plan =
        Plan { recipe, dataset, train, validation, presence, sizes, validation_sizes, class_weights, initial, seed };
    note_warmup(&plan, sink)?;
    Ok(plan)
}

/// Says that a warm-up does not come to its end.
fn note_warmup(plan: &Plan, sink: &dyn Sink) -> Result<()> {
    let course = Course::new(&plan.recipe.training, plan.loader(1)?.batches());
    let phases = plan.recipe.training.resolved_phases();
    for (i, phase) in phases.iter().enumerate() {
        let steps = course.phase_steps(phase);
        let Some(warmup) = phase.schedule.warmup.filter(|warmup| warmup.steps > steps) else { continue };
        let what = if phases.len() == 1 { "the training".to_owned() } else { format!("phase {}", i + 1) };
        let key = schedule_key(&plan.recipe.training, i);
        sink.note(format!(
            "the warm-up takes {} steps, but {what} has only {steps}: the learning rate never reaches {}; shorten the warm-up, as \
             with `set` {key}.warmup.steps={}",
            warmup.steps,
            phase.learning_rate,
            (steps / 10).max(1)
        ));
    }
    Ok(())
}

/// Where a recipe has the schedule of a phase: with the phase, or with what holds for all that have none of their own.
fn schedule_key(training: &Training, phase: usize) -> String {
    let is_its_own = training.phases.get(phase).is_some_and(|phase| phase.schedule.is_some());
    if is_its_own { format!("training.phases.{phase}.schedule") } else { "training.schedule".into() }
}

/// Refuses sets without a labelled pixel, and says which classes do not occur in both.
fn check_classes(dataset: &Dataset, survey: &Survey, only_training: bool, sink: &dyn Sink) -> Result<()> {
    let (learnt, scored) = (&survey.class_pixels, &survey.validation_pixels);
    let nothing = |pixels: &[u64]| pixels.iter().all(|pixels| *pixels == 0);
    if nothing(learnt) {
        let missing = "no pixel of the training set has a label, so there is nothing to learn";
        let advice = format!("check the label images, and what data set '{}' takes as not labelled", dataset.name);
        return Err(Error::no_data(missing, advice));
    }
    if !only_training && nothing(scored) {
        let missing = "no pixel of the validation set has a label, so there is nothing to score";
        return Err(Error::no_data(missing, "label some, or leave the validation set out"));
    }
    let note = |wanted: &dyn Fn(u64, u64) -> bool, what: &str| {
        let pixels = learnt.iter().zip(scored).zip(&dataset.classes);
        let names = pixels.filter(|((a, b), _)| wanted(**a, **b)).map(|(_, class)| class.name.as_str());
        if let Some(classes) = classes_that(names, ["does not occur", "do not occur"]) {
            sink.note(format!("{classes} in {what}"));
        }
    };
    note(&|learnt, scored| learnt + scored == 0, "any label image");
    note(
        &|learnt, scored| learnt == 0 && scored > 0,
        "the training labels, only in the validation labels: not learnt, and scored 0",
    );
    note(
        &|learnt, scored| !only_training && learnt > 0 && scored == 0,
        "the validation labels, only in the training labels: not scored",
    );
    Ok(())
}

/// Says that samples of a batch differ in size, if they do.
fn note_sizes(training: &Training, sizes: &[Size], sink: &dyn Sink) {
    let phases = training.resolved_phases();
    let differ = |phase: &Training| {
        let mut after = sizes.iter().map(|size| largest_after(&phase.augment, *size));
        let first = after.next();
        after.any(|size| Some(size) != first)
    };
    if let ([first, .., last], true) = (sizes, training.batch_size > 1 && phases.iter().any(differ)) {
        sink.note(format!(
            "images have {} sizes ({first} to {last}): the smaller ones of a batch are padded with ignored pixels",
            sizes.len()
        ));
    }
}

impl Plan {
    /// What prepares the batches of the training set.
    pub fn loader(&self, workers: usize) -> Result<Loader> {
        let training = &self.recipe.training;
        let dataset = Arc::new(self.dataset.clone());
        let loader = Loader::new(self.train.clone(), dataset, training.batch_size, workers);
        loader.sampled(training.sampling.clone(), Arc::new(self.presence.clone()))
    }
}

/// Paths that mean the same in whatever folder the run is resumed.
fn absolute(pairs: Vec<Pair>) -> Result<Vec<Pair>> {
    let whole = |path: PathBuf| std::path::absolute(&path).map_err(|e| Error::read(&path, e));
    pairs.into_iter().map(|pair| Ok(Pair { image: whole(pair.image)?, label: pair.label.map(whole)? })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_of_a_phase_is_where_the_recipe_has_it() {
        let with_phases = NetworkRecipe::find("unet-seeps-phases").unwrap().training;
        assert_eq!(
            [0, 1].map(|phase| schedule_key(&with_phases, phase)),
            ["training.schedule", "training.phases.1.schedule"]
        );
        let plain = NetworkRecipe::find("unet-demo").unwrap().training;
        assert_eq!(schedule_key(&plain, 0), "training.schedule");
        let alone = Training { phases: with_phases.phases[1..].to_vec(), ..with_phases };
        assert_eq!(schedule_key(&alone, 0), "training.phases.0.schedule");
    }
}
