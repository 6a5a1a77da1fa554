//! Which image and label belong to which prediction.

use std::collections::btree_map::{BTreeMap, Entry};
use std::path::{Path, PathBuf};

use crate::base::error::require;
use crate::base::event::Sink;
use crate::base::files::folder_of;
use crate::base::{Error, Result};
use crate::data::{
    FileKind, LABEL_SUFFIX, Labels, Pair, annotation_files, files_by_stem, find_images_or_ids, find_labels,
    find_predictions, images_in, labels_in, name_note, pair_folders, pair_lists, pair_mask_folders, pair_suffixed,
    pair_with_annotations, read_label_list, read_list,
};

/// Most predictions without a partner that an error names.
const MAX_NAMED: usize = 20;

/// What is drawn side by side; a label or a prediction is there, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triple {
    /// The image.
    pub image: PathBuf,
    /// Its label image or masks, where there are any.
    pub label: Option<Labels>,
    /// The prediction, where there is one.
    pub prediction: Option<PathBuf>,
}

impl Triple {
    /// What the result is named after: the prediction or, without one, the image.
    pub fn name(&self) -> &Path {
        self.prediction.as_deref().unwrap_or(&self.image)
    }
}

/// Where predictions are.
#[derive(Debug, Clone)]
pub enum Predictions {
    /// These files.
    Files(Vec<PathBuf>),
    /// In a list.
    List(PathBuf),
    /// The .npy files of a folder.
    Folder(PathBuf),
}

/// Where the partners of predictions are.
#[derive(Debug, Clone)]
pub enum Partners {
    /// In a list, in the order of the predictions.
    List(PathBuf),
    /// Under the same stem in a folder, or the file itself for a single prediction. Images may be in folders of their own
    /// there, as [`Self::MaskFolders`] has them.
    Path(PathBuf),
    /// In a folder with a folder for each image, which holds it in images/ and its masks in masks/; by the image's stem.
    MaskFolders(PathBuf),
    /// Under the same stem with something behind it in a folder, such as `a_mask.png` of `a.npy`.
    Suffixed(PathBuf, String),
    /// Images with labels that are at hand, by the image's stem; and the folder that they are in.
    Pairs(PathBuf, Vec<Pair>),
    /// Under the same stem beside the prediction.
    Beside,
}

impl Partners {
    /// The folder or file, where it is one.
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::List(_) | Self::MaskFolders(_) | Self::Suffixed(..) | Self::Pairs(..) | Self::Beside => None,
        }
    }

    /// Images with their labels, and the folder that they are in, where both are known together.
    fn pairs(&self) -> Result<Option<(&Path, Vec<Pair>)>> {
        Ok(match self {
            Self::MaskFolders(root) => Some((root.as_path(), pair_mask_folders(root)?)),
            Self::Pairs(root, pairs) => Some((root.as_path(), pairs.clone())),
            Self::List(_) | Self::Path(_) | Self::Suffixed(..) | Self::Beside => None,
        })
    }
}

/// The places where files are looked for.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Of predictions, where there are any.
    pub predictions: Option<Predictions>,
    /// Of images.
    pub images: Partners,
    /// Of labels, where there are any.
    pub labels: Option<Partners>,
}

impl Inputs {
    /// Finds what belongs together, in the order of the predictions or, without any, of the images. What lacks a partner
    /// is an error, and so are lists of unequal length; names that do not match are noted.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if there are neither predictions nor labels, too.
    pub fn find(&self, sink: &dyn Sink) -> Result<Vec<Triple>> {
        let predictions = match (&self.predictions, &self.labels) {
            (Some(Predictions::Files(files)), _) => files.clone(),
            (Some(Predictions::List(list)), _) => read_list(list, sink)?,
            (Some(Predictions::Folder(folder)), _) => find_predictions(folder)?,
            (None, Some(labels)) => return labelled(&self.images, labels, sink),
            (None, None) => {
                return Err(Error::conflict("predictions", "or `labels` must be given: there is nothing to draw"));
            }
        };
        let images = self.partners(&predictions, &self.images, FileKind::Image, sink)?;
        let labels = match &self.labels {
            Some(known @ (Partners::MaskFolders(_) | Partners::Pairs(..))) => labels_among(&predictions, known)?,
            Some(Partners::Path(path)) if !annotation_files(path, self.images.path())?.is_empty() => {
                annotated(&images, [self.images.path().unwrap_or(path), path], sink)?
            }
            Some(labels) => {
                let files = self.partners(&predictions, labels, FileKind::Label, sink)?;
                files.into_iter().map(|file| Some(file.into())).collect()
            }
            None => vec![None; predictions.len()],
        };
        let triple = |((prediction, image), label)| Triple { image, label, prediction: Some(prediction) };
        Ok(predictions.into_iter().zip(images).zip(labels).map(triple).collect())
    }

