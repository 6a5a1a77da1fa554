//! `segtool demo`: the whole way once, on made data.

use std::path::Path;

use anyhow::{Context, Result, bail};
use image::RgbImage;
use segtool::base::Size;
use segtool::base::files::{create_folder, is_empty_folder, write_bytes};
use segtool::data::synthetic::write_set;
use segtool::data::{Dataset, Pair, load_labels};
use segtool::draw::{Figure, Frame, LegendRow, LegendTable, Panel, color_labels, figure, stack, write_png};
use segtool::image::read_image;
use segtool::metric::Convention;
use segtool::nn::precision::Precision;
use segtool::predict::{Options, Outputs, Predictor, Target};
use segtool::recipe::{NetworkRecipe, Recipe};
use segtool::run::{Run, RunLock};
use segtool::tools::score::{Settings, score_files};
use segtool::train::{Job, Outcome, Session, Source, Validation, train};

use super::metrics;
use super::stop::Stop;
use crate::cli::Demo;
use crate::program::exit::Exit;
use crate::program::ui::{self, Progress};

const SIZE: Size = Size { width: 128, height: 128 };
const TRAINING: u64 = 96;
const VALIDATION: u64 = 12;
const TEST: u64 = 16;
/// The file that tells a demo's folder from the user's own.
const MARKER: &str = "made-by-segtool-demo.txt";
/// Test sections in the image.
const SHOWN: usize = 3;

pub(crate) fn run(arguments: Demo) -> Result<Exit> {
    let progress = Progress::new();
    let device = arguments.device.unwrap_or_default().resolve()?;
    let output = &arguments.output_path;
    let (data, run, predictions) = (output.join("data"), output.join("run"), output.join("predictions"));
    check_target(output)?;
    Run::check_target(&run, true)?;
    write_bytes(&output.join(MARKER), b"Made by `segtool demo`, which replaces what is in this folder.\n")?;
    let lock = RunLock::claim(&run, true)?;
    ui::say(&format!("making {} synthetic seismic sections in {}", TRAINING + VALIDATION + TEST, data.display()));
    let test = make(&data, arguments.seed)?;
    let (job, epochs) = job(&data, &arguments)?;
    let dataset = Dataset::find("demo")?;
    let stop = Stop::on_signal()?;
    ui::say(&format!("training unet-demo for {epochs} epochs on {}", device.described()));
    let workers = arguments.workers;
    let session =
        Session { workers, overwrite: true, lock: Some(&lock), ..Session::new(device, stop.flag(), &progress) };
    if let Outcome::Stopped(_) = train(job, &run, &session)? {
        ui::result(&format!("stopped; continue with: segtool train --resume {}", run.display()));
        return Ok(stop.exit().unwrap_or(Exit::Done));
    }
    drop(stop);

    let predictor = Predictor::open_on(&run, device, Precision::default())?;
    let inputs: Vec<_> = test.iter().map(|pair| pair.image.clone()).collect();
    let options = Options { workers, ..Options::default() };
    let target = Target { overwrite: true, ..Target::new(&predictions) };
    let summary = predictor.predict_files(&inputs, &target, &Outputs::default(), &options, &progress)?;
    let scored: Vec<Pair> =
        summary.written.iter().zip(&test).map(|(p, t)| Pair { image: p.clone(), label: t.label.clone() }).collect();
    let settings = Settings::new(dataset.clone());
    let tally = score_files(&scored, &settings, None, &progress)?;
    let image = output.join("side-by-side.png");
    draw(&image, &test, &scored, &dataset)?;

    ui::result(&metrics::Report::new(&tally, Convention::default(), &dataset).table());
    for (what, path) in [("data", &data), ("run", &run), ("predictions", &predictions), ("image", &image)] {
        ui::result(&format!("{what:12} {}", path.display()));
    }
    Ok(Exit::Done)
}

/// Makes the sections; returns those of the test set.
fn make(data: &Path, seed: u64) -> Result<Vec<Pair>> {
    let validation = TRAINING..TRAINING + VALIDATION;
    write_set(data, "train", seed, 0..TRAINING, SIZE)?;
    write_set(data, "val", seed, validation.clone(), SIZE)?;
    Ok(write_set(data, "test", seed, validation.end..validation.end + TEST, SIZE)?)
}

/// What is trained, for how many epochs.
fn job(data: &Path, arguments: &Demo) -> Result<(Job, usize)> {
    let mut recipe = NetworkRecipe::find("unet-demo")?;
    recipe.training.epochs = arguments.num_epoch.unwrap_or(recipe.training.epochs);
    let epochs = recipe.training.epochs;
    let lists = |name: &str| Source::Lists {
        images: data.join(format!("{name}_images.txt")),
        labels: data.join(format!("{name}_labels.txt")),
    };
    let job = Job {
        validation: Validation::Source(lists("val")),
        seed: arguments.seed,
        ..Job::new(Recipe::Network(Box::new(recipe)), lists("train"))
    };
    Ok((job, epochs))
}

/// Makes the folder if it is not there; refuses one that holds anything but an earlier demo.
fn check_target(output: &Path) -> Result<()> {
    create_folder(output)?;
    if !is_empty_folder(output)? && !output.join(MARKER).exists() {
        bail!("{} holds files that segtool demo did not write; choose another --output-path", output.display());
    }
    Ok(())
}

/// Image, label and prediction of the first test sections.
fn draw(path: &Path, test: &[Pair], scored: &[Pair], dataset: &Dataset) -> Result<()> {
    let colors = dataset.colors();
    let map = |path: &Path| -> Result<RgbImage> {
        let labels = load_labels(path, dataset)?;
        Ok(enlarge(&color_labels(&labels.classes, labels.size.width, &colors)))
    };
    let (mut sections, mut labels, mut predictions) = (Vec::new(), Vec::new(), Vec::new());
    for (pair, prediction) in test.iter().zip(scored).take(SHOWN) {
        sections.push(enlarge(&read_image(&pair.image)?.to_rgb(&[])));
        labels.push(map(pair.label.name())?);
        predictions.push(map(&prediction.image)?);
    }
    let panels = [("section", sections), ("label", labels), ("prediction", predictions)]
        .map(|(title, images)| Panel { title: title.into(), image: stack(&images) });
    let classes = dataset.classes.iter();
    let rows = classes.map(|c| LegendRow { color: Some(c.color), name: c.name.clone(), values: Vec::new() }).collect();
    let legends = vec![LegendTable { columns: Vec::new(), rows }];
    let drawn = figure(&Figure { panels: panels.into(), frame: Frame::Titles, legends, ..Figure::default() });
    write_png(path, &drawn).context("cannot write the image")
}

fn enlarge(image: &RgbImage) -> RgbImage {
    image::imageops::resize(image, 2 * image.width(), 2 * image.height(), image::imageops::FilterType::Nearest)
}
