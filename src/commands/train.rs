//! `segtool train`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use segtool::base::files::check_writable;
use segtool::base::inputs::ReadFiles;
use segtool::base::words::bytes_in_words;
use segtool::data::Dataset;
use segtool::nn::device::{DeviceChoice, free_memory, peak_memory};
use segtool::nn::precision::Precision;
use segtool::recipe::{NetworkRecipe, Recipe};
use segtool::run::{NetworkRun, RunLock, find_dataset};
use segtool::train::{
    Initial, Need, Outcome, Plan, Session, Source, prepare, resume_for, start_with, write_contact_sheet,
};
use segtool::weights::{Weights, locate};

use super::start::Start;
use super::stop::Stop;
use super::{overrides, pixels};
use crate::cli::Train;
use crate::exit::{Exit, wrong_usage};
use crate::ui::{self, Progress};

/// Share of the free memory that decoded images may take.
const CACHE_SHARE: u64 = 4;

pub(crate) fn run(arguments: Train) -> Result<Exit> {
    let deadline = arguments.limits.max_time.map(|time| Instant::now() + time);
    let progress = Progress::new();
    if let Some(folder) = &arguments.resume {
        return continue_run(folder, &arguments, deadline, &progress);
    }
    let start = Start::of(&arguments)?;
    start.notes.iter().for_each(|note| ui::say(&format!("note: {note}")));
    let own = match start.recipe {
        Recipe::Forest(recipe) => return pixels::train_forest(&arguments, &start.folder, *recipe),
        Recipe::Network(recipe) => *recipe,
    };
    pixels::refuse_for_network(&arguments.given)?;
    // Asked for before anything is read: a device that is not there should not cost a look through the data.
    let device = arguments.compute.device.unwrap_or_default().resolve()?;
    // Held from here on, so that a second process is refused before it has read through its data.
    let lock = match &arguments.limits.show_augmented {
        Some(path) => check_writable(path).map(|()| None)?,
        None => Some(RunLock::claim(&start.folder, arguments.overwrite)?),
    };
    let mut recipe = overrides::adjusted(own, &arguments.procedure)?;
    recipe.merge_classes |= arguments.merge_classes;
    device.supports(recipe.training.precision)?;
    let initial = initial(&arguments, &start.folder, &recipe, &progress)?;
    let plan = plan(&arguments, recipe, start.dataset, initial.as_ref(), &progress)?;
    if let Some(path) = &arguments.limits.show_augmented {
        return show(path, &plan, arguments.compute.workers);
    }
    say_what(&plan, &arguments, device);
    let need = Need::of(&plan, device)?;
    ui::say(&format!("{need}"));
    if !arguments.limits.ignore_memory {
        need.check()?;
    }
    let stop = Stop::on_signal()?;
    let session = Session {
        deadline,
        cache: arguments.limits.cache.unwrap_or_else(|| cache_beside(&need, device)),
        lock: lock.as_ref(),
        ..session(device, &arguments, &stop, &progress)
    };
    let outcome = start_with(plan, initial.as_ref(), &start.folder, &session)?;
    Ok(finish(&start.folder, device, &outcome, &stop))
}

/// Everything settled and checked.
fn plan(
    arguments: &Train,
    mut recipe: NetworkRecipe,
    dataset: Option<Dataset>,
    initial: Option<&Initial>,
    progress: &Progress,
) -> Result<Plan> {
    let mut dataset = match (dataset, &recipe.dataset) {
        (Some(dataset), _) => dataset,
        (None, Some(name)) => find_dataset(name)?,
        (None, None) => wrong_usage!("the recipe names no data set; give --dataset"),
    };
    let (train, validation) = sources(arguments)?;
    if let Some(initial) = initial {
        for change in initial.fit(&mut recipe, &mut dataset)? {
            ui::say(&format!("as the weights need it: {change}"));
        }
    }
    let (fraction, seed) = (arguments.val_fraction, arguments.seed);
    Ok(prepare(recipe, &dataset, &train, validation.as_ref(), fraction, seed, progress)?)
}

fn say_what(plan: &Plan, arguments: &Train, device: DeviceChoice) {
    ui::say(&format!("recipe {}: {}", plan.recipe.name, plan.recipe.summary));
    ui::say(&format!("data set {}: {}", plan.dataset.name, plan.dataset.title));
    if matches!(device, DeviceChoice::LibtorchCuda(_)) && plan.recipe.training.precision == Precision::Float32 {
        ui::say(
            "note: float32 is the most accurate, but slow on a GPU; on recent NVIDIA GPUs --precision tf32 trains up to three times as \
             fast, with nearly the same result",
        );
    }
    let (train, validation) = (plan.train.len(), plan.validation.len());
    ui::say(&format!("training on {train} images, {validation} for validation, on {device}"));
    if plan.validation.is_empty() {
        if arguments.limits.validation_images > 0 {
            ui::say("note: --validation-images draws nothing without a validation set");
        }
        ui::say(
            "note: no validation set, so the last weights count as the best; give --val-list, --val-mask-folders or \
             --val-fraction",
        );
    }
}

