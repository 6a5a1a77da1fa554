//! `segtool train` and `segtool predict` for random forests over hypercolumns, and `segtool info --features`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use segtool::base::files::check_writable;
use segtool::base::inputs::ReadFiles;
use segtool::data::{Dataset, pair_folders, pair_lists, read_pairs, refuse_exchanged};
use segtool::draw::{color_probabilities, write_png};
use segtool::nn::cost::feature_memory;
use segtool::nn::device::DeviceChoice;
use segtool::nn::model::{ParameterShape, shapes};
use segtool::pixels::hypercolumn::Part;
use segtool::predict::forest::{ChannelImage, ForestPredictor, Options, draw_channel, predict_files};
use segtool::recipe::{ForestRecipe, Recipe};
use segtool::run::{ForestRun, Run, RunLock, find_dataset};
use segtool::train::forest::{LabelledImage, Outcome, Plan, Session, Split, train};
use segtool::weights::{Weights, locate};
use serde_json::{Value, json};

use super::stop::Stop;
use super::train::say_peak;
use crate::cli::{Info, Predict, Train};
use crate::exit::{Exit, wrong_usage};
use crate::ui::{self, Progress};

/// What a training of a forest takes of the flags of `train`, by their names in the code.
const TRAIN: [&str; 23] = [
    "orientation",
    "recipe",
    "dataset",
    "train_list",
    "label_list",
    "images",
    "labels",
    "val_list",
    "val_label_list",
    "val_fraction",
    "weights",
    "seed",
    "output_path",
    "ckpt",
    "modelname",
    "overwrite",
    "set",
    "device",
    "label_csv",
    "split",
    "taps",
    "scales",
    "cache_features",
];

/// What it alone takes.
const ONLY_FORESTS: [&str; 5] = ["label_csv", "split", "taps", "scales", "cache_features"];

/// What a forest's prediction takes of the flags of `predict`.
const PREDICT: [&str; 20] = [
    "orientation",
    "run",
    "images",
    "input_list",
    "output_path",
    "overwrite",
    "tile",
    "prob",
    "prob_all",
    "png",
    "color",
    "overlay",
    "npy_dtype",
    "proportions",
    "along",
    "depth_top",
    "depth_bottom",
    "memory",
    "device",
    "cache_features",
];

/// Share of the labelled pixels that is held out as published.
const HELD_OUT: f64 = 0.05;

/// Refuses flags that would do nothing.
fn refuse(given: &[String], what: &str, taken: impl Fn(&str) -> bool) -> Result<()> {
    // Groups of flags are in the list, too, under the names of their types.
    let flags = given.iter().filter(|id| id.chars().all(|c| !c.is_ascii_uppercase()));
    let wrong: Vec<String> = flags.filter(|id| !taken(id)).map(|id| format!("--{}", id.replace('_', "-"))).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    wrong_usage!("{} would do nothing for {what}; leave that out", wrong.join(" and "))
}

/// Refuses flags of a forest's training for a network's.
pub(super) fn refuse_for_network(given: &[String]) -> Result<()> {
    refuse(given, "a recipe of a network", |id| !ONLY_FORESTS.contains(&id))
}

/// Trains a forest.
pub(super) fn train_forest(arguments: &Train, folder: &Path, mut recipe: ForestRecipe) -> Result<Exit> {
    refuse(&arguments.given, "a recipe of a random forest", |id| TRAIN.contains(&id))?;
    let progress = Progress::new();
    let device = arguments.compute.device.unwrap_or_default().resolve()?;
    let lock = RunLock::claim(folder, arguments.overwrite)?;
    let options = &arguments.pixels;
    if !options.taps.is_empty() {
        recipe.features.taps.clone_from(&options.taps);
    }
    if !options.scales.is_empty() {
        recipe.features.scales.clone_from(&options.scales);
    }
    let Some(name) = arguments.dataset.as_ref().or(recipe.dataset.as_ref()) else {
        wrong_usage!("the recipe names no data set; give --dataset");
    };
    let dataset = find_dataset(name)?;
    recipe.check(&dataset)?;
    let (split, held_out) = (options.split.unwrap_or_default(), arguments.val_fraction.unwrap_or(HELD_OUT));
    if !(held_out > 0.0 && held_out < 1.0) {
        wrong_usage!("--val-fraction is {held_out}; it must lie between 0 and 1, as in 0.05");
    }
    if split == Split::None && arguments.val_fraction.is_some() {
        wrong_usage!("--val-fraction would do nothing with --split none; leave one of them out");
    }
    let images = images(arguments, &dataset, &progress)?;
    let validation = validation(arguments, &dataset, &progress)?;
    ui::say(&format!("recipe {}: {}", recipe.name, recipe.summary));
    ui::say(&format!("data set {}: {}", dataset.name, dataset.title));
    let count = if images.len() == 1 { "an image".to_owned() } else { format!("{} images", images.len()) };
    ui::say(&format!("learning from pixels of {count}, features on {device}"));
    let weights = encoder_weights(&arguments.weights, Some(folder), &progress)?;
    if weights.is_none() {
        ui::say("note: the encoder's weights are random; trained ones usually see more: --weights vgg16-imagenet");
    }
    let plan = Plan { recipe, dataset, images, validation, split, held_out, seed: arguments.seed };
    let stop = Stop::on_signal()?;
    let cache = options.cache_features.as_deref();
    let (lock, flag) = (Some(&lock), stop.flag());
    let session = Session { device, weights: weights.as_ref(), cache, lock, stop: flag, sink: &progress };
    match train(plan, folder, &session)? {
        Outcome::Stopped => {
            ui::say("stopped; nothing was written");
            return Ok(stop.exit().unwrap_or(Exit::Failed));
        }
        Outcome::Finished(report) => {
            report.table().iter().for_each(|line| ui::result(line));
            if let Some(found) = &report.out_of_bag {
                ui::result(&format!("out-of-bag error {:.4}", 1.0 - found.accuracy));
            }
            for importance in &report.importances {
                ui::result(&format!("importance of {}: {:.1} %", importance.name, 100.0 * importance.importance));
            }
            say_peak(device);
            ui::result(&format!("trained: {}; report: {}", folder.display(), folder.join("report.html").display()));
            ui::say(&format!(
                "predict with: segtool predict --run {} --color --output-path predictions IMAGE...",
                folder.display()
            ));
        }
    }
    Ok(Exit::Done)
}

