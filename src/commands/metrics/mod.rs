//! `segtool metrics`.

mod inputs;
mod report;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use segtool::base::Error;
use segtool::base::event::{Event, Sink};
use segtool::base::files::write_atomically;
use segtool::data::{Dataset, Pair, refuse_exchanged, suggestion};
use segtool::metric::{Convention, Tally};
use segtool::nn::precision::Precision;
use segtool::predict::{Options, Predictor};
use segtool::run::Run;
use segtool::tools::score::{ImageScores, OnFault, OnImage, Partial, Scorer, Settings, score_files};

use super::{say_hardware, use_threads};
use crate::cli::Metrics;
use crate::program::exit::Exit;
use crate::program::flags::in_words;
use crate::program::ui::{self, Progress};

pub(crate) use report::Report;

pub(crate) fn run(arguments: &Metrics) -> Result<Exit> {
    report::check_targets(arguments)?;
    let partial = if arguments.merge.is_empty() {
        counted(arguments)?
    } else {
        inputs::refuse_written(arguments, &[])?;
        let mut sum = Partial::merge(&arguments.merge)?;
        report::check_classes(arguments, sum.dataset.class_count())?;
        if let Some(convention) = arguments.convention {
            sum.convention = convention.to_string();
        }
        sum
    };
    if partial.tally.images > 0 {
        let convention: Convention = partial.convention.parse()?;
        if partial.tally.matrix.total() == 0 {
            ui::say(
                "note: no pixel of the label images counts as labelled, so every score is 0; check what the label values mean",
            );
        }
        let report = Report::new(&partial.tally, convention, &partial.dataset);
        ui::result(&report.text(arguments)?);
    }
    // Of a share of a set, the pairs that were left out count too.
    report::write_files(arguments, &partial)?;
    if let (Some(shard), 0) = (arguments.shard, partial.tally.images + partial.tally.skipped) {
        ui::say(&format!("note: {shard} has no pairs, because there are more shards than pairs"));
        return Ok(Exit::Done);
    }
    if partial.tally.images == 0 {
        bail!("none of the {} pairs could be scored", partial.tally.skipped);
    }
    Ok(if partial.tally.skipped > 0 { Exit::SomeSkipped } else { Exit::Done })
}

/// Counts what the command line asks for.
fn counted(arguments: &Metrics) -> Result<Partial> {
    if arguments.run.is_none() {
        use_threads(arguments.workers)?;
    }
    let convention = arguments.convention.unwrap_or_default();
    let named = inputs::named_dataset(arguments)?;
    let run = arguments.run.as_ref().map(Run::open).transpose()?;
    let (pairs, published) = inputs::pairs(arguments, run.as_ref())?;
    let dataset = inputs::dataset(arguments, convention, [named, published], &pairs)?;
    report::check_classes(arguments, dataset.class_count())?;
    inputs::refuse_written(arguments, &pairs)?;
    inputs::note_repeated(&pairs);
    if let Some(run) = &run {
        inputs::note_trained_on(&pairs, run);
        refuse_exchanged(&pairs, &dataset, "`images` and `labels`, or `image_list` and `list_true`")?;
    }
    let on_fault = if arguments.strict { OnFault::Stop } else { OnFault::Skip };
    let implied_ignore = inputs::implied_ignore(arguments, convention);
    let transparent_unlabelled = run.is_some_and(|run| run.kind().learns_from_strokes());
    let settings = Settings { dataset, boundary: arguments.boundary, on_fault, implied_ignore, transparent_unlabelled };
    let tally = match &arguments.per_image {
        None => tally(arguments, &pairs, &settings, None)?,
        Some(path) => {
            with_rows(path, &settings.dataset, |on_image| tally(arguments, &pairs, &settings, Some(on_image)))?
        }
    };
    if tally.skipped > 0
        && let Some((found, remedy)) = suggestion(&pairs, &settings.dataset)
    {
        ui::say(&format!("note: {found}; {}", in_words(&remedy)));
    }
    Ok(Partial::new(convention.to_string(), settings.dataset, tally))
}

