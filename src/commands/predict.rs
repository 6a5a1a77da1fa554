//! `segtool predict`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use segtool::base::store;
use segtool::base::words::{counted, per_cent};
use segtool::data::{Dataset, FoundImages, ImageSearch, read_list, shell_word};
use segtool::image::ProbabilityType;
use segtool::predict::{
    Along, Choices, Formats, NpyType, Options, Outputs, PolygonOptions, Predictor, Procedure, Shard, Summary, Target,
    Watch, list_of,
};
use segtool::recipe::{Kind, NetworkRecipe};
use segtool::run::Run;
use segtool::tools::proportions::{Axis, Depths};
use segtool::weights::{Choice, Weights, locate};

use super::stop::Stop;
use super::together::{self, OnFailure, Place};
use super::{refuse_flags, say_hardware, say_precision};
use crate::cli::{Chosen, ForestPrediction, NetworkPrediction, Polygons, Predict, Tile};
use crate::program::exit::{Exit, wrong_usage};
use crate::program::ui::{self, Progress};

/// Where predictions go if no folder is given.
const FOLDER: &str = "predictions";
/// The largest side that windows are given for the memory there is: stands for it while options are checked.
const LARGEST_TILE: usize = 1024;
/// Work that took longer says what it waited for.
const LONG: Duration = Duration::from_secs(10);

pub(crate) fn run(mut arguments: Predict) -> Result<Exit> {
    match processes(&mut arguments)? {
        Some(count) => together::launch(count, OnFailure::GoOn),
        None => predict(arguments),
    }
}

fn predict(mut arguments: Predict) -> Result<Exit> {
    take_run_for_weights(&mut arguments);
    check_folders(&mut arguments)?;
    let progress = Progress::new();
    let network = &arguments.network;
    let procedure = Procedure::new(&choices(&arguments, LARGEST_TILE))?;
    let found = inputs(&arguments, &progress)?;
    let mut predictor = predictor(&arguments, &progress)?;
    if let Some(threshold) = network.threshold {
        predictor.set_threshold(threshold)?;
    }
    let mut options = Options {
        procedure,
        bands: Some(arguments.bands.clone()).filter(|bands| !bands.is_empty()),
        memory: arguments.memory,
        batch_size: network.batch_size,
        workers: network.workers,
        cache_features: arguments.forest.cache_features.clone(),
        ..Options::default()
    };
    if arguments.tile == Some(Tile::Auto) {
        let side = predictor.largest_tile(&options)?;
        options.procedure = Procedure::new(&choices(&arguments, side))?;
        ui::say(&format!("windows of {side} pixels, chosen for the available memory (--tile {side})"));
    }
    let outputs = outputs(&arguments, found.images.len())?;
    let stop = Stop::on_signal()?;
    let read = files_read(&arguments);
    let target = Target {
        overwrite: arguments.overwrite,
        read: &read,
        stop: Some(stop.flag()),
        skip_existing: arguments.skip_existing,
        shard: arguments.shard,
        roots: &found.roots,
        read_timeout: arguments.read_timeout,
        ..Target::new(Path::new(FOLDER))
    };
    let folder = match &arguments.output_path {
        Some(folder) => folder.clone(),
        None if arguments.overwrite => FOLDER.into(),
        None => predictor.free_folder(&target, &found.images, &outputs, &options)?,
    };
    let target = Target { folder: &folder, ..target };
    if let Some(watched) = &arguments.watch {
        let watch = Watch { recursive: arguments.recursive, ..Watch::new(watched) };
        ui::say(&format!("watching {}; press Ctrl-C to end", watched.display()));
        return Ok(watched_until_stopped(&predictor.watch(&watch, &target, &outputs, &options, &progress)?, &folder));
    }
    note_array_job(&arguments);
    let summary = predictor.predict_files(&found.images, &target, &outputs, &options, &progress)?;
    let is_listed = outputs.has_label_maps();
    let exit = finish((&arguments, is_listed), &summary, &folder, &stop)?;
    say_pace(&summary);
    if exit == Exit::Done && arguments.shard.is_none() && is_listed && !store::is_url(&folder) {
        say_next(&arguments, &folder, !found.roots.is_empty());
    }
    Ok(exit)
}

