//! `segtool predict`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use segtool::data::{Dataset, find_images_or_ids, read_list};
use segtool::predict::{Along, Choices, Options, Outputs, Predictor, Procedure, Summary, Target, predict_files};
use segtool::recipe::NetworkRecipe;
use segtool::run::Run;
use segtool::tools::proportions::{Axis, Depths};
use segtool::weights::{Choice, Weights, locate};

use super::pixels;
use super::stop::Stop;
use crate::cli::Predict;
use crate::exit::{Exit, wrong_usage};
use crate::ui::{self, Progress};

pub(crate) fn run(mut arguments: Predict) -> Result<Exit> {
    take_run_for_weights(&mut arguments);
    if let Some(folder) = &arguments.run
        && let Run::Forest(run) = Run::open(folder)?
    {
        return pixels::predict_with_forest(&arguments, &run, &inputs(&arguments, &Progress::new())?);
    }
    if arguments.cache_features.is_some() {
        wrong_usage!("--cache-features would do nothing for a network; leave that out");
    }
    let progress = Progress::new();
    let procedure = Procedure::new(&choices(&arguments))?;
    let inputs = inputs(&arguments, &progress)?;
    let mut predictor = predictor(&arguments, &progress)?;
    if let Some(threshold) = arguments.threshold {
        predictor.set_threshold(threshold)?;
    }
    let options = Options {
        procedure: procedure.fitted_to(predictor.network()),
        memory: arguments.memory,
        ..Options::new(arguments.batch_size, arguments.compute.workers)
    };
    let outputs = outputs(&arguments, inputs.len())?;
    let stop = Stop::on_signal()?;
    let read = files_read(&arguments);
    let target = arguments.target(&read, &stop);
    let summary = predict_files(&predictor, &inputs, &target, &outputs, &options, &progress)?;
    finish(&summary, inputs.len(), &arguments.output_path, &stop)
}

/// Has a run folder that is given where weights are expected predicted with as a run: its classes, normalisation and
/// procedure are known. With options that say these of weights, the weights in it are meant.
fn take_run_for_weights(arguments: &mut Predict) {
    let plain =
        arguments.recipe.is_none() && arguments.dataset.is_none() && arguments.chosen.choice() == Choice::default();
    if let ([folder], true) = (&arguments.weights[..], plain)
        && Path::new(folder).is_dir()
        && Run::open(Path::new(folder)).is_ok()
    {
        arguments.run = Some(folder.into());
        arguments.weights.clear();
        arguments.given.iter_mut().filter(|id| *id == "weights").for_each(|id| *id = "run".into());
    }
}

impl Predict {
    /// Where results go; `read` are files that are read besides the images.
    pub(super) fn target<'a>(&'a self, read: &'a [PathBuf], stop: &'a Stop) -> Target<'a> {
        Target { folder: &self.output_path, overwrite: self.overwrite, read, stop: Some(stop.flag()) }
    }
}

/// Lists, weights and data set files on the command line.
fn files_read(arguments: &Predict) -> Vec<PathBuf> {
    let named = arguments.weights.iter().chain(&arguments.dataset).chain(&arguments.recipe).map(PathBuf::from);
    arguments.input_list.iter().cloned().chain(named).collect()
}

/// Says what became of the images.
pub(super) fn finish(summary: &Summary, images: usize, folder: &Path, stop: &Stop) -> Result<Exit> {
    let folder = folder.display();
    let written = summary.written.len();
    if summary.skipped > 0 {
        ui::say(&format!("{} of {images} images were skipped", summary.skipped));
    }
    if written == 0 && !summary.stopped {
        bail!("none of the {images} images could be predicted");
    }
    if written > 0 {
        ui::result(&format!("{written} predictions in {folder}, listed in {folder}/predictions.txt"));
    }
    if summary.stopped {
        ui::say(&format!(
            "stopped: {written} of {images} images predicted; the same command starts over from the first image"
        ));
        return Ok(stop.exit().unwrap_or(Exit::Failed));
    }
    Ok(if summary.skipped > 0 { Exit::SomeSkipped } else { Exit::Done })
}

fn choices(arguments: &Predict) -> Choices {
    let inference = &arguments.inference;
    Choices {
        scales: inference.scales.clone(),
        flip: inference.flip,
        resize: inference.resize,
        tile: inference.tile,
        stride: inference.stride,
        upsample: inference.upsample,
    }
}

pub(super) fn outputs(arguments: &Predict, images: usize) -> Result<Outputs> {
    let (written, core) = (&arguments.written, &arguments.core);
    let depths = core.depth_top.zip(core.depth_bottom).map(|(top, bottom)| Depths::new(top, bottom)).transpose()?;
    let axis = core.along.map(Axis::from);
    if depths.is_some() && images > 1 {
        wrong_usage!(
            "--depth-top and --depth-bottom are those of one core, but {images} images are given; predict one at a time"
        );
    }
    Ok(Outputs {
        prob: written.prob,
        prob_all: written.prob_all,
        png: written.png,
        color: written.color,
        overlay: written.overlay.is_some(),
        opacity: written.overlay.unwrap_or_default(),
        proportions: core.proportions.map(|parts| Along { parts, axis, depths }),
        npy_type: written.npy_dtype,
    })
}

fn predictor(arguments: &Predict, progress: &Progress) -> Result<Predictor> {
    let device = arguments.compute.device.unwrap_or_default();
    if let Some(run) = &arguments.run {
        return Ok(Predictor::open(run, device, arguments.precision)?);
    }
    let dataset = arguments.dataset.as_deref().map(Dataset::find).transpose()?;
    let recipe = arguments.recipe.as_deref().map(NetworkRecipe::find).transpose()?;
    let files = locate(&arguments.weights, progress)?;
    let choice = arguments.chosen.choice();
    let mut weights = Weights::open_chosen(&files, recipe.as_ref().map(|recipe| &recipe.network), &choice)?;
    if let Some(recipe) = &recipe {
        weights.set_activation(recipe.activation, recipe.threshold);
    }
    let (predictor, report) = Predictor::from_weights(&weights, dataset, device, arguments.precision)?;
    ui::say(&report.to_string());
    for (what, value) in weights.facts().into_iter().skip(1) {
        ui::say(&format!("{what}: {value}"));
    }
    let values: Vec<u16> = predictor.dataset().classes.iter().map(|class| class.values[0]).collect();
    let (first, last) = (values.first().copied().unwrap_or(0), values.last().copied().unwrap_or(0));
    ui::say(&format!("classes: {}, label values {first} to {last}", predictor.dataset().name));
    ui::say(&format!("images: {} bands, {}", predictor.dataset().bands, predictor.dataset().normalisation));
    Ok(predictor)
}

fn inputs(arguments: &Predict, progress: &Progress) -> Result<Vec<PathBuf>> {
    if let Some(list) = &arguments.input_list {
        return Ok(read_list(list, progress)?);
    }
    let mut inputs = Vec::new();
    for path in &arguments.images {
        if path.is_dir() { inputs.extend(find_images_or_ids(path, progress)?) } else { inputs.push(path.clone()) }
    }
    Ok(inputs)
}
