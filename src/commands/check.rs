//! `segtool check`.

use std::path::Path;

use anyhow::{Result, bail};
use segtool::base::files::write_bytes;
use segtool::base::inputs::ReadFiles;
use segtool::base::words::{count, counted, per_cent};
use segtool::check::{Check, Finding, Place, Report, Severity, Side};
use segtool::data::{Dataset, shell_word};
use segtool::recipe::{Kind, Recipe};
use segtool::report::Review;
use segtool::run::{Run, find_dataset, is_run};

use super::data::Sources;
use super::overrides::refuse_data_without_effect;
use super::start::RECIPE_FOR_PIXELS;
use super::{aligned, check_target, refuse_same_file, use_threads};
use crate::cli;
use crate::program::exit::Exit;
use crate::program::flags;
use crate::program::ui::{self, Progress};

/// Most files of a finding that are listed; JSON has them all.
const MAX_PLACES: usize = 3;
/// Samples of a review, where no number is given.
const SAMPLES: usize = 40;

pub(crate) fn run(arguments: &cli::Check) -> Result<Exit> {
    let outputs = [
        (&arguments.write_dataset, "--write-dataset"),
        (&arguments.write_groups, "--write-groups"),
        (&arguments.report, "--report"),
    ];
    refuse_same_file(&outputs)?;
    for (output, flag) in outputs {
        output.iter().try_for_each(|output| check_target(output, flag, arguments.overwrite))?;
    }
    let progress = Progress::new();
    use_threads(arguments.workers)?;
    refuse_data_without_effect(&arguments.given, kind(arguments)?)?;
    let sources = Sources::of(&arguments.data, &progress)?;
    let check = Check {
        dataset: dataset(arguments)?.or(sources.dataset),
        validation: sources.validation,
        group_by: arguments.data.whole.group_by.clone(),
        exclude: sources.exclude,
        seed: arguments.seed,
        ..Check::new(sources.images)
    };
    let report = check.run(&progress)?;
    if arguments.json {
        ui::result(&serde_json::to_string_pretty(&report)?);
    } else {
        text(&report).iter().for_each(|line| ui::result(line));
    }
    write_files(arguments, &report)?;
    write_review(arguments, &report, &progress)?;
    Ok(if report.would_fail() { Exit::Failed } else { Exit::Done })
}

/// The kind of model to train: with a recipe, that of the recipe.
fn kind(arguments: &cli::Check) -> Result<Kind> {
    Ok(match arguments.recipe.as_deref() {
        Some(name) if is_run(Path::new(name)) => Run::open(name)?.kind(),
        Some(name) => Recipe::find(name)?.kind(),
        None if arguments.data.table.label_csv.is_some() => Kind::Forest,
        None => Kind::Network,
    })
}

/// The data set that is asked for, and that the recipe can be trained on.
fn dataset(arguments: &cli::Check) -> Result<Option<Dataset>> {
    let given = arguments.dataset.as_deref().map(find_dataset).transpose()?;
    // What `segtool train` would take for single pixels.
    let usual = arguments.data.table.label_csv.as_ref().filter(|_| given.is_none()).map(|_| RECIPE_FOR_PIXELS);
    let Some(name) = arguments.recipe.as_deref().or(usual) else { return Ok(given) };
    if is_run(Path::new(name)) {
        return Ok(Some(given.map_or_else(|| find_dataset(name), Ok)?));
    }
    let recipe = Recipe::find(name)?;
    let dataset = match (given, recipe.dataset()) {
        (Some(given), _) => Some(given),
        (None, own) => own.map(find_dataset).transpose()?,
    };
    if let (Recipe::Network(mut recipe), Some(dataset)) = (recipe, &dataset) {
        recipe.fit(dataset)?;
    }
    Ok(dataset)
}

fn write_review(arguments: &cli::Check, report: &Report, progress: &Progress) -> Result<()> {
    let Some(output) = &arguments.report else { return Ok(()) };
    let mut read = ReadFiles::new(report.files());
    read.add(arguments.data.whole.exclude.iter().chain(&arguments.predictions));
    read.refuse(output, "report")?;
    let Some(dataset) = &report.meaning else {
        bail!("{}: no review page was written, as it needs a data set; give --dataset", output.display());
    };
    let review = Review {
        pairs: &report.checked,
        dataset,
        samples: arguments.samples.unwrap_or(SAMPLES),
        seed: arguments.seed,
        predictions: arguments.predictions.as_deref(),
    };
    let samples = review.write(output, progress)?;
    ui::say(&format!("written: {}, {}; open it in a browser", output.display(), counted(samples, "sample")));
    Ok(())
}