/// Weights of an encoder, for a run in `folder`.
fn encoder_weights(sources: &[String], folder: Option<&Path>, progress: &Progress) -> Result<Option<Weights>> {
    if sources.is_empty() {
        return Ok(None);
    }
    let files = locate(sources, progress)?;
    super::refuse_own_weights(&files, folder)?;
    Ok(Some(Weights::open(&files, None)?))
}

fn images(arguments: &Train, dataset: &Dataset, progress: &Progress) -> Result<Vec<LabelledImage>> {
    if let Some(table) = &arguments.pixels.label_csv {
        if let Some(folder) = arguments.images.as_deref().filter(|folder| !folder.is_dir()) {
            wrong_usage!("{} is no folder; with --label-csv, --images is the folder of the images", folder.display());
        }
        return Ok(LabelledImage::from_table(table, dataset, arguments.images.as_deref())?);
    }
    let pairs = match (&arguments.train_list, &arguments.label_list, &arguments.images, &arguments.labels) {
        (Some(images), Some(labels), ..) => pair_lists(images, labels, progress)?,
        (Some(pairs), None, ..) => read_pairs(pairs, progress)?,
        (_, _, Some(images), Some(labels)) => pair_folders(images, labels, progress)?,
        _ => wrong_usage!(
            "say where the labels are: --images and --labels, --train-list and --label-list, or --label-csv"
        ),
    };
    refuse_exchanged(&pairs, dataset, "`images` and `labels`, or `train_list` and `label_list`")?;
    Ok(LabelledImage::from_pairs(pairs)?)
}

fn validation(arguments: &Train, dataset: &Dataset, progress: &Progress) -> Result<Vec<LabelledImage>> {
    let pairs = match (&arguments.val_list, &arguments.val_label_list) {
        (Some(images), Some(labels)) => pair_lists(images, labels, progress)?,
        (Some(pairs), None) => read_pairs(pairs, progress)?,
        _ => Vec::new(),
    };
    refuse_exchanged(&pairs, dataset, "`val_list` and `val_label_list`")?;
    Ok(LabelledImage::from_pairs(pairs)?)
}

/// Predicts with a forest's run.
pub(super) fn predict_with_forest(arguments: &Predict, run: &ForestRun, inputs: &[PathBuf]) -> Result<Exit> {
    refuse(&arguments.given, "a run of a random forest", |id| PREDICT.contains(&id))?;
    let progress = Progress::new();
    let device = arguments.compute.device.unwrap_or_default();
    let predictor = ForestPredictor::open(run, device)?;
    let options =
        Options { memory: arguments.memory, side: arguments.inference.tile, cache: arguments.cache_features.clone() };
    let outputs = super::predict::outputs(arguments, inputs.len())?;
    let stop = Stop::on_signal()?;
    let read: Vec<PathBuf> = arguments.input_list.iter().cloned().collect();
    let summary = predict_files(&predictor, inputs, &arguments.target(&read, &stop), &outputs, &options, &progress)?;
    super::predict::finish(&summary, inputs.len(), &arguments.output_path, &stop)
}

