//! What is scored, and what its label values mean.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use segtool::base::inputs::ReadFiles;
use segtool::data::{
    Dataset, Pair, dataset_of_annotations, find_layout, pair_folders, pair_layout_predictions, pair_lists,
    pair_mask_folders, pair_mask_predictions, pair_predictions, pair_suffixed, pair_suffixed_predictions, read_pairs,
};
use segtool::metric::{Convention, LabelValues};
use segtool::predict::origins;
use segtool::run::{Run, find_dataset};

use crate::cli::Metrics;
use crate::program::exit::wrong_usage;
use crate::program::ui::{self, Progress};

/// Classes where nothing says how many there are.
const USUAL_CLASSES: usize = 150;

/// The pairs to score; `image` is the prediction, or the image that a run predicts. With what the labels of a published data
/// set mean, where it is known.
pub(super) fn pairs(arguments: &Metrics, run: Option<&Run>) -> Result<(Vec<Pair>, Option<Dataset>)> {
    let (mut pairs, dataset) = found(arguments, run)?;
    if let Some(shard) = arguments.shard {
        let mut number = 0..;
        pairs.retain(|_| number.next().is_some_and(|number| shard.has(number)));
    }
    if run.is_none() {
        origins(pairs.iter().map(|pair| pair.image.as_path()))
            .iter()
            .for_each(|note| ui::say(&format!("note: {note}")));
    }
    Ok((pairs, dataset))
}

fn found(arguments: &Metrics, run: Option<&Run>) -> Result<(Vec<Pair>, Option<Dataset>)> {
    let Metrics { predictions, images, labels, mask_folders, list_true, .. } = arguments;
    let (progress, listed) = (Progress::new(), arguments.list_predict.as_ref().or(arguments.image_list.as_ref()));
    let suffix = arguments.label_suffix.as_deref();
    let pairs = match (listed, mask_folders, predictions, images, labels) {
        (Some(first), ..) => match list_true {
            Some(labels) => pair_lists(first, labels, &progress)?,
            None => read_pairs(first, &progress)?,
        },
        (_, Some(root), Some(predictions), ..) => pair_mask_predictions(predictions, root)?,
        (_, Some(root), None, ..) => pair_mask_folders(root)?,
        (.., Some(predictions), None, Some(labels)) => match suffix {
            Some(suffix) => pair_suffixed_predictions(predictions, labels, suffix)?,
            None => pair_predictions(predictions, labels, &progress)?,
        },
        (.., Some(_), Some(_), Some(_)) => {
            wrong_usage!("--images is not needed with --predictions and --labels; leave it out")
        }
        (.., None, Some(images), Some(labels)) => match suffix {
            Some(suffix) => pair_suffixed(images, labels, suffix, &progress)?,
            None => pair_folders(images, labels, &progress)?,
        },
        (.., predictions, Some(root), None) => return of_layout(root, predictions.as_deref()),
        _ => match run {
            Some(run) if labels.is_none() && list_true.is_none() => validation(run)?,
            _ => wrong_usage!(
                "--labels goes with --predictions or --images, --list-true with --list-predict or --image-list"
            ),
        },
    };
    Ok((pairs, None))
}

/// The labels of a data set in one of the layouts that are known, and the predictions or the images that go with them.
fn of_layout(root: &Path, predictions: Option<&Path>) -> Result<(Vec<Pair>, Option<Dataset>)> {
    if !root.is_dir() {
        wrong_usage!("--labels is missing: {} is no folder, so it is not the root of a data set", root.display());
    }
    let progress = Progress::new();
    let layout = find_layout(root, &progress)?;
    let dataset = layout.dataset.clone();
    let pairs = match predictions {
        Some(predictions) => pair_layout_predictions(predictions, root, layout, &progress)?,
        None => layout.scored(),
    };
    Ok((pairs, dataset))
}

/// The validation images of a run.
fn validation(run: &Run) -> Result<Vec<Pair>> {
    let pairs = run.samples()?.validation;
    if pairs.is_empty() {
        let run = run.folder().display();
        bail!("{run} has no validation images; name some with --images and --labels or --mask-folders");
    }
    Ok(pairs)
}

