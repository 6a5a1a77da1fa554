//! Files of two folders that belong together by their names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::folder::stem;
use super::pair::Pair;
use crate::base::{Error, Result};

/// Most unmatched files that an error names.
const MAX_NAMED: usize = 20;

/// What the stems of images and of their label images end with, where they differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Endings<'a> {
    pub(super) image: &'a str,
    pub(super) label: &'a str,
}

/// Those of well-known data sets, the first that occurs counts: Cityscapes, nnU-Net.
const KNOWN: [Endings<'static>; 4] = [
    Endings { image: "_leftImg8bit", label: "_gtFine_labelIds" },
    Endings { image: "_leftImg8bit", label: "_gtCoarse_labelIds" },
    Endings { image: "_leftImg8bit", label: "_gtFine_labelTrainIds" },
    Endings { image: "_0000", label: "" },
];

impl Endings<'static> {
    /// Those of a data set in which some images are found by them, and none without.
    pub(super) fn of(images: &[PathBuf], labels: &[PathBuf]) -> Self {
        let stems: Vec<String> = labels.iter().map(|path| stem(path)).collect();
        let is_there = |stem: &str| stems.iter().any(|known| known == stem);
        let Some(first) = images.first().map(|path| stem(path)) else { return Self::default() };
        let fits = |endings: &&Self| {
            let base = first.strip_suffix(endings.image);
            base.is_some_and(|base| is_there(&format!("{base}{}", endings.label)))
        };
        if is_there(&first) { Self::default() } else { KNOWN.iter().find(fits).copied().unwrap_or_default() }
    }
}

impl Endings<'_> {
    /// The image's stem without its ending; nothing of what ends as a label image.
    fn image_key(&self, stem: &str) -> Option<String> {
        let is_label = !self.label.is_empty() && stem.ends_with(self.label);
        stem.strip_suffix(self.image).filter(|_| !is_label).map(str::to_owned)
    }

    fn label_key(&self, stem: &str) -> Option<String> {
        stem.strip_suffix(self.label).map(str::to_owned)
    }
}

/// Files in a folder, or in the folders below it.
pub(super) struct Tree<'a> {
    pub(super) root: &'a Path,
    pub(super) files: Vec<PathBuf>,
}

impl Tree<'_> {
    fn is_flat(&self) -> bool {
        self.files.iter().all(|file| file.parent() == Some(self.root))
    }

    /// By stem and, with `folders`, by the folders below the root. Files whose stem has no key are left out.
    fn keyed(self, folders: bool, key: impl Fn(&str) -> Option<String>) -> Result<BTreeMap<String, PathBuf>> {
        let mut found = BTreeMap::new();
        for file in self.files {
            let Some(key) = key(&stem(&file)) else { continue };
            let below = file.parent().and_then(|folder| folder.strip_prefix(self.root).ok()).filter(|_| folders);
            let key = below.map_or(key.clone(), |below| below.join(&key).to_string_lossy().into_owned());
            if let Some(other) = found.insert(key, file.clone()) {
                let reason = "have the same stem, so it is not clear which one to pair; use lists instead";
                return Err(Error::pair(&other, &file, reason));
            }
        }
        Ok(found)
    }
}

/// Pairs images and label images by stem but for endings, in the order of the names; all must have a partner. Of files in
/// folders below, the folders are to be the same, too, unless the files of one of the two lie side by side.
pub(super) fn pair_trees(images: Tree<'_>, labels: Tree<'_>, endings: Endings<'_>) -> Result<Vec<Pair>> {
    let (folders, roots) = (!images.is_flat() && !labels.is_flat(), [images.root, labels.root]);
    let left = images.keyed(folders, |stem| endings.image_key(stem))?;
    let right = labels.keyed(folders, |stem| endings.label_key(stem))?;
    let matched = match_keys(roots, left, right)?;
    Ok(matched.into_iter().map(|(image, label)| Pair { image, label: label.into() }).collect())
}

/// The files of two folders that have the same keys; all must have a partner.
pub(super) fn match_keys(
    [images, labels]: [&Path; 2],
    left: BTreeMap<String, PathBuf>,
    mut right: BTreeMap<String, PathBuf>,
) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut pairs = Vec::with_capacity(left.len());
    let mut alone = Vec::new();
    for (stem, image) in left {
        match right.remove(&stem) {
            Some(label) => pairs.push((image, label)),
            None => alone.push(image),
        }
    }
    alone.extend(right.into_values());
    if !alone.is_empty() {
        let named: Vec<String> = alone.iter().take(MAX_NAMED).map(|path| path.display().to_string()).collect();
        let more = if alone.len() > MAX_NAMED { ", ..." } else { "" };
        let (count, named) = (alone.len(), named.join(", "));
        let reason = format!("do not match; without a partner of the same stem in the other: {count} ({named}{more})");
        return Err(Error::pair(images, labels, reason));
    }
    Ok(pairs)
}

/// Files by stem, of which each may occur once.
pub(super) fn one_a_stem(files: Vec<PathBuf>) -> Result<BTreeMap<String, PathBuf>> {
    Tree { root: Path::new(""), files }.keyed(false, |stem| Some(stem.to_owned()))
}