fn write_files(arguments: &cli::Check, report: &Report) -> Result<()> {
    let mut read = ReadFiles::new(report.files());
    read.add(arguments.data.whole.exclude.iter());
    if let Some(output) = &arguments.write_groups {
        read.refuse(output, "write_groups")?;
        write_bytes(output, report.group_table().as_bytes())?;
        ui::say(&format!("written: {}, for --group-by", output.display()));
    }
    if let Some(output) = &arguments.write_dataset {
        read.refuse(output, "write_dataset")?;
        write_bytes(output, report.proposed_dataset()?.as_bytes())?;
        let word = shell_word(output);
        ui::say(&format!("written: {word}; edit the names of its classes, then train with --dataset {word}"));
    }
    Ok(())
}

/// The report as lines.
fn text(report: &Report) -> Vec<String> {
    let mut lines: Vec<String> = report.findings.iter().flat_map(finding_lines).collect();
    if !report.classes.is_empty() {
        lines.extend(class_table(report));
    }
    lines.extend(report.image_sentences());
    if !report.advice.is_empty() {
        lines.push("suggestions for training:".into());
        let line =
            |(what, advice): &(&str, String)| format!("  {}: {}", what.replace('_', " "), in_train_flags(advice));
        lines.extend(report.advice.iter().map(line));
    }
    lines.push(verdict(report));
    lines
}

/// A text with the fields of a training, between backticks, as flags of `segtool train`.
fn in_train_flags(text: &str) -> String {
    let flag =
        |(i, piece): (usize, &str)| if i % 2 == 1 { format!("--{}", piece.replace('_', "-")) } else { piece.into() };
    text.split('`').enumerate().map(flag).collect()
}

fn finding_lines(finding: &Finding) -> Vec<String> {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let mut lines = vec![format!("{severity}: {}", flags::in_flags(&finding.message))];
    lines.extend(finding.places.iter().take(MAX_PLACES).map(|place| format!("    {}", place_text(place))));
    if finding.places.len() > MAX_PLACES {
        lines.push(format!("    ... and {} more (--json lists them)", finding.places.len() - MAX_PLACES));
    }
    if !finding.remedy.is_empty() {
        lines.push(format!("  next: {}", flags::in_flags(&finding.remedy)));
    }
    lines
}

fn place_text(place: &Place) -> String {
    let with = place.with.as_ref().map_or_else(String::new, |with| format!(" and {}", with.display()));
    let detail = if place.detail.is_empty() { String::new() } else { format!(": {}", place.detail) };
    format!("{}{with}{detail}", place.file.display())
}

fn class_table(report: &Report) -> Vec<String> {
    let sides: &[Side] =
        if report.pairs.validation > 0 { &[Side::Training, Side::Validation] } else { &[Side::Training] };
    let heading = ["class".to_owned()].into_iter().chain(sides.iter().flat_map(|side| {
        let name = if *side == Side::Training { "training" } else { "validation" };
        [format!("{name} pixels"), "images".to_owned()]
    }));
    let row = |class: &segtool::check::ClassShare| -> Vec<String> {
        let of_side = |side: &Side| {
            let counted = class.on(*side);
            [per_cent(counted.pixels, report.labelled(*side)), count(counted.images as u64)]
        };
        [class.name.clone()].into_iter().chain(sides.iter().flat_map(of_side)).collect()
    };
    let rows: Vec<Vec<String>> = [heading.collect()].into_iter().chain(report.classes.iter().map(row)).collect();
    aligned(&rows, &[0])
}

fn verdict(report: &Report) -> String {
    let of = |severity| report.findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings, notes) = (of(Severity::Error), of(Severity::Warning), of(Severity::Note));
    let pairs = match report.pairs.validation {
        0 => counted(report.pairs.training, "pair"),
        validation => format!("{} for training, {validation} for validation", counted(report.pairs.training, "pair")),
    };
    let found = [counted(errors, "error"), counted(warnings, "warning"), counted(notes, "note")].join(", ");
    let end = if errors > 0 { "training would fail" } else { "training would start" };
    format!("{pairs}: {found}; {end}")
}