/// How many processes to start, one for each of several GPUs; `None` in one that predicts, which takes its share of the images.
fn processes(arguments: &mut Predict) -> Result<Option<usize>> {
    let Some(devices) = &arguments.devices else { return Ok(None) };
    match together::place(devices)? {
        Place::Starts(count) => return Ok(Some(count)),
        Place::One { shard, device } => (arguments.shard, arguments.device) = (shard, Some(device)),
    }
    Ok(None)
}

/// Says of work that took its time whether the network was what took it.
fn say_pace(summary: &Summary) {
    let Some(network) = summary.network.filter(|_| summary.elapsed >= LONG) else { return };
    let share = per_cent(network.as_millis() as u64, summary.elapsed.as_millis() as u64);
    let seconds = summary.elapsed.as_secs_f64();
    ui::say(&format!(
        "took {seconds:.1} s; the network was busy for {share} of that time, and the rest was reading and writing"
    ));
}

/// Says of folders in stores what cannot work, before the model is opened.
fn check_folders(arguments: &mut Predict) -> Result<()> {
    let Some(folder) = arguments.output_path.as_mut().filter(|folder| store::is_url(folder)) else { return Ok(()) };
    let plain = PathBuf::from(folder.to_string_lossy().trim_end_matches('/'));
    // It would be a folder `s3:` on this machine.
    if !store::is_url(&plain) {
        wrong_usage!(
            "--output-path {} names no bucket or server; give a URL such as s3://bucket/maps",
            folder.display()
        );
    }
    *folder = plain;
    if arguments.watch.is_some() {
        wrong_usage!("--watch can write only to a folder on this machine, not to {}", folder.display());
    }
    Ok(store::check(folder)?)
}