/// Taps, features, parameters and memory of a recipe of hypercolumns.
pub(super) fn describe(recipe: &ForestRecipe, arguments: &Info) -> Result<Exit> {
    if arguments.width.is_some() || arguments.classes.is_some() || arguments.batch != 1 {
        wrong_usage!("--width, --classes and --batch are for recipes of networks; {} is of hypercolumns", recipe.name);
    }
    let bands = Dataset::find(recipe.dataset.as_deref().unwrap_or("core"))?.bands;
    let (config, device) = (&recipe.features, arguments.device.unwrap_or_default().resolve()?);
    config.check(bands)?;
    let memory = feature_memory(&config.encoder, &config.taps, bands, arguments.size, device)?.bytes(1);
    let encoder = config.encoder.hollow(bands, &config.taps, &DeviceChoice::Flex.open()?)?;
    let parameters: u64 = shapes(&encoder).iter().map(ParameterShape::count).sum();
    let (parts, features) = (config.parts(bands)?, config.features(bands)?);
    let stride = |tap| config.encoder.reach(tap, bands).map(|reach| reach.stride);
    if arguments.json {
        let part = |part: &Part| -> Result<Value> {
            let Part { scale, tap, channels } = part;
            Ok(json!({ "tap": tap, "scale": scale, "features": channels, "stride": stride(*tap)? * scale }))
        };
        let report = json!({
            "recipe": recipe.name,
            "encoder": config.encoder.to_string(),
            "bands": bands,
            "taps": parts.iter().map(part).collect::<Result<Vec<_>>>()?,
            "features": features,
            "parameters": parameters,
            "trees": recipe.forest.trees,
            "height": arguments.size.height,
            "width": arguments.size.width,
            "device": device.to_string(),
            "memory": memory,
        });
        ui::result(&serde_json::to_string_pretty(&report)?);
        return Ok(Exit::Done);
    }
    ui::result(&format!("{}, {bands} bands, {parameters} parameters up to the last tap", config.encoder));
    ui::result(&format!("{:20}  {:>8}  {:>6}", "tap", "features", "stride"));
    for part in &parts {
        let name = part.to_string();
        ui::result(&format!("{name:20}  {:>8}  {:>6}", part.channels, stride(part.tap)? * part.scale));
    }
    ui::result(&format!("{:20}  {features:>8}", "all"));
    ui::result(&format!("forest of {} trees", recipe.forest.trees));
    let [height, width] = [arguments.size.height, arguments.size.width];
    let mebibytes = memory.div_ceil(1 << 20);
    ui::result(&format!("features of a window of {height} x {width} on {device}: {mebibytes} MiB"));
    Ok(Exit::Done)
}

/// Says, before any work, whether a PNG can be written, and that it would not take the place of the image.
fn check_output(image: &Path, output: &Path) -> Result<()> {
    if !output.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png")) {
        wrong_usage!("{} is written as PNG; give it a name that ends in .png", output.display());
    }
    ReadFiles::new([image]).refuse(output, "output")?;
    Ok(check_writable(output)?)
}

/// Draws what a channel of an encoder's layer shows of an image.
pub(super) fn draw_features(arguments: &Info, image: &Path) -> Result<Exit> {
    let progress = Progress::new();
    let (tap, channel) =
        (arguments.tap.context("--tap is missing")?, arguments.channel.context("--channel is missing")?);
    let stem = image.file_stem().unwrap_or_default().to_string_lossy();
    let output = arguments.output.clone().unwrap_or_else(|| format!("{stem}_{tap}_{channel}.png").into());
    check_output(image, &output)?;
    let device = arguments.device.unwrap_or_default().resolve()?;
    let drawn = match &arguments.run {
        Some(folder) => match Run::open(folder)? {
            Run::Forest(run) => draw_channel(image, tap, channel, ChannelImage::of_run(&run, device)?)?,
            Run::Network(_) => {
                wrong_usage!("{} is a run of a network; --run is for runs of random forests here", folder.display())
            }
        },
        None => {
            let name = arguments.recipe.as_deref().unwrap_or("hypercolumn-core");
            let Recipe::Forest(recipe) = Recipe::find(name)? else {
                wrong_usage!("recipe '{name}' is of a network; --features takes recipes of hypercolumns");
            };
            let weights = encoder_weights(&arguments.encoder_weights, None, &progress)?;
            if weights.is_none() {
                ui::say("note: the encoder's weights are random; give some with --encoder-weights vgg16-imagenet");
            }
            draw_channel(image, tap, channel, ChannelImage::of_recipe(&recipe, weights.as_ref(), device)?)?
        }
    };
    write_png(&output, &color_probabilities(&drawn.shares, drawn.size.width))?;
    let (low, high) = (drawn.limits.0, drawn.limits.1);
    ui::result(&format!("drawn: {} ({}, {low:.4} dark to {high:.4} light)", output.display(), drawn.size));
    Ok(Exit::Done)
}
