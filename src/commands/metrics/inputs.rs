//! What is scored, and what its label values mean.

use std::path::Path;

use anyhow::{Result, bail};
use segtool::data::{
    Descriptor, Labels, Pair, pair_folders, pair_lists, pair_mask_folders, pair_mask_predictions, pair_predictions,
    read_pairs,
};
use segtool::inputs::ReadFiles;
use segtool::metric::{Convention, LabelValues};
use segtool::predict::origins;
use segtool::run::{Run, find_dataset};

use crate::cli::Metrics;
use crate::ui::{self, Progress};

/// Classes where nothing says how many there are.
const USUAL_CLASSES: usize = 150;

/// Where the pairs are.
enum Source<'a> {
    /// Two lists, the first of predictions or of pictures that a run predicts.
    Lists(&'a Path, &'a Path),
    /// A list of both in each line.
    PairList(&'a Path),
    /// Two folders, the first of predictions.
    Predictions(&'a Path, &'a Path),
    /// Two folders, the first of pictures that a run predicts.
    Pictures(&'a Path, &'a Path),
    /// A folder of predictions, and one of pictures with their masks.
    MaskedPredictions(&'a Path, &'a Path),
    /// Pictures with their masks, which a run predicts.
    Masked(&'a Path),
    /// The validation pictures of a run.
    Run(&'a Path),
}

fn source(arguments: &Metrics) -> Result<Source<'_>> {
    let lists = arguments.list_predict.as_deref().or(arguments.image_list.as_deref());
    if let (Some(first), Some(labels)) = (lists, arguments.list_true.as_deref()) {
        return Ok(Source::Lists(first, labels));
    }
    if let Some(list) = lists {
        return Ok(Source::PairList(list));
    }
    match (arguments.predictions.as_deref(), arguments.mask_folders.as_deref()) {
        (Some(predictions), Some(root)) => return Ok(Source::MaskedPredictions(predictions, root)),
        (None, Some(root)) => return Ok(Source::Masked(root)),
        (_, None) => {}
    }
    match (arguments.predictions.as_deref(), arguments.images.as_deref(), arguments.labels.as_deref()) {
        (Some(predictions), _, Some(labels)) => return Ok(Source::Predictions(predictions, labels)),
        (_, Some(images), Some(labels)) => return Ok(Source::Pictures(images, labels)),
        _ => {}
    }
    match &arguments.run {
        Some(run) if arguments.labels.is_none() && arguments.list_true.is_none() => Ok(Source::Run(run)),
        _ => bail!("--labels goes with --predictions or --images, --list-true with --list-predict or --image-list"),
    }
}

/// The pairs to score; `image` is the prediction, or the picture that a run predicts.
pub(super) fn pairs(arguments: &Metrics) -> Result<Vec<Pair>> {
    let pairs = found(arguments)?;
    if arguments.run.is_none() {
        origins(pairs.iter().map(|pair| pair.image.as_path()))
            .iter()
            .for_each(|note| ui::say(&format!("note: {note}")));
    }
    Ok(pairs)
}

fn found(arguments: &Metrics) -> Result<Vec<Pair>> {
    let progress = Progress::new();
    Ok(match source(arguments)? {
        Source::Lists(first, labels) => matched(pair_lists(first, labels, &progress)?),
        Source::PairList(list) => read_pairs(list)?,
        Source::Predictions(predictions, labels) => pair_predictions(predictions, labels)?,
        Source::Pictures(images, labels) => pair_folders(images, labels, &progress)?,
        Source::MaskedPredictions(predictions, root) => pair_mask_predictions(predictions, root)?,
        Source::Masked(root) => pair_mask_folders(root)?,
        Source::Run(run) => {
            let pairs = Run::open(run)?.samples()?.validation;
            if pairs.is_empty() {
                bail!(
                    "{} has no validation pictures; name some with --images and --labels or --mask-folders",
                    run.display()
                );
            }
            pairs
        }
    })
}

/// Refuses, before any work, to write a result over a file that is read.
pub(super) fn refuse_written(arguments: &Metrics, pairs: &[Pair]) -> Result<()> {
    let labels = pairs.iter().flat_map(|pair| match &pair.label {
        Labels::File(file) => std::slice::from_ref(file),
        Labels::Masks(files) => files,
    });
    let mut read = ReadFiles::new(pairs.iter().map(|pair| &pair.image).chain(labels));
    let lists = [&arguments.list_predict, &arguments.list_true, &arguments.image_list];
    read.add(lists.into_iter().flatten().chain(&arguments.merge));
    read.add(&arguments.dataset);
    let written = [
        ("--confusion", &arguments.confusion),
        ("--partial", &arguments.partial),
        ("--per-image", &arguments.per_image),
    ];
    for (flag, path) in written.into_iter().filter_map(|(flag, path)| Some((flag, path.as_ref()?))) {
        if path.is_file() {
            read.refuse(path, flag)?;
        }
    }
    Ok(())
}

/// Warns once about pairs of different names: lists that are not in the same order score badly, and nothing else shows it.
fn matched(pairs: Vec<Pair>) -> Vec<Pair> {
    let differ = |pair: &&Pair| pair.image.file_stem() != pair.label.name().file_stem();
    if let Some(first) = pairs.iter().find(differ) {
        ui::say(&format!(
            "note: {} of {} pairs differ in name (the first is {} with {}); are the lists in the same order?",
            pairs.iter().filter(differ).count(),
            pairs.len(),
            first.image.display(),
            first.label.name().display()
        ));
    }
    pairs
}

/// What the label values mean.
pub(super) fn descriptor(arguments: &Metrics, convention: Convention) -> Result<Descriptor> {
    let ignored = &arguments.ignore_label;
    let mut descriptor = match (&arguments.run, &arguments.dataset) {
        (Some(run), _) => find_dataset(&run.to_string_lossy())?,
        (None, Some(name)) => find_dataset(name)?,
        (None, None) => {
            let classes = arguments.num_class.unwrap_or_else(|| {
                ui::say(&format!(
                    "note: neither --num-class nor --dataset: {USUAL_CLASSES} classes, those of ADE20K, as in the Capstone's \
                     script"
                ));
                USUAL_CLASSES
            });
            let values = convention.label_values();
            let ignore = values.ignore.filter(|_| ignored.is_empty());
            let first = arguments.first_label.unwrap_or(values.first);
            // A first label of 0 leaves 0 no other meaning.
            let ignore = ignore
                .filter(|value| !(u32::from(first)..u32::from(first) + classes as u32).contains(&u32::from(*value)));
            Descriptor::numbered_from(classes, LabelValues { first, ignore, ..values })?
        }
    };
    for number in ignored {
        let value = number.as_value();
        if let Some(class) = descriptor.classes.iter().find(|class| value.is_some_and(|v| class.values.contains(&v))) {
            bail!("--ignore-label {number} is the label value of class '{}'", class.name);
        }
        descriptor.ignore.push(*number);
    }
    Ok(if arguments.merge_classes { descriptor.merged() } else { descriptor })
}