/// Says that a task of an array job is about to do the work of all.
fn note_array_job(arguments: &Predict) {
    let variable = Shard::array_variable(|name| std::env::var(name).ok()).filter(|_| arguments.shard.is_none());
    if let Some(variable) = variable {
        ui::say(&format!("note: {variable} is set, but without --shard auto every task predicts all images"));
    }
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

/// Says how to score the predictions; those in folders below the one that is named need a list.
fn say_next(arguments: &Predict, folder: &Path, is_deep: bool) {
    let dataset = arguments.run.as_deref().map(shell_word).or_else(|| arguments.dataset.clone());
    let dataset = dataset.map_or_else(String::new, |dataset| format!(" --dataset {dataset}"));
    let predictions = if is_deep {
        format!("--list-predict {} --list-true LABELS.txt", shell_word(&folder.join("predictions.txt")))
    } else {
        format!("--predictions {} --labels LABELS", shell_word(folder))
    };
    ui::say(&format!("next: segtool metrics {predictions}{dataset}"));
}

/// Says what became of the images.
fn finish((arguments, is_listed): (&Predict, bool), summary: &Summary, folder: &Path, stop: &Stop) -> Result<Exit> {
    let images = summary.inputs;
    let shard = arguments.shard.map_or_else(String::new, |shard| format!(" of {shard}"));
    let written = summary.written.len();
    if summary.skipped > 0 {
        ui::warn(&format!("{} of {images} images{shard} were skipped", summary.skipped));
    }
    if written + summary.kept == 0 && !summary.stopped && images > 0 {
        bail!("none of the {images} images{shard} could be predicted");
    }
    if images == 0 {
        ui::say(&format!("note: there are no images{shard}, because there are more shards than images"));
    }
    let kept = if summary.kept == 0 { String::new() } else { format!("; {} were there already", summary.kept) };
    if written + summary.kept > 0 {
        let list = match is_listed {
            true => format!("listed in {}", list_of(folder, arguments.shard).display()),
            false => "polygons alone, so there is no predictions.txt: add npy or tiff to --format to score them".into(),
        };
        ui::result(&format!("{} in {}, {list}{kept}", counted(written, "prediction"), folder.display()));
    }
    if summary.stopped {
        let again = if arguments.skip_existing { "the same command" } else { "the same command with --skip-existing" };
        let done = written + summary.kept;
        ui::say(&format!("stopped: {done} of {images} images{shard} predicted; {again} predicts the rest"));
        return Ok(stop.exit().unwrap_or(Exit::Failed));
    }
    Ok(if summary.skipped > 0 { Exit::SomeSkipped } else { Exit::Done })
}

/// Says what became of the images that arrived. To be stopped is how that ends.
fn watched_until_stopped(summary: &Summary, folder: &Path) -> Exit {
    let folder = folder.display();
    if summary.skipped > 0 {
        ui::warn(&format!("{} of {} images were skipped", summary.skipped, summary.inputs));
    }
    ui::result(&format!("{} written to {folder}", counted(summary.written.len(), "prediction")));
    if summary.skipped > 0 { Exit::SomeSkipped } else { Exit::Done }
}

/// What is chosen about the procedure; `auto` is the side of windows that the memory allows.
fn choices(arguments: &Predict, auto: usize) -> Choices {
    let network = &arguments.network;
    let side = |tile| match tile {
        Tile::Side(side) => side,
        Tile::Auto => auto,
    };
    Choices {
        scales: network.scales.clone(),
        flip: network.flip,
        resize: network.resize,
        tile: arguments.tile.map(side),
        stride: network.stride,
        overlap: network.overlap,
        blend: network.blend,
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
    let lacks = |has: fn(Formats) -> bool| written.format.is_some_and(|formats| !has(formats));
    let has_probabilities = written.prob || written.prob_all;
    if written.prob_dtype != ProbabilityType::default() && (!has_probabilities || lacks(|formats| formats.tiff)) {
        wrong_usage!(
            "--prob-dtype is about probabilities in GeoTIFFs: give --prob or --prob-all, and tiff in --format"
        );
    }
    if written.npy_dtype != NpyType::default() && lacks(|formats| formats.npy) {
        wrong_usage!("--npy-dtype is about .npy files, which --format leaves out");
    }
    let Polygons { min_area, simplify, geojson_crs } = written.polygons;
    if depths.is_some() && (images > 1 || arguments.watch.is_some()) {
        let given = if arguments.watch.is_some() { "--watch is".to_owned() } else { format!("{images} images are") };
        wrong_usage!(
            "--depth-top and --depth-bottom describe one core, but {given} given; predict one image at a time"
        );
    }
    Ok(Outputs {
        formats: written.format,
        prob: written.prob,
        prob_all: written.prob_all,
        prob_type: written.prob_dtype,
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
    let precision = device.settle(arguments.network.precision)?;
    say_precision(arguments.network.precision, precision, device);
    say_hardware(device)?;
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

fn inputs(arguments: &Predict, progress: &Progress) -> Result<FoundImages> {
    if let Some(list) = &arguments.input_list {
        let images = read_list(list, progress)?;
        images.iter().try_for_each(|image| store::check(image))?;
        return Ok(FoundImages { images, roots: Vec::new() });
    }
    let except = arguments.output_path.as_deref().unwrap_or(Path::new(FOLDER));
    let search = ImageSearch { recursive: arguments.recursive, except: Some(except) };
    let mut found = search.find(&arguments.images, progress)?;
    if arguments.output_path.is_none() {
        found.images.retain(|image| !is_below_results(image));
    }
    Ok(found)
}

/// Whether a file lies in one of the folders that results go to by default when the first is taken.
fn is_below_results(image: &Path) -> bool {
    let here = std::env::current_dir().unwrap_or_default();
    let first = std::path::absolute(image).ok().and_then(|image| {
        let below = image.strip_prefix(&here).ok()?;
        Some(below.components().next()?.as_os_str().to_string_lossy().into_owned())
    });
    let number = first.as_deref().and_then(|first| first.strip_prefix(FOLDER)?.strip_prefix('-'));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}