    fn partners(
        &self,
        predictions: &[PathBuf],
        partners: &Partners,
        kind: FileKind,
        sink: &dyn Sink,
    ) -> Result<Vec<PathBuf>> {
        match partners {
            Partners::List(list) => self.in_order(predictions, list, kind, sink),
            Partners::Path(file) if file.is_file() && predictions.len() == 1 => Ok(vec![file.clone()]),
            Partners::Path(file) if file.is_file() => Err(Error::content(
                file,
                format!("is one file for {} predictions; give a folder or a list", predictions.len()),
            )),
            Partners::Path(folder) => among(&files_of(folder, kind, sink)?, predictions, folder, kind),
            Partners::Suffixed(folder, suffix) => {
                require(!suffix.is_empty(), "label_suffix", "empty", LABEL_SUFFIX)?;
                let found = files_of(folder, kind, sink)?.into_iter();
                let found = found.filter_map(|(stem, files)| Some((stem.strip_suffix(&**suffix)?.to_owned(), files)));
                among(&found.collect(), predictions, folder, kind)
            }
            Partners::MaskFolders(_) | Partners::Pairs(..) | Partners::Beside => match partners.pairs()? {
                Some((root, pairs)) => {
                    let images = pairs.into_iter().map(|pair| pair.image);
                    among(&stems_of(images.collect()), predictions, root, kind)
                }
                None => beside(predictions, kind),
            },
        }
    }

    fn in_order(&self, predictions: &[PathBuf], list: &Path, kind: FileKind, sink: &dyn Sink) -> Result<Vec<PathBuf>> {
        let found = match kind {
            FileKind::Image => read_list(list, sink)?,
            FileKind::Label => read_label_list(list, sink)?,
        };
        if found.len() == predictions.len() {
            let names: Vec<[&Path; 2]> = found.iter().zip(predictions).map(|(a, b)| [a.as_path(), b]).collect();
            name_note(&names).into_iter().for_each(|note| sink.note(note));
            return Ok(found);
        }
        Err(Error::lengths(list, [found.len(), predictions.len()], self.source()))
    }

    fn source(&self) -> &Path {
        match &self.predictions {
            Some(Predictions::List(path) | Predictions::Folder(path)) => path,
            Some(Predictions::Files(files)) => files.first().map_or(Path::new(""), PathBuf::as_path),
            None => Path::new(""),
        }
    }
}

/// Images with their labels, without predictions.
fn labelled(images: &Partners, labels: &Partners, sink: &dyn Sink) -> Result<Vec<Triple>> {
    let pairs = match (images, labels) {
        (Partners::Beside | Partners::MaskFolders(_), Partners::MaskFolders(root)) => pair_mask_folders(root)?,
        (Partners::List(images), Partners::List(labels)) => pair_lists(images, labels, sink)?,
        (Partners::Path(images), Partners::Path(labels)) => pair_folders(images, labels, sink)?,
        (Partners::Path(images), Partners::Suffixed(labels, suffix)) => pair_suffixed(images, labels, suffix, sink)?,
        (Partners::Pairs(..), Partners::Pairs(_, pairs)) => pairs.clone(),
        (Partners::Beside, Partners::Path(path)) if !annotation_files(path, Some(path))?.is_empty() => {
            pair_folders(if path.is_dir() { path } else { folder_of(path) }, path, sink)?
        }
        (Partners::Beside, labels @ (Partners::List(_) | Partners::Path(_))) => {
            let files = match labels {
                Partners::List(list) => read_label_list(list, sink)?,
                Partners::Path(file) if file.is_file() => vec![file.clone()],
                Partners::Path(folder) => find_labels(folder)?,
                _ => Vec::new(),
            };
            let images = beside(&files, FileKind::Image)?;
            images.into_iter().zip(files).map(|(image, label)| Pair { image, label: label.into() }).collect()
        }
        _ => {
            let reason = "and labels without predictions must be two lists, two folders or two files; give `images` with `labels`, \
                          or `image_list` with `label_list`";
            return Err(Error::conflict("images", reason));
        }
    };
    Ok(pairs.into_iter().map(|Pair { image, label }| Triple { image, label: Some(label), prediction: None }).collect())
}

/// What annotation files say of the images, all of which they must name.
fn annotated(images: &[PathBuf], places: [&Path; 2], sink: &dyn Sink) -> Result<Vec<Option<Labels>>> {
    let pairs = pair_with_annotations(images, places, sink)?.unwrap_or_default();
    let labels: BTreeMap<PathBuf, Labels> = pairs.into_iter().map(|pair| (pair.image, pair.label)).collect();
    let alone: Vec<(&PathBuf, PathBuf)> =
        images.iter().filter(|image| !labels.contains_key(*image)).map(|image| (image, places[1].into())).collect();
    if !alone.is_empty() {
        return Err(without_partner(&alone, images.len(), FileKind::Label));
    }
    Ok(images.iter().map(|image| labels.get(image).cloned()).collect())
}

