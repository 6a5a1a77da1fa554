//! `segtool concat`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use segtool::concat::{Inputs, Look, Options, Paint, Partners, Predictions, Triple, concat_files};
use segtool::data::{Descriptor, Normalisation, Pair, ValidPixels, refuse_exchanged};
use segtool::run::find_dataset;

use super::use_threads;
use crate::Exit;
use crate::cli::Concat;
use crate::ui::{self, Progress};

pub(crate) fn run(arguments: &Concat) -> Result<Exit> {
    let descriptor = descriptor(arguments)?;
    let progress = Progress::new();
    let triples = inputs(arguments)?.find(&progress)?;
    if arguments.dataset.is_some() || arguments.num_class.is_some() {
        let pair = |triple: &Triple| Some(Pair { image: triple.image.clone(), label: triple.label.clone()?.into() });
        let pairs: Vec<Pair> = triples.iter().filter_map(pair).collect();
        refuse_exchanged(&pairs, &descriptor, "--images and --labels, or --image-list and --label-list")?;
    }
    let options = options(arguments);
    use_threads(arguments.workers)?;
    let summary = concat_files(&triples, &descriptor, &options, &progress)?;
    if summary.written == 0 {
        bail!("none of the {} predictions could be drawn", triples.len());
    }
    ui::result(&format!("{} pictures in {}", summary.written, options.output.display()));
    if summary.skipped > 0 {
        ui::say(&format!("{} of {} predictions were skipped", summary.skipped, triples.len()));
        return Ok(Exit::SomeSkipped);
    }
    Ok(Exit::Done)
}

fn descriptor(arguments: &Concat) -> Result<Descriptor> {
    Ok(match (&arguments.dataset, arguments.num_class) {
        (Some(name), _) => find_dataset(name)?,
        (None, Some(classes)) => Descriptor::numbered(classes)?,
        (None, None) => Descriptor::unnamed(
            Descriptor::MAX_CLASSES,
            None,
            (3, Normalisation::PerImage { valid: ValidPixels::All }),
        )?,
    })
}

fn inputs(arguments: &Concat) -> Result<Inputs> {
    let predictions = match (&arguments.image_predict, &arguments.list_predict, &arguments.predictions) {
        (Some(file), ..) => Predictions::File(file.clone()),
        (_, Some(list), _) => Predictions::List(list.clone()),
        (.., Some(folder)) => Predictions::Folder(folder.clone()),
        _ => bail!("--image-predict, --list-predict or --predictions is missing"),
    };
    let partners = |list: &Option<PathBuf>, path: &Option<PathBuf>| match (list, path) {
        (Some(list), _) => Some(Partners::List(list.clone())),
        (_, Some(path)) => Some(Partners::Path(path.clone())),
        _ => None,
    };
    let images = partners(&arguments.image_list, &arguments.images).unwrap_or(Partners::Beside);
    Ok(Inputs { predictions, images, labels: partners(&arguments.label_list, &arguments.labels) })
}

fn options(arguments: &Concat) -> Options {
    let look = Look {
        paint: arguments.overlay.map_or(Paint::Flat, Paint::Overlay),
        errors: arguments.errors,
        probability: arguments.prob,
        titles: arguments.titles,
        legend: arguments.legend,
        scale: arguments.scale,
        max_width: arguments.max_width,
    };
    Options { output: arguments.output_path.clone(), format: arguments.format, look }
}
