//! `segtool convert`.

use anyhow::{Result, bail};
use segtool::base::words::counted;
use segtool::data::{dataset_of_annotations, pair_label_maps, pair_mask_folders};
use segtool::run::find_dataset;
use segtool::tools::convert::{Format, Options, convert_files};

use super::{end_with_skipped, use_threads};
use crate::cli::Convert;
use crate::program::exit::{Exit, wrong_usage};
use crate::program::ui::{self, Progress};

pub(crate) fn run(arguments: &Convert) -> Result<Exit> {
    use_threads(arguments.workers)?;
    let (format, output) = (arguments.to, &arguments.output);
    if arguments.simplify.is_some() && matches!(format, Format::Png | Format::Npy) {
        wrong_usage!("--simplify has no effect on label maps; leave it out");
    }
    if format.is_single() && output.is_dir() {
        wrong_usage!("--output {} is a folder; --to {format} writes one file", output.display());
    }
    let progress = Progress::new();
    let given = arguments.dataset.as_deref().map(find_dataset).transpose()?;
    let (pairs, images) = match (&arguments.mask_folders, &arguments.labels, &arguments.images) {
        (Some(root), ..) => (pair_mask_folders(root)?, root),
        (None, Some(labels), Some(images)) => (pair_label_maps(images, labels, &progress)?, images),
        _ => wrong_usage!("no labels: give LABELS and --images, or --mask-folders"),
    };
    let dataset = match given {
        Some(dataset) => Some(dataset),
        None => dataset_of_annotations(&pairs, &progress)?,
    };
    let Some(dataset) = dataset else {
        wrong_usage!("label images need --dataset, which says what their values mean; `segtool dataset` writes one");
    };
    let options = Options {
        format,
        output: output.clone(),
        images: images.clone(),
        simplify: arguments.simplify,
        overwrite: arguments.overwrite,
    };
    let summary = convert_files(&pairs, &dataset, &options, &progress)?;
    if summary.written == 0 {
        bail!("the labels of none of the {} images could be converted", pairs.len());
    }
    ui::result(&format!("labels of {} written to {}", counted(summary.written, "image"), output.display()));
    Ok(end_with_skipped(summary.skipped, pairs.len(), "images"))
}
