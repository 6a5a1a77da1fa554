//! `segtool dataset`.

mod annotated;

use std::path::{Path, PathBuf};

use anyhow::Result;
use segtool::base::files::{absolute, write_bytes};
use segtool::base::inputs::ReadFiles;
use segtool::data::{
    ClassNames, ImageProbe, Known, LabelFiles, LabelSurvey, Proposal, RawLabel, find_images_of, probe_images, propose,
    shell_word, survey_labels,
};
use serde_json::{Value, json};

use super::{aligned, check_target, end_with_skipped, use_threads};
use crate::cli::InspectDataset;
use crate::program::exit::{Exit, wrong_usage};
use crate::program::ui::{self, Progress};

/// Most numbers and colours in the table; JSON has them all.
const MAX_ROWS: usize = 60;

pub(crate) fn run(arguments: &InspectDataset) -> Result<Exit> {
    if let Some(output) = &arguments.output {
        check_target(output, "--output", arguments.overwrite)?;
    }
    use_threads(arguments.workers)?;
    let annotations = annotated::files(arguments)?;
    if !annotations.is_empty() {
        if arguments.names.is_some() {
            wrong_usage!("--names has no effect on annotations, which name their classes; leave it out");
        }
        return annotated::describe(arguments, &annotations);
    }
    // A names file that was asked for is read first: a wrong one should not cost a look through all label images.
    let given = arguments.names.as_deref().map(ClassNames::read).transpose()?;
    let progress = Progress::new();
    let source = LabelFiles::find(&arguments.labels, &progress)?;
    if let Some(output) = &arguments.output {
        let mut read = ReadFiles::new(&source.files);
        read.add(arguments.names.iter().chain(&arguments.labels).chain(&arguments.images));
        read.refuse(output, "output")?;
    }
    let images = match &arguments.images {
        Some(path) => find_images_of(path, &progress)?,
        None => source.images.clone(),
    };
    let survey = survey_labels(&source, &progress)?;
    let images = if images.is_empty() { None } else { Some(probe_images(&images, &progress)?) };
    let proposal = proposal(arguments, &survey, images.as_ref(), given.as_ref());
    if arguments.json {
        ui::result(&serde_json::to_string_pretty(&report(&survey, proposal.as_ref()))?);
    } else {
        let print = if arguments.output.is_some() { ui::result } else { ui::say };
        table(&survey, proposal.as_ref().ok()).iter().for_each(|line| print(line));
    }
    let proposal = proposal?;
    write(arguments, &proposal, ("edit their names, then ", &train_on(arguments, source.masks)))?;
    Ok(end_with_skipped(survey.skipped, source.files.len(), "label images"))
}

/// Proposes a data set file. Names that merely lie beside the label images are left out, with a note, if they do not fit.
fn proposal(
    arguments: &InspectDataset,
    survey: &LabelSurvey,
    images: Option<&ImageProbe>,
    given: Option<&ClassNames>,
) -> Result<Proposal> {
    let (name, labels) = (name(arguments), labels_text(&arguments.labels));
    let known = Known { name: &name, labels: &labels, images, names: given };
    if given.is_none()
        && let Some(path) = ClassNames::beside(&arguments.labels)
    {
        let named = ClassNames::read(&path).and_then(|names| propose(survey, &Known { names: Some(&names), ..known }));
        match named {
            Ok(proposal) => {
                ui::say(&format!("note: class names taken from {}", path.display()));
                return Ok(proposal);
            }
            Err(error) => ui::say(&format!("note: a file of class names in the label folder was not used: {error}")),
        }
    }
    Ok(propose(survey, &known)?)
}

fn name(arguments: &InspectDataset) -> String {
    let stem = |path: &Path| absolute(path).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let of_file = || arguments.output.as_deref().or(arguments.labels.first().map(PathBuf::as_path)).and_then(stem);
    arguments.name.clone().or_else(of_file).unwrap_or_else(|| "my data set".into())
}

