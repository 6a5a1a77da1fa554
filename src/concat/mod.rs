//! Pictures, labels and predictions on disk drawn side by side, for reports.

mod compose;
mod inputs;
mod legend;
mod size;

pub use compose::{Classes, Look, Paint, Shown, compose};
pub use inputs::{Inputs, Partners, Predictions, Triple};

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::data::{Descriptor, displayed, load_labels, load_prediction};
use crate::error::{Error, Result, Size};
use crate::event::{Event, Sink, Task};
use crate::files::{create_folder, refuse_equal_outputs, write_bytes_unsynced};
use crate::image::{PictureFormat, encode_picture, read_image, read_probability_npy, report_notes};
use crate::inputs::ReadFiles;

/// What to draw where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of the results.
    pub output: PathBuf,
    /// How they are stored.
    pub format: PictureFormat,
    /// What they show.
    pub look: Look,
}

/// What became of the inputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Pictures written.
    pub written: usize,
    /// Inputs left out because a file could not be used.
    pub skipped: usize,
}

/// Draws every triple as `<stem of the prediction>_concat.png` (or .jpg), on all cores. A triple that cannot be used is
/// reported and left out; a picture that cannot be written ends the work. Two triples that would be written under one
/// name are refused before any work.
pub fn concat_files(
    triples: &[Triple],
    descriptor: &Descriptor,
    options: &Options,
    sink: &dyn Sink,
) -> Result<Summary> {
    // Pictures are named by the stem of their prediction.
    let output = |triple: &Triple| options.output.join(output_name(&triple.prediction, options.format));
    refuse_equal_outputs(triples.iter().map(|triple| (output(triple), triple.prediction.as_path())))?;
    refuse_inputs(triples, &output)?;
    create_folder(&options.output)?;
    let classes = Classes::of(descriptor);
    sink.event(Event::Started { task: Task::Concat, total: triples.len(), done: 0 });
    let done = AtomicUsize::new(0);
    let draw = |triple: &Triple| -> Result<Summary> {
        let picture = load(triple, descriptor, &options.look).and_then(|shown| {
            let picture = compose(shown, &classes, &options.look);
            let picture = picture.map_err(|reason| Error::content(&triple.prediction, reason))?;
            encode_picture(&picture, options.format)
        });
        let summary = match picture {
            Ok(file) => {
                write_bytes_unsynced(&output(triple), &file)?;
                Summary { written: 1, skipped: 0 }
            }
            Err(e) => {
                sink.event(Event::Skipped { path: triple.prediction.clone(), reason: e.to_string() });
                Summary { written: 0, skipped: 1 }
            }
        };
        sink.event(Event::Advanced { done: done.fetch_add(1, Ordering::Relaxed) + 1, loss: None });
        Ok(summary)
    };
    let add = |a: Summary, b: Summary| Ok(Summary { written: a.written + b.written, skipped: a.skipped + b.skipped });
    let summary = triples.par_iter().with_max_len(1).map(draw).try_reduce(Summary::default, add);
    sink.event(Event::Finished);
    report_notes(sink);
    summary
}

/// Refuses to draw over a file that is drawn, or that belongs to it.
fn refuse_inputs(triples: &[Triple], output: &dyn Fn(&Triple) -> PathBuf) -> Result<()> {
    let files =
        triples.iter().flat_map(|triple| [Some(&triple.image), Some(&triple.prediction), triple.label.as_ref()]);
    let inputs = ReadFiles::new(files.flatten());
    triples.iter().try_for_each(|triple| inputs.refuse(&output(triple), "--output-path"))
}

/// Reads what a picture shows; all parts must have one size.
fn load(triple: &Triple, descriptor: &Descriptor, look: &Look) -> Result<Shown> {
    let prediction = load_prediction(&triple.prediction, descriptor)?;
    let check = |path: &Path, size: Size| {
        if size == prediction.size {
            return Ok(());
        }
        let (first, second) = (path.into(), triple.prediction.clone());
        Err(Error::SizeMismatch { first, first_size: size, second, second_size: prediction.size })
    };
    let label = match &triple.label {
        Some(path) => {
            let label = load_labels(path, descriptor)?;
            check(path, label.size)?;
            Some(label.classes)
        }
        None => None,
    };
    let probability = if look.probability {
        let path = probability_path(&triple.prediction)?;
        let (size, probability) = read_probability_npy(&path)?;
        check(&path, size)?;
        Some(probability)
    } else {
        None
    };
    let raster = read_image(&triple.image)?;
    check(&triple.image, raster.size)?;
    Ok(Shown {
        image: displayed(raster, descriptor.bands, &descriptor.nodata_numbers()),
        label,
        prediction: prediction.classes,
        probability,
        mean_iou: None,
    })
}

/// `<stem>_prob.npy` beside the prediction, which must be there.
fn probability_path(prediction: &Path) -> Result<PathBuf> {
    let stem = prediction.file_stem().unwrap_or_default().to_string_lossy();
    let path = prediction.with_file_name(format!("{stem}_prob.npy"));
    if !path.exists() {
        return Err(Error::content(path, "there is no such file; `segtool predict --prob` writes it"));
    }
    Ok(path)
}

fn output_name(prediction: &Path, format: PictureFormat) -> String {
    let stem = prediction.file_stem().unwrap_or_default().to_string_lossy();
    format!("{stem}_concat.{}", format.extension())
}
