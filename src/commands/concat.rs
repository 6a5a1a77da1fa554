//! `segtool concat`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use segtool::base::words::counted;
use segtool::data::{
    Dataset, Layout, Normalisation, Pair, ValidPixels, dataset_of_annotations, ends_as_label_image, find_layout,
    find_predictions, is_published_layout, read_list, refuse_exchanged,
};
use segtool::draw::{Paint, Style};
use segtool::predict::origins;
use segtool::run::find_dataset;
use segtool::tools::concat::{Inputs, Options, Partners, Predictions, Triple, concat_files};

use super::{end_with_skipped, use_threads};
use crate::cli::Concat;
use crate::program::exit::{Exit, wrong_usage};
use crate::program::ui::{self, Progress};

/// Where the Capstone's script looks for image and label of ADE20K's predictions.
const ADE20K: &str = "data/ADEChallengeData2016";

pub(crate) fn run(arguments: &Concat) -> Result<Exit> {
    use_threads(arguments.workers)?;
    let progress = Progress::new();
    let predictions = predictions(arguments, &progress)?;
    let in_ade20k = in_ade20k(arguments, predictions.as_ref());
    let of_ade20k = in_ade20k.is_some();
    let published = published(arguments, &progress)?;
    let known = published.as_ref().and_then(|layout| layout.dataset.clone());
    let inputs = match (in_ade20k, published) {
        (Some([images, labels]), _) => {
            ui::say(&format!("note: images of {}, labels of {}", images.display(), labels.display()));
            Inputs { predictions, images: Partners::Path(images), labels: Some(Partners::Path(labels)) }
        }
        (None, Some(layout)) => {
            let root = arguments.images.clone().unwrap_or_default();
            let pairs = match predictions.as_ref().and_then(first_of) {
                Some(first) => layout.predicted(&first, &progress),
                None => [layout.validation, layout.train].concat(),
            };
            let images = Partners::Pairs(root, pairs);
            Inputs { predictions, labels: Some(images.clone()), images }
        }
        (None, None) => inputs(arguments, predictions),
    };
    if arguments.errors && inputs.labels.is_none() {
        wrong_usage!(
            "--errors compares predictions with labels: give --labels, --label-list or --mask-folders, or the root of a data set \
             with --images ROOT"
        );
    }
    let triples = inputs.find(&progress)?;
    let pair = |triple: &Triple| Some(Pair { image: triple.image.clone(), label: triple.label.clone()? });
    let pairs: Vec<Pair> = triples.iter().filter_map(pair).collect();
    let dataset = dataset(arguments, (of_ade20k, known), &pairs, &progress)?;
    if arguments.dataset.is_some() || arguments.num_class.is_some() {
        refuse_exchanged(&pairs, &dataset, "`images` and `labels`, or `image_list` and `label_list`")?;
    }
    origins(triples.iter().filter_map(|triple| triple.prediction.as_deref()))
        .iter()
        .for_each(|note| ui::say(&format!("note: {note}")));
    let options = options(arguments);
    let summary = concat_files(&triples, &dataset, &options, &progress)?;
    let what = if inputs.predictions.is_some() { "predictions" } else { "labels" };
    if summary.written == 0 {
        bail!("none of the {} {what} could be drawn", triples.len());
    }
    ui::result(&format!("{} in {}", counted(summary.written, "figure"), options.output.display()));
    Ok(end_with_skipped(summary.skipped, triples.len(), what))
}

fn dataset(
    arguments: &Concat,
    (of_ade20k, known): (bool, Option<Dataset>),
    pairs: &[Pair],
    progress: &Progress,
) -> Result<Dataset> {
    Ok(match (&arguments.dataset, arguments.num_class) {
        (Some(name), _) => find_dataset(name)?,
        (None, Some(classes)) => Dataset::numbered(classes)?,
        (None, None) if of_ade20k => Dataset::find("ade20k")?,
        (None, None) => {
            let found = match known {
                None => dataset_of_annotations(pairs, progress)?,
                known => known,
            };
            let normalisation = Normalisation::PerImage { valid: ValidPixels::All };
            match found {
                Some(dataset) => dataset,
                None => Dataset::unnamed(Dataset::MAX_CLASSES, None, (3, normalisation))?,
            }
        }
    })
}