fn labels_text(labels: &[PathBuf]) -> String {
    let (shown, more) = (labels.iter().take(3), if labels.len() > 3 { ", ..." } else { "" });
    format!("{}{more}", shown.map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "))
}

/// The options that name images and labels to train on.
fn train_on(arguments: &InspectDataset, masks: bool) -> String {
    let word = |path: Option<&PathBuf>, name: &str| path.map_or_else(|| name.to_owned(), |path| shell_word(path));
    let (labels, images) = (arguments.labels.first(), arguments.images.as_ref());
    let is_folder = labels.is_some_and(|labels| labels.is_dir());
    match (masks, is_folder) {
        (true, _) => format!("--mask-folders {}", word(labels, "DIR")),
        (false, true) => format!("--images {} --labels {}", word(images, "IMAGES"), word(labels, "LABELS")),
        (false, false) => {
            format!("--train-list {} --label-list {}", word(images, "IMAGES.txt"), word(labels, "LABELS.txt"))
        }
    }
}

/// Writes the file and says what to do `first` and how to train on `source` then; without a file to write, prints it.
fn write(arguments: &InspectDataset, proposal: &Proposal, (first, source): (&str, &str)) -> Result<()> {
    match &arguments.output {
        Some(output) => {
            write_bytes(output, proposal.text.as_bytes())?;
            let classes = proposal.dataset.class_count();
            ui::say(&format!("written: {}, {classes} classes; {first}train with:", output.display()));
            ui::say(&next_command(source, output));
        }
        None if !arguments.json => ui::result(proposal.text.trim_end()),
        None => {}
    }
    Ok(())
}

fn next_command(source: &str, output: &Path) -> String {
    let run = format!("runs/{}", output.file_stem().unwrap_or_default().to_string_lossy());
    format!(
        "  segtool train --recipe unet-milesial --dataset {} {source} --val-fraction 0.1 --output-path {}",
        shell_word(output),
        shell_word(Path::new(&run))
    )
}

/// The numbers and colours, largest first where they are colours, and what each is taken as.
fn table(survey: &LabelSurvey, proposal: Option<&Proposal>) -> Vec<String> {
    let mut found: Vec<_> = survey.labels.iter().collect();
    found.sort_by_key(|found| match found.label {
        RawLabel::Number(_) => (false, 0),
        RawLabel::Color(_) => (true, u64::MAX - found.count.pixels),
    });
    let heading = if survey.with_colors.count == 0 { "value" } else { "value or colour" };
    let heading =
        [heading, "pixels", "share", "files", if proposal.is_some() { "taken as" } else { "" }].map(String::from);
    let row = |found: &&segtool::data::FoundLabel| {
        let share = format!("{:.2} %", 100.0 * survey.share(found.count.pixels));
        let meaning = proposal.and_then(|proposal| proposal.meanings.get(&found.label)).cloned().unwrap_or_default();
        [found.label.to_string(), found.count.pixels.to_string(), share, found.files.to_string(), meaning]
    };
    let rows: Vec<[String; 5]> = [heading].into_iter().chain(found.iter().take(MAX_ROWS).map(row)).collect();
    let mut lines = vec![format!("{} label images: {}", survey.files(), survey.sentence())];
    lines.extend(aligned(&rows, &[4]));
    if found.len() > MAX_ROWS {
        lines.push(format!("... and {} more (--json lists them)", found.len() - MAX_ROWS));
    }
    lines
}

fn report(survey: &LabelSurvey, proposal: Result<&Proposal, &anyhow::Error>) -> Value {
    let label = |label: RawLabel| match label {
        RawLabel::Number(number) if number.0.is_nan() => json!("nan"),
        RawLabel::Number(number) => match number.as_value() {
            Some(value) => json!(value),
            None => json!(number.0),
        },
        RawLabel::Color(color) => json!(color),
    };
    let found = survey.labels.iter().map(|found| {
        json!({
            "label": label(found.label),
            "pixels": found.count.pixels,
            "share": survey.share(found.count.pixels),
            "files": found.files,
            "palette_color": found.palette,
            "taken_as": proposal.ok().and_then(|proposal| proposal.meanings.get(&found.label)),
        })
    });
    json!({
        "files": survey.files(),
        "files_with_values": survey.with_numbers.count,
        "files_with_colors": survey.with_colors.count,
        "skipped": survey.skipped,
        "pixels": survey.pixels,
        "complete": survey.complete,
        "labels": found.collect::<Vec<_>>(),
        "dataset": proposal.ok().map(|proposal| &proposal.dataset),
        "toml": proposal.ok().map(|proposal| &proposal.text),
        "error": proposal.err().map(|error| format!("{error:#}")),
    })
}