/// Refuses, before any work, to write a result over a file that is read.
pub(super) fn refuse_written(arguments: &Metrics, pairs: &[Pair]) -> Result<()> {
    let labels = pairs.iter().flat_map(|pair| pair.label.files());
    let mut read = ReadFiles::new(pairs.iter().map(|pair| &pair.image).chain(labels));
    let lists = [&arguments.list_predict, &arguments.list_true, &arguments.image_list];
    read.add(lists.into_iter().flatten().chain(&arguments.merge));
    read.add(&arguments.dataset);
    let written =
        [("confusion", &arguments.confusion), ("partial", &arguments.partial), ("per_image", &arguments.per_image)];
    for (field, path) in written.into_iter().filter_map(|(field, path)| Some((field, path.as_ref()?))) {
        if path.is_file() {
            read.refuse(path, field)?;
        }
    }
    Ok(())
}

/// The data set of the run, or the one that is named.
pub(super) fn named_dataset(arguments: &Metrics) -> Result<Option<Dataset>> {
    let name = arguments.run.as_deref().or(arguments.dataset.as_deref().map(Path::new));
    Ok(name.map(find_dataset).transpose()?)
}

/// What the label values mean: as the data set says that was named or published, or the annotations of the pairs.
pub(super) fn dataset(
    arguments: &Metrics,
    convention: Convention,
    [named, published]: [Option<Dataset>; 2],
    pairs: &[Pair],
) -> Result<Dataset> {
    let ignored = &arguments.ignore_label;
    let known = match named {
        Some(named) => Some(named),
        None if arguments.num_class.is_some() => None,
        None => published.map_or_else(|| dataset_of_annotations(pairs, &Progress::new()), |known| Ok(Some(known)))?,
    };
    let mut dataset = match known {
        Some(dataset) => dataset,
        None => {
            let classes = arguments.num_class.unwrap_or_else(|| {
                ui::say(&format!(
                    "note: neither --num-class nor --dataset given: assuming the {USUAL_CLASSES} classes of ADE20K, as in the Capstone's \
                     script"
                ));
                USUAL_CLASSES
            });
            let values = convention.label_values();
            let first = arguments.first_label.unwrap_or(values.first);
            let ignore = implied_ignore(arguments, convention);
            Dataset::numbered_from(classes, LabelValues { first, ignore, ..values })?
        }
    };
    for number in ignored {
        let value = number.as_value();
        if let Some(class) = dataset.classes.iter().find(|class| value.is_some_and(|v| class.values.contains(&v))) {
            wrong_usage!(
                "--ignore-label {number} is the label value of class '{}'; give a value that no class has",
                class.name
            );
        }
        dataset.ignore.push(*number);
    }
    Ok(if arguments.merge_classes { dataset.merged() } else { dataset })
}

/// The value that means "not labelled" by convention alone, where nothing else says what values mean.
pub(super) fn implied_ignore(arguments: &Metrics, convention: Convention) -> Option<u16> {
    let classes = arguments.num_class.filter(|_| arguments.run.is_none() && arguments.dataset.is_none())?;
    let values = convention.label_values();
    let first = u32::from(arguments.first_label.unwrap_or(values.first));
    // A first label of 0 leaves 0 no other meaning.
    let is_class = |value: &u16| (first..first + classes as u32).contains(&u32::from(*value));
    values.ignore.filter(|value| arguments.ignore_label.is_empty() && !is_class(value))
}

/// Says that a pair is there more than once: it counts as often.
pub(super) fn note_repeated(pairs: &[Pair]) {
    let mut seen = BTreeSet::new();
    let repeated: Vec<&Pair> = pairs.iter().filter(|pair| !seen.insert((&pair.image, pair.label.files()))).collect();
    if let Some(first) = repeated.first() {
        let (count, all) = (repeated.len(), pairs.len());
        let image = first.image.display();
        ui::say(&format!(
            "note: {count} of {all} pairs repeat an earlier one and are counted again (the first is {image})"
        ));
    }
}

/// Says that a run learnt from images that it is scored on.
pub(super) fn note_trained_on(pairs: &[Pair], run: &Run) {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.into());
    // A run that was handed on need not come with its list of files.
    let Ok(samples) = run.samples() else { return };
    let learnt: BTreeSet<PathBuf> = samples.train.iter().map(|pair| whole(&pair.image)).collect();
    let count = pairs.iter().filter(|pair| learnt.contains(&whole(&pair.image))).count();
    if count > 0 {
        let (all, run) = (pairs.len(), run.folder().display());
        ui::say(&format!(
            "note: {run} was trained on {count} of these {all} images, so the scores will be too optimistic"
        ));
    }
}
