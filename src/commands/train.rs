//! `segtool train`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use segtool::data::Descriptor;
use segtool::device::DeviceChoice;
use segtool::recipe::{OptimizerConfig, Recipe};
use segtool::run::Run;
use segtool::train::{Initial, Outcome, Session, Source, prepare, resume, start_with};
use segtool::weights::{Weights, locate};

use crate::Exit;
use crate::cli::{Compute, Optimizer, Train};
use crate::ui::{self, Progress};

pub(crate) fn run(arguments: Train) -> Result<Exit> {
    let progress = Progress::new();
    if let Some(folder) = &arguments.resume {
        return continue_run(folder, &arguments.compute, &progress);
    }
    // Asked for before anything is read: a device that is not there should not cost a look through the data.
    let device = arguments.compute.device.unwrap_or_default().resolve()?;
    let folder = arguments.output_path.clone().context("--output-path is missing")?;
    Run::check_target(&folder, arguments.overwrite)?;
    let mut recipe = recipe(&arguments)?;
    device.supports(recipe.training.precision)?;
    let name = arguments
        .dataset
        .as_ref()
        .or(recipe.dataset.as_ref())
        .context("the recipe names no data set; give --dataset")?;
    let mut dataset = Descriptor::find(name)?;
    let (train, validation) = sources(&arguments)?;
    let initial = initial(&arguments, &recipe, &progress)?;
    if let Some(initial) = &initial {
        for change in initial.fit(&mut recipe, &mut dataset)? {
            ui::say(&format!("as the weights need it: {change}"));
        }
    }
    let plan =
        prepare(recipe, &dataset, &train, validation.as_ref(), arguments.val_fraction, arguments.seed, &progress)?;
    ui::say(&format!("recipe {}: {}", plan.recipe.name, plan.recipe.summary));
    ui::say(&format!("data set {}: {}", plan.descriptor.name, plan.descriptor.title));
    let (train, validation) = (plan.train.len(), plan.validation.len());
    ui::say(&format!("training on {train} pictures, {validation} for validation, on {device}"));
    if plan.validation.is_empty() {
        ui::say("note: no validation set, so the last weights count as the best; give --val-list or --val-fraction");
    }
    let stop = Stop::on_signal()?;
    let session = Session { device, workers: arguments.compute.workers, stop: stop.flag(), sink: &progress };
    finish(&folder, &start_with(plan, initial.as_ref(), &folder, &session)?)
}

/// Resumes a run on its own device, unless another is asked for.
fn continue_run(folder: &Path, compute: &Compute, progress: &Progress) -> Result<Exit> {
    let trained_on: DeviceChoice = Run::open(folder)?.config.device.parse()?;
    let device = compute.device.unwrap_or(trained_on).resolve().with_context(|| {
        format!("the run was trained on {trained_on}; choose another device with --device, or build that one in")
    })?;
    ui::say(&format!("resuming {} on {device}", folder.display()));
    if device != trained_on {
        ui::say(&format!("note: it was trained on {trained_on} so far, so the weights will differ in the last digits"));
    }
    let stop = Stop::on_signal()?;
    finish(folder, &resume(folder, &Session { device, workers: compute.workers, stop: stop.flag(), sink: progress })?)
}

fn recipe(arguments: &Train) -> Result<Recipe> {
    let mut recipe = Recipe::find(arguments.recipe.as_deref().context("--recipe is missing")?)?;
    recipe.merge_classes |= arguments.merge_classes;
    if let Some(width) = arguments.width {
        recipe.network.set_width(width);
    }
    let training = &mut recipe.training;
    training.epochs = arguments.num_epoch.unwrap_or(training.epochs);
    training.batch_size = arguments.batch_size.unwrap_or(training.batch_size);
    training.precision = arguments.precision.unwrap_or(training.precision);
    training.learning_rate = arguments.learning_rate.unwrap_or(training.learning_rate);
    match (arguments.optimizer, &training.optimizer) {
        (None, _)
        | (Some(Optimizer::Adam), OptimizerConfig::Adam { .. })
        | (Some(Optimizer::Sgd), OptimizerConfig::Sgd { .. }) => {}
        (Some(Optimizer::Adam), _) => training.optimizer = OptimizerConfig::adam(),
        (Some(Optimizer::Sgd), _) => training.optimizer = OptimizerConfig::sgd(),
    }
    Ok(recipe)
}

fn initial(arguments: &Train, recipe: &Recipe, progress: &Progress) -> Result<Option<Initial>> {
    if arguments.weights.is_empty() {
        return Ok(None);
    }
    let weights = Weights::open_for(&locate(&arguments.weights, progress)?, &recipe.network)?;
    Ok(Some(Initial { weights, new_head: arguments.new_head }))
}

fn sources(arguments: &Train) -> Result<(Source, Option<Source>)> {
    let lists = |images: &PathBuf, labels: &PathBuf| Source::Lists { images: images.clone(), labels: labels.clone() };
    let train = match (&arguments.train_list, &arguments.label_list, &arguments.images, &arguments.labels) {
        (Some(images), Some(labels), ..) => lists(images, labels),
        (_, _, Some(images), Some(labels)) => Source::Folders { images: images.clone(), labels: labels.clone() },
        _ => bail!("say what to train on: --train-list and --label-list, or --images and --labels"),
    };
    let validation = arguments.val_list.as_ref().zip(arguments.val_label_list.as_ref()).map(|(i, l)| lists(i, l));
    Ok((train, validation))
}

/// While it lives, the first SIGINT or SIGTERM asks the training to stop after its step; before and after, and at the
/// second signal, the program ends at once.
pub(crate) struct Stop {
    flag: &'static AtomicBool,
}

static STOP: AtomicBool = AtomicBool::new(false);
static TRAINING: AtomicBool = AtomicBool::new(false);

impl Stop {
    pub(crate) fn on_signal() -> Result<Self> {
        TRAINING.store(true, Ordering::Relaxed);
        ctrlc::set_handler(|| {
            if !TRAINING.load(Ordering::Relaxed) || STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            ui::say("stopping after this step; once more to stop at once");
        })
        .context("cannot listen for Ctrl-C")?;
        Ok(Self { flag: &STOP })
    }

    /// Set once it is time to stop.
    pub(crate) fn flag(&self) -> &AtomicBool {
        self.flag
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        TRAINING.store(false, Ordering::Relaxed);
    }
}

fn finish(folder: &Path, outcome: &Outcome) -> Result<Exit> {
    match outcome {
        Outcome::Finished { best } => {
            let best = best.map_or_else(String::new, |best| format!(", best validation mean IoU {best:.4}"));
            ui::result(&format!("trained: {}{best}", folder.display()));
            ui::say(&format!(
                "predict with: segtool predict --run {} --output-path predictions IMAGE...",
                folder.display()
            ));
        }
        Outcome::Stopped(position) => {
            ui::result(&format!(
                "stopped in epoch {} after step {}; continue with: segtool train --resume {}",
                position.epoch + 1,
                position.step,
                folder.display()
            ));
        }
    }
    Ok(Exit::Done)
}
