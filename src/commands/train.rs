//! `segtool train`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use segtool::data::Descriptor;
use segtool::recipe::{OptimizerConfig, Recipe};
use segtool::run::Run;
use segtool::train::{Outcome, Session, Source, prepare, resume, start};

use crate::Exit;
use crate::cli::Train;
use crate::ui::{self, Progress};

pub(crate) fn run(arguments: Train) -> Result<Exit> {
    let progress = Progress::new();
    // Asked for before anything is read: a device that is not there should not cost a look through the data.
    let device = arguments.compute.device.resolve()?;
    let stop = stop_on_signal()?;
    let session = Session { device, workers: arguments.compute.workers, stop: &stop, sink: &progress };
    if let Some(folder) = &arguments.resume {
        ui::say(&format!("resuming {} on {device}", folder.display()));
        return finish(folder, &resume(folder, &session)?);
    }
    let folder = arguments.output_path.clone().context("--output-path is missing")?;
    Run::check_target(&folder, arguments.overwrite)?;
    let recipe = recipe(&arguments)?;
    let name = arguments
        .dataset
        .as_ref()
        .or(recipe.dataset.as_ref())
        .context("the recipe names no data set; give --dataset")?;
    let dataset = Descriptor::find(name)?;
    let (train, validation) = sources(&arguments)?;
    let plan =
        prepare(recipe, &dataset, &train, validation.as_ref(), arguments.val_fraction, arguments.seed, &progress)?;
    ui::say(&format!(
        "training {} ({}) on {}: {} pictures, {} for validation, device {device}",
        plan.recipe.name,
        plan.recipe.summary,
        plan.descriptor.name,
        plan.train.len(),
        plan.validation.len()
    ));
    if plan.validation.is_empty() {
        ui::say("note: no validation set, so the last weights count as the best; give --val-list or --val-fraction");
    }
    finish(&folder, &start(plan, &folder, &session)?)
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
    training.learning_rate = arguments.learning_rate.unwrap_or(training.learning_rate);
    if let Some(name) = &arguments.optimizer {
        training.optimizer = OptimizerConfig::by_name(name)?;
    }
    Ok(recipe)
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

/// A flag that the first SIGINT or SIGTERM sets; the second ends the program.
pub(crate) fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        ui::say("stopping after this step; once more to stop at once");
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
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