fn tally(
    arguments: &Metrics,
    pairs: &[Pair],
    settings: &Settings,
    on_image: Option<&mut OnImage<'_>>,
) -> Result<Tally> {
    match &arguments.run {
        Some(run) => predicted(run, arguments, pairs, settings, on_image),
        None => Ok(score_files(pairs, settings, on_image, &Progress::new())?),
    }
}

/// Predicts the images of the pairs and counts them at once.
fn predicted(
    run: &Path,
    arguments: &Metrics,
    pairs: &[Pair],
    settings: &Settings,
    mut on_image: Option<&mut OnImage<'_>>,
) -> Result<Tally> {
    let device = arguments.device.unwrap_or_default();
    say_hardware(device)?;
    let mut predictor = Predictor::open_on(run, device, Precision::default())?;
    if let Some(threshold) = arguments.threshold {
        predictor.set_threshold(threshold)?;
    }
    let images: Vec<PathBuf> = pairs.iter().map(|pair| pair.image.clone()).collect();
    let workers = arguments.workers.unwrap_or(Options::default().workers);
    let options = Options { workers, ..Options::default() };
    let mut scorer = Scorer::new(settings)?;
    let progress = Progress::new();
    let unread = predictor.predict_each(&images, &options, &progress, &mut |i, prediction| {
        match scorer.add_map(&pairs[i], &prediction.labels) {
            Ok(()) => {
                if let Some(on_image) = &mut on_image {
                    on_image(&pairs[i], scorer.last())?;
                }
            }
            Err(fault) if settings.on_fault == OnFault::Stop => return Err(fault),
            Err(fault) => {
                scorer.skip();
                progress.event(Event::Skipped { path: pairs[i].image.clone(), reason: fault.to_string() });
            }
        }
        Ok(true)
    })?;
    if unread > 0 && settings.on_fault == OnFault::Stop {
        bail!("{unread} of {} images could not be predicted", pairs.len());
    }
    (0..unread).for_each(|_| scorer.skip());
    Ok(scorer.finish())
}

/// Runs `work` with a receiver of each image's scores that writes them as rows of a CSV file.
fn with_rows(path: &Path, dataset: &Dataset, work: impl FnOnce(&mut OnImage<'_>) -> Result<Tally>) -> Result<Tally> {
    let mut outcome = None;
    let written = write_atomically(path, |out| {
        let mut csv = csv::Writer::from_writer(out);
        let columns = ["prediction", "label", "pixels", "pixel_accuracy", "mean_iou"].map(String::from);
        let ious = dataset.classes.iter().map(|class| format!("iou {}", class.name));
        csv.write_record(columns.into_iter().chain(ious))?;
        let mut write = |pair: &Pair, scores: ImageScores| {
            csv.write_record(row(pair, &scores)).map_err(|e| Error::write(path, e.into()))
        };
        // Without a tally the rows are not kept either.
        let counted = outcome.insert(work(&mut write)).is_ok();
        if counted { csv.flush() } else { Err(std::io::Error::other("the images could not be scored")) }
    });
    match outcome {
        Some(Err(fault)) => Err(fault),
        Some(Ok(tally)) => Ok(written.map(|()| tally)?),
        None => bail!("{}", written.err().map_or_else(String::new, |e| e.to_string())),
    }
}

fn row(pair: &Pair, scores: &ImageScores) -> Vec<String> {
    let paths = [pair.image.as_path(), pair.label.name()].map(|path| path.display().to_string());
    let number = |value: f64| value.to_string();
    let numbers = [scores.pixels.to_string(), number(scores.pixel_accuracy), number(scores.mean_iou)];
    let ious = scores.class_iou.iter().map(|iou| iou.map_or_else(String::new, number));
    paths.into_iter().chain(numbers).chain(ious).collect()
}