/// Draws training samples as the network would see them.
fn show(path: &Path, plan: &Plan, workers: usize) -> Result<Exit> {
    let augment = &plan.recipe.training.resolved_phases()[0].augment;
    let pairs = plan.train.iter().flat_map(|pair| [pair.image.as_path(), pair.label.name()]);
    ReadFiles::new(pairs).refuse(path, "show_augmented")?;
    write_contact_sheet(path, &plan.loader(workers)?, plan.seed, augment)?;
    ui::result(&format!("drawn: {}", path.display()));
    Ok(Exit::Done)
}

fn session<'a>(device: DeviceChoice, arguments: &Train, stop: &'a Stop, progress: &'a Progress) -> Session<'a> {
    Session {
        workers: arguments.compute.workers,
        validation_images: arguments.limits.validation_images,
        keep_every: arguments.limits.save_epoch,
        save_every: arguments.limits.save_every.0,
        ..Session::new(device, stop.flag(), progress)
    }
}

/// Bytes for decoded images: a part of the main memory that is free, and of what the training leaves if it takes place
/// there, too.
fn cache_beside(need: &Need, device: DeviceChoice) -> u64 {
    let taken = if matches!(device, DeviceChoice::LibtorchCuda(_)) { 0 } else { need.bytes() };
    let free = free_memory(DeviceChoice::Flex).unwrap_or(0);
    (free / CACHE_SHARE).min(free.saturating_sub(taken) / 2)
}

/// Resumes a run on its own device, unless another is asked for.
fn continue_run(folder: &Path, arguments: &Train, deadline: Option<Instant>, progress: &Progress) -> Result<Exit> {
    let trained_on: DeviceChoice = NetworkRun::open(folder)?.config.device.parse()?;
    let lock = RunLock::acquire(folder)?;
    let device = arguments.compute.device.unwrap_or(trained_on).resolve().with_context(|| {
        format!("the run was trained on {trained_on}; choose another device with --device, or build that one in")
    })?;
    ui::say(&format!("resuming {} on {device}", folder.display()));
    if device != trained_on {
        ui::say(&format!("note: it was trained on {trained_on} so far, so the weights will differ in the last digits"));
    }
    let stop = Stop::on_signal()?;
    let free = free_memory(DeviceChoice::Flex).map_or(0, |free| free / CACHE_SHARE);
    let cache = arguments.limits.cache.unwrap_or(free);
    let session = Session { deadline, cache, lock: Some(&lock), ..session(device, arguments, &stop, progress) };
    let outcome = resume_for(folder, &arguments.procedure.num_epoch, &session)?;
    Ok(finish(folder, device, &outcome, &stop))
}

fn initial(arguments: &Train, folder: &Path, recipe: &NetworkRecipe, progress: &Progress) -> Result<Option<Initial>> {
    if arguments.weights.is_empty() {
        return Ok(None);
    }
    let files = locate(&arguments.weights, progress)?;
    super::refuse_own_weights(&files, Some(folder))?;
    let weights = Weights::open_for(&files, &recipe.network)?;
    Ok(Some(Initial { weights, new_head: arguments.new_head }))
}

fn sources(arguments: &Train) -> Result<(Source, Option<Source>)> {
    let lists = |images: &PathBuf, labels: &PathBuf| Source::Lists { images: images.clone(), labels: labels.clone() };
    let train = match (&arguments.train_list, &arguments.label_list, &arguments.images, &arguments.labels) {
        (Some(images), Some(labels), ..) => lists(images, labels),
        (Some(pairs), None, ..) => Source::PairList(pairs.clone()),
        (_, _, Some(images), Some(labels)) => Source::Folders { images: images.clone(), labels: labels.clone() },
        _ => match &arguments.mask_folders {
            Some(root) => Source::MaskFolders(root.clone()),
            None => wrong_usage!(
                "say what to train on: --train-list and --label-list, or --images and --labels, or --mask-folders"
            ),
        },
    };
    let lists = arguments.val_list.as_ref().map(|images| match &arguments.val_label_list {
        Some(labels) => lists(images, labels),
        None => Source::PairList(images.clone()),
    });
    let validation = lists.or_else(|| arguments.val_mask_folders.clone().map(Source::MaskFolders));
    Ok((train, validation))
}

/// Says how much memory it took.
pub(super) fn say_peak(device: DeviceChoice) {
    if let Some(bytes) = peak_memory(device) {
        ui::say(&format!("at most {} of memory", bytes_in_words(bytes)));
    }
}

fn finish(folder: &Path, device: DeviceChoice, outcome: &Outcome, stop: &Stop) -> Exit {
    say_peak(device);
    match outcome {
        Outcome::Finished { best } => {
            let best = best.map_or_else(String::new, |best| format!(", best validation mean IoU {best:.4}"));
            ui::result(&format!("trained: {}{best}", folder.display()));
            ui::say(&format!(
                "predict with: segtool predict --run {} --output-path predictions IMAGE...",
                folder.display()
            ));
            Exit::Done
        }
        Outcome::Stopped(position) => {
            ui::result(&format!(
                "stopped in epoch {} after batch {}; continue with: segtool train --resume {}",
                position.epoch + 1,
                position.batch,
                folder.display()
            ));
            // At --max-time it stops as it was told to.
            stop.exit().unwrap_or(Exit::Done)
        }
    }
}
