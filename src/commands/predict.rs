//! `segtool predict`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use segtool::base::words::counted;
use segtool::data::{Dataset, find_images_or_ids, read_list, shell_word};
use segtool::predict::{Along, Choices, Options, Outputs, PolygonOptions, Predictor, Procedure, Summary, Target};
use segtool::recipe::{Kind, NetworkRecipe};
use segtool::run::Run;
use segtool::tools::proportions::{Axis, Depths};
use segtool::weights::{Choice, Weights, locate};

use super::refuse_flags;
use super::stop::Stop;
use crate::cli::{Chosen, ForestPrediction, NetworkPrediction, Polygons, Predict};
use crate::exit::{Exit, wrong_usage};
use crate::ui::{self, Progress};

/// Where predictions go if no folder is given.
const FOLDER: &str = "predictions";

pub(crate) fn run(mut arguments: Predict) -> Result<Exit> {
    take_run_for_weights(&mut arguments);
    let progress = Progress::new();
    let network = &arguments.network;
    let procedure = Procedure::new(&choices(&arguments))?;
    let inputs = inputs(&arguments, &progress)?;
    let mut predictor = predictor(&arguments, &progress)?;
    if let Some(threshold) = network.threshold {
        predictor.set_threshold(threshold)?;
    }
    let options = Options {
        procedure,
        memory: arguments.memory,
        batch_size: network.batch_size,
        workers: network.workers,
        cache_features: arguments.forest.cache_features.clone(),
        ..Options::default()
    };
    let outputs = outputs(&arguments, inputs.len())?;
    let stop = Stop::on_signal()?;
    let read = files_read(&arguments);
    let folder = match &arguments.output_path {
        Some(folder) => folder.clone(),
        None if arguments.overwrite => FOLDER.into(),
        None => predictor.free_folder(Path::new(FOLDER), &inputs, &outputs, &options)?,
    };
    let target =
        Target { overwrite: arguments.overwrite, read: &read, stop: Some(stop.flag()), ..Target::new(&folder) };
    let summary = predictor.predict_files(&inputs, &target, &outputs, &options, &progress)?;
    let is_listed = outputs.has_label_maps();
    let exit = finish(&summary, (inputs.len(), is_listed), &folder, &stop)?;
    if exit == Exit::Done && is_listed {
        say_next(&arguments, &folder);
    }
    Ok(exit)
}

/// Refuses options that would have no effect on this kind of model.
fn refuse_without_effect(arguments: &Predict, kind: Kind) -> Result<()> {
    let flags = match kind {
        Kind::Network => arguments.given.of::<ForestPrediction>(),
        Kind::Forest => arguments.given.of::<NetworkPrediction>(),
    };
    refuse_flags(&flags, &format!("a run of a {kind}"))
}

/// Has a run folder that is given where weights are expected predicted with as a run: its classes, normalisation and
/// procedure are known. With options that say these of weights, the weights in it are meant.
fn take_run_for_weights(arguments: &mut Predict) {
    let plain =
        arguments.recipe.is_none() && arguments.dataset.is_none() && arguments.chosen.choice() == Choice::default();
    if let ([folder], true) = (&arguments.weights[..], plain)
        && Path::new(folder).is_dir()
        && Run::open(folder).is_ok()
    {
        arguments.run = Some(folder.into());
        arguments.weights.clear();
        arguments.given.rename("weights", "run");
    }
}

/// Lists, weights and data set files on the command line.
fn files_read(arguments: &Predict) -> Vec<PathBuf> {
    let named = arguments.weights.iter().chain(&arguments.dataset).chain(&arguments.recipe).map(PathBuf::from);
    arguments.input_list.iter().cloned().chain(named).collect()
}

/// Says how to score the predictions.
fn say_next(arguments: &Predict, folder: &Path) {
    let dataset = arguments.run.as_deref().map(shell_word).or_else(|| arguments.dataset.clone());
    let dataset = dataset.map_or_else(String::new, |dataset| format!(" --dataset {dataset}"));
    ui::say(&format!("next: segtool metrics --predictions {} --labels LABELS{dataset}", shell_word(folder)));
}

/// Says what became of the images.
fn finish(summary: &Summary, (images, is_listed): (usize, bool), folder: &Path, stop: &Stop) -> Result<Exit> {
    let folder = folder.display();
    let written = summary.written.len();
    if summary.skipped > 0 {
        ui::warn(&format!("{} of {images} images were skipped", summary.skipped));
    }
    if written == 0 && !summary.stopped {
        bail!("none of the {images} images could be predicted");
    }
    if written > 0 {
        let list = match is_listed {
            true => format!("listed in {folder}/predictions.txt"),
            false => "polygons alone, so there is no predictions.txt: add npy or tiff to --format to score them".into(),
        };
        ui::result(&format!("{} in {folder}, {list}", counted(written, "prediction")));
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
    let network = &arguments.network;
    Choices {
        scales: network.scales.clone(),
        flip: network.flip,
        resize: network.resize,
        tile: arguments.tile,
        stride: network.stride,
        upsample: network.upsample,
    }
}

fn outputs(arguments: &Predict, images: usize) -> Result<Outputs> {
    let (written, core) = (&arguments.written, &arguments.core);
    let depths = core.depth_top.zip(core.depth_bottom).map(|(top, bottom)| Depths::new(top, bottom)).transpose()?;
    let axis = core.along.map(Axis::from);
    if !written.format.is_some_and(|formats| formats.geojson) {
        refuse_flags(&arguments.given.of::<Polygons>(), "a --format without geojson")?;
    }
    let Polygons { min_area, simplify, geojson_crs } = written.polygons;
    if depths.is_some() && images > 1 {
        wrong_usage!(
            "--depth-top and --depth-bottom describe one core, but {images} images are given; predict one image at a time"
        );
    }
    Ok(Outputs {
        formats: written.format,
        prob: written.prob,
        prob_all: written.prob_all,
        png: written.png,
        color: written.color,
        overlay: written.overlay.is_some(),
        opacity: written.overlay.unwrap_or_default(),
        proportions: core.proportions.map(|parts| Along { parts, axis, depths }),
        npy_type: written.npy_dtype,
        polygons: PolygonOptions {
            min_area: min_area.unwrap_or_default(),
            simplify,
            crs: geojson_crs.unwrap_or_default(),
        },
    })
}

fn predictor(arguments: &Predict, progress: &Progress) -> Result<Predictor> {
    let device = arguments.device.unwrap_or_default();
    let precision = arguments.network.precision;
    if let Some(run) = &arguments.run {
        refuse_without_effect(arguments, Run::open(run)?.kind())?;
        refuse_flags(&arguments.given.of::<Chosen>(), "--run")?;
        return Ok(Predictor::open_on(run, device, precision)?);
    }
    refuse_without_effect(arguments, Kind::Network)?;
    let dataset = arguments.dataset.as_deref().map(Dataset::find).transpose()?;
    let recipe = arguments.recipe.as_deref().map(NetworkRecipe::find).transpose()?;
    let files = locate(&arguments.weights, progress)?;
    let choice = arguments.chosen.choice();
    let mut weights = Weights::open_chosen(&files, recipe.as_ref().map(|recipe| &recipe.network), &choice)?;
    if let Some(recipe) = &recipe {
        weights.set_activation(recipe.activation, recipe.threshold);
    }
    let (predictor, report) = Predictor::from_weights(&weights, dataset, device, precision)?;
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