/// The labels of the images that have the predictions' stems.
fn labels_among(predictions: &[PathBuf], known: &Partners) -> Result<Vec<Option<Labels>>> {
    let (root, pairs) = known.pairs()?.unwrap_or((Path::new(""), Vec::new()));
    let found = stems_of(pairs.iter().map(|pair| pair.image.clone()).collect());
    let images = among(&found, predictions, root, FileKind::Label)?;
    let labels: BTreeMap<PathBuf, Labels> = pairs.into_iter().map(|pair| (pair.image, pair.label)).collect();
    Ok(images.iter().map(|image| labels.get(image).cloned()).collect())
}

fn stems_of(files: Vec<PathBuf>) -> BTreeMap<String, Vec<PathBuf>> {
    let mut stems: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        stems.entry(file.file_stem().unwrap_or_default().to_string_lossy().into_owned()).or_default().push(file);
    }
    stems
}

/// The one file of each prediction's stem.
fn among(
    found: &BTreeMap<String, Vec<PathBuf>>,
    predictions: &[PathBuf],
    place: &Path,
    kind: FileKind,
) -> Result<Vec<PathBuf>> {
    let (mut files, mut alone) = (Vec::with_capacity(predictions.len()), Vec::new());
    for prediction in predictions {
        match same_stem(found, prediction)? {
            Some(file) => files.push(file),
            None => alone.push((prediction, place.to_owned())),
        }
    }
    if alone.is_empty() { Ok(files) } else { Err(without_partner(&alone, predictions.len(), kind)) }
}

/// The one file of the prediction's stem, if there is any.
fn same_stem(found: &BTreeMap<String, Vec<PathBuf>>, prediction: &PathBuf) -> Result<Option<PathBuf>> {
    let stem = prediction.file_stem().unwrap_or_default().to_string_lossy();
    let same = found.get(&*stem).into_iter().flatten();
    match same.filter(|path| *path != prediction).collect::<Vec<_>>()[..] {
        [] => Ok(None),
        [only] => Ok(Some(only.clone())),
        [first, second, ..] => {
            let reason = "have the same stem, so it is not clear which one belongs to";
            Err(Error::pair(first, second, format!("{reason} {}; use lists instead", prediction.display())))
        }
    }
}

/// The files of a folder by stem; of one without any, those in folders in it.
fn files_of(folder: &Path, kind: FileKind, sink: &dyn Sink) -> Result<BTreeMap<String, Vec<PathBuf>>> {
    let found = files_by_stem(folder, kind)?;
    if !found.is_empty() {
        return Ok(found);
    }
    let inside = match kind {
        FileKind::Image => find_images_or_ids(folder, &|_| ()).or_else(|_| images_in(folder, sink)),
        FileKind::Label => labels_in(folder),
    };
    // That there are none at all is told with the predictions that lack one.
    Ok(inside.map_or(found, stems_of))
}

/// The one file of the same stem as each prediction, beside it.
fn beside(predictions: &[PathBuf], kind: FileKind) -> Result<Vec<PathBuf>> {
    let mut folders: BTreeMap<&Path, BTreeMap<String, Vec<PathBuf>>> = BTreeMap::new();
    let (mut found, mut alone) = (Vec::with_capacity(predictions.len()), Vec::new());
    for prediction in predictions {
        let place = folder_of(prediction);
        if let Entry::Vacant(new) = folders.entry(place) {
            new.insert(files_by_stem(place, kind)?);
        }
        match same_stem(&folders[place], prediction)? {
            Some(file) => found.push(file),
            None => alone.push((prediction, place.to_owned())),
        }
    }
    if alone.is_empty() { Ok(found) } else { Err(without_partner(&alone, predictions.len(), kind)) }
}

fn without_partner(alone: &[(&PathBuf, PathBuf)], all: usize, kind: FileKind) -> Error {
    let (what, fields) = match kind {
        FileKind::Image => ("image", "`images`, `image_list` or `mask_folders`"),
        FileKind::Label => ("label image", "`labels`, `label_list` or `mask_folders`"),
    };
    let named: Vec<String> = alone
        .iter()
        .take(MAX_NAMED)
        .map(|(prediction, place)| format!("{} (looked in {})", prediction.display(), place.display()))
        .collect();
    let more = if alone.len() > MAX_NAMED { ", ..." } else { "" };
    let (count, named) = (alone.len(), named.join(", "));
    let missing = format!("{count} of {all} predictions have no {what} of the same stem: {named}{more}");
    Error::no_data(missing, format!("say where they are with {fields}"))
}