/// The data set that `--images` is the root of, where nothing else says where the labels are.
fn published(arguments: &Concat, progress: &Progress) -> Result<Option<Layout>> {
    let Concat { labels, label_list, mask_folders, .. } = arguments;
    let said = [labels, label_list, mask_folders].iter().any(|given| given.is_some());
    match arguments.images.as_deref().filter(|root| !said && root.is_dir()) {
        Some(root) if is_published_layout(root)? => Ok(Some(find_layout(root, progress)?)),
        _ => Ok(None),
    }
}

/// The predictions; what `--image-predict` names may be lists of them.
fn predictions(arguments: &Concat, progress: &Progress) -> Result<Option<Predictions>> {
    if let Some(list) = &arguments.list_predict {
        return Ok(Some(Predictions::List(list.clone())));
    }
    if let Some(folder) = &arguments.predictions {
        return Ok(Some(Predictions::Folder(folder.clone())));
    }
    match &arguments.image_predict[..] {
        [] => Ok(None),
        [list] if !ends_as_label_image(list) => Ok(Some(Predictions::List(list.clone()))),
        several => {
            let mut files = Vec::new();
            for path in several {
                if ends_as_label_image(path) {
                    files.push(path.clone())
                } else {
                    files.extend(read_list(path, progress)?)
                }
            }
            Ok(Some(Predictions::Files(files)))
        }
    }
}

/// The folders of images and labels of a part of ADE20K, if the predictions are of it by their names, nothing else is said
/// and they are there.
fn in_ade20k(arguments: &Concat, predictions: Option<&Predictions>) -> Option<[PathBuf; 2]> {
    let Concat { image_list, images, label_list, labels, mask_folders, .. } = arguments;
    if [image_list, images, label_list, labels, mask_folders].iter().any(|given| given.is_some()) {
        return None;
    }
    let first = first_of(predictions?)?;
    let name = first.file_name()?.to_string_lossy();
    let part = match () {
        () if name.starts_with("ADE_val_") => "validation",
        () if name.starts_with("ADE_train_") => "training",
        () => return None,
    };
    let folders = ["images", "annotations"].map(|kind| Path::new(ADE20K).join(kind).join(part));
    folders.iter().all(|folder| folder.is_dir()).then_some(folders)
}

/// The first prediction, if there is any.
fn first_of(predictions: &Predictions) -> Option<PathBuf> {
    match predictions {
        Predictions::Files(files) => files.first().cloned(),
        Predictions::List(list) => read_list(list, &|_| {}).ok()?.first().cloned(),
        Predictions::Folder(folder) => find_predictions(folder).ok()?.first().cloned(),
    }
}

fn inputs(arguments: &Concat, predictions: Option<Predictions>) -> Inputs {
    let partners = |list: &Option<PathBuf>, path: &Option<PathBuf>| match (list, path) {
        (Some(list), _) => Some(Partners::List(list.clone())),
        (_, Some(path)) => Some(Partners::Path(path.clone())),
        _ => None,
    };
    let masks = || arguments.mask_folders.clone().map(Partners::MaskFolders);
    let images = partners(&arguments.image_list, &arguments.images).or_else(masks).unwrap_or(Partners::Beside);
    let suffixed = || Some(Partners::Suffixed(arguments.labels.clone()?, arguments.label_suffix.clone()?));
    let labels = suffixed().or_else(|| partners(&arguments.label_list, &arguments.labels)).or_else(masks);
    Inputs { predictions, images, labels }
}

fn options(arguments: &Concat) -> Options {
    let style = Style {
        paint: arguments.overlay.map_or(Paint::Flat, Paint::Overlay),
        layout: arguments.layout,
        errors: arguments.errors,
        probability: arguments.prob,
        titles: arguments.titles,
        legend: arguments.legend,
        scale: arguments.scale,
        max_width: arguments.max_width,
    };
    Options { output: arguments.output_path.clone(), format: arguments.format, style }
}
