//! Images, labels and predictions on disk drawn side by side, for reports.

mod inputs;

pub use inputs::{Inputs, Partners, Predictions, Triple};

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::Summary;
use crate::base::event::{Event, Sink, Stretch, Task};
use crate::base::files::{create_folder, refuse_equal_outputs, write_bytes_unsynced};
use crate::base::inputs::ReadFiles;
use crate::base::{Error, LabelMap, Result, Size};
use crate::data::{Dataset, Labels, Pair, check_size, displayed, load_labels, load_pair_labels, load_prediction};
use crate::draw::{Classes, FigureFormat, Shown, Style, compose, encode_figure};
use crate::image::{read_image, read_probability_npy, report_notes};

/// What to draw where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of the results.
    pub output: PathBuf,
    /// How they are stored.
    pub format: FigureFormat,
    /// What they show.
    pub style: Style,
}

/// Draws every triple as `<stem>_concat.png` (or .jpg), named after its prediction or, without one, its image, on all
/// cores. A triple that cannot be used is
/// reported and left out; an image that cannot be written ends the work. Two triples that would be written under one
/// name are refused before any work.
pub fn concat_files(triples: &[Triple], dataset: &Dataset, options: &Options, sink: &dyn Sink) -> Result<Summary> {
    let output = |triple: &Triple| {
        let stem = triple.name().file_stem().unwrap_or_default().to_string_lossy();
        options.output.join(format!("{stem}_concat.{}", options.format.extension()))
    };
    refuse_equal_outputs(triples.iter().map(|triple| (output(triple), triple.name())))?;
    refuse_inputs(triples, &output)?;
    create_folder(&options.output)?;
    let classes = Classes::of(dataset);
    let stretch = Stretch::begin(sink, Task::Draw, triples.len());
    let draw = |triple: &Triple| -> Result<Summary> {
        let image = load(triple, dataset, &options.style).and_then(|shown| {
            let image = compose(shown, &classes, &options.style);
            encode_figure(&image.map_err(|reason| Error::content(triple.name(), reason))?, options.format)
        });
        let summary = match image {
            Ok(file) => {
                write_bytes_unsynced(&output(triple), &file)?;
                Summary { written: 1, skipped: 0 }
            }
            Err(e) => {
                sink.event(Event::Skipped { path: triple.name().into(), reason: e.to_string() });
                Summary { written: 0, skipped: 1 }
            }
        };
        stretch.advance();
        Ok(summary)
    };
    let add = |a: Summary, b: Summary| Ok(Summary { written: a.written + b.written, skipped: a.skipped + b.skipped });
    let summary = triples.par_iter().with_max_len(1).map(draw).try_reduce(Summary::default, add);
    drop(stretch);
    report_notes(sink);
    summary
}

/// Refuses to draw over a file that is drawn, or that belongs to it.
fn refuse_inputs(triples: &[Triple], output: &dyn Fn(&Triple) -> PathBuf) -> Result<()> {
    let files = triples.iter().flat_map(|triple| {
        [&triple.image].into_iter().chain(&triple.prediction).chain(triple.label.iter().flat_map(Labels::files))
    });
    let inputs = ReadFiles::new(files);
    triples.iter().try_for_each(|triple| inputs.refuse(&output(triple), "output"))
}

/// Reads what a figure shows; all parts must have one size.
fn load(triple: &Triple, dataset: &Dataset, style: &Style) -> Result<Shown> {
    let read = |path| load_prediction(path, dataset).map(|map| (path, map));
    let prediction = triple.prediction.as_deref().map(read).transpose()?;
    let check = |path: &Path, size: Size| {
        prediction.as_ref().map_or(Ok(()), |(prediction, map)| check_size((path, size), (prediction, map.size)))
    };
    // The image, the largest file, comes last.
    let label = match &triple.label {
        Some(Labels::File(path)) => {
            let label = load_labels(path, dataset)?;
            check(path, label.size)?;
            Some(label)
        }
        _ => None,
    };
    let probability = match (&triple.prediction, style.probability) {
        (Some(prediction), true) => {
            let path = probability_path(prediction)?;
            let (size, probability) = read_probability_npy(&path)?;
            check(&path, size)?;
            Some(probability)
        }
        _ => None,
    };
    let raster = read_image(&triple.image)?;
    check(&triple.image, raster.size)?;
    let label = settled_label(triple, label, raster.size, dataset)?;
    Ok(Shown {
        image: displayed(raster, dataset.bands, &dataset.nodata_numbers()),
        label: label.map(|label| label.classes),
        prediction: prediction.map(|(_, map)| map.classes),
        probability,
        mean_iou: None,
    })
}

/// The label of an image of that size: of a file, what was read, which must have the size; of masks, their sum; of
/// annotations, what they draw.
fn settled_label(triple: &Triple, read: Option<LabelMap>, size: Size, dataset: &Dataset) -> Result<Option<LabelMap>> {
    match (&triple.label, read) {
        (Some(Labels::File(path)), Some(label)) => {
            check_size((&triple.image, size), (path, label.size))?;
            Ok(Some(label))
        }
        (Some(labels @ (Labels::Masks(_) | Labels::Annotated { .. })), _) => {
            let pair = Pair { image: triple.image.clone(), label: labels.clone() };
            load_pair_labels(&pair, size, dataset).map(Some)
        }
        _ => Ok(None),
    }
}

/// `<stem>_prob.npy` beside the prediction, which must be there.
fn probability_path(prediction: &Path) -> Result<PathBuf> {
    let stem = prediction.file_stem().unwrap_or_default().to_string_lossy();
    let path = prediction.with_file_name(format!("{stem}_prob.npy"));
    if !path.exists() {
        return Err(Error::content(path, "there is no such file; predicting with `prob` writes it"));
    }
    Ok(path)
}
