//! Predictions paired with labels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::annotated::{annotation_files, pair_annotated};
use super::folder::{LABELS, find_predictions, flat_or_below};
use super::layout::Layout;
use super::list::{images_in, labels_in, match_suffixed, pair_folders};
use super::masks::pair_mask_folders;
use super::pair::{Labels, Pair};
use super::stems::{Endings, Tree, match_keys, one_a_stem, pair_trees};
use crate::base::Result;
use crate::base::event::Sink;

/// Pairs the predictions of a folder ([`find_predictions`]) with label images by file stem, in the order of the names; or with
/// the labels in files of an annotation tool.
pub fn pair_predictions(predictions: &Path, labels: &Path, sink: &dyn Sink) -> Result<Vec<Pair>> {
    let found = find_predictions(predictions)?;
    let annotated = annotation_files(labels, Some(predictions))?;
    if !annotated.is_empty() {
        return pair_annotated([predictions, labels], found, &annotated, sink);
    }
    let label_files = labels_in(labels)?;
    let endings = Endings::of(&found, &label_files);
    pair_trees(Tree { root: predictions, files: found }, Tree { root: labels, files: label_files }, endings)
}

/// Pairs the prediction `a.npy` of a folder with the label image `a_mask.png` where the suffix is `_mask`.
pub fn pair_suffixed_predictions(predictions: &Path, labels: &Path, suffix: &str) -> Result<Vec<Pair>> {
    match_suffixed(Tree { root: predictions, files: find_predictions(predictions)? }, labels, suffix)
}

/// Pairs the predictions of a folder ([`find_predictions`]) with the masks below `root` ([`pair_mask_folders`]) by the
/// images' file stems, in the order of the names.
pub fn pair_mask_predictions(predictions: &Path, root: &Path) -> Result<Vec<Pair>> {
    with_labels_of((predictions, find_predictions(predictions)?), (root, pair_mask_folders(root)?))
}

/// Pairs the predictions of a folder with the labels of a data set below `root`, by the images' file stems: those of the part
/// that has the first prediction ([`Layout::predicted`]).
pub fn pair_layout_predictions(predictions: &Path, root: &Path, layout: Layout, sink: &dyn Sink) -> Result<Vec<Pair>> {
    let found = find_predictions(predictions)?;
    let part = match found.first() {
        Some(first) => layout.predicted(first, sink),
        None => layout.scored(),
    };
    with_labels_of((predictions, found), (root, part))
}

/// Predictions with the labels of the images that have their stems; all must have a partner.
fn with_labels_of((folder, found): (&Path, Vec<PathBuf>), (root, pairs): (&Path, Vec<Pair>)) -> Result<Vec<Pair>> {
    let images = one_a_stem(pairs.iter().map(|pair| pair.image.clone()).collect())?;
    let mut labels: BTreeMap<PathBuf, Labels> = pairs.into_iter().map(|pair| (pair.image, pair.label)).collect();
    let matched = match_keys([folder, root], one_a_stem(found)?, images)?;
    let labelled = |(prediction, image)| Some(Pair { image: prediction, label: labels.remove(&image)? });
    Ok(matched.into_iter().filter_map(labelled).collect())
}

/// Pairs the images of a folder with label images or predictions of another one by stem, or with files of annotation tools.
pub fn pair_label_maps(images: &Path, labels: &Path, sink: &dyn Sink) -> Result<Vec<Pair>> {
    let is_flat = labels.is_dir() && flat_or_below(labels, &LABELS)?.iter().any(|path| path.parent() == Some(labels));
    if !is_flat || images.is_file() || !annotation_files(labels, Some(images))?.is_empty() {
        return pair_folders(images, labels, sink);
    }
    let (found, maps) = (images_in(images, sink)?, find_predictions(labels)?);
    let endings = Endings::of(&found, &maps);
    pair_trees(Tree { root: images, files: found }, Tree { root: labels, files: maps }, endings)
}
