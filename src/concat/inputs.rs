//! Which picture and label belong to which prediction.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::data::{FileKind, files_by_stem, find_predictions, name_note, read_label_list, read_list};
use crate::error::{Error, Result};
use crate::event::{Event, Sink};

/// Most predictions without a partner that an error names.
const MAX_NAMED: usize = 20;

/// What is drawn side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triple {
    /// The picture.
    pub image: PathBuf,
    /// Its label image, where there is one.
    pub label: Option<PathBuf>,
    /// The prediction.
    pub prediction: PathBuf,
}

/// Where predictions are.
#[derive(Debug, Clone)]
pub enum Predictions {
    /// A single one.
    File(PathBuf),
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
    /// Under the same stem in a folder, or the file itself for a single prediction.
    Path(PathBuf),
    /// Under the same stem beside the prediction.
    Beside,
}

/// The places where files are looked for.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Of predictions.
    pub predictions: Predictions,
    /// Of pictures.
    pub images: Partners,
    /// Of label images, where there are any.
    pub labels: Option<Partners>,
}

impl Inputs {
    /// Finds what belongs together, in the order of the predictions. A prediction without a partner is an error, and so
    /// are lists of unequal length; names that do not match are noted.
    pub fn find(&self, sink: &dyn Sink) -> Result<Vec<Triple>> {
        let predictions = match &self.predictions {
            Predictions::File(path) => vec![path.clone()],
            Predictions::List(list) => read_list(list, sink)?,
            Predictions::Folder(folder) => find_predictions(folder)?,
        };
        let images = self.partners(&predictions, &self.images, FileKind::Picture, sink)?;
        let labels = match &self.labels {
            Some(labels) => self.partners(&predictions, labels, FileKind::Label, sink)?.into_iter().map(Some).collect(),
            None => vec![None; predictions.len()],
        };
        let triple = |((prediction, image), label)| Triple { image, label, prediction };
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
            Partners::Path(folder) => by_stem(predictions, Some(folder), kind),
            Partners::Beside => by_stem(predictions, None, kind),
        }
    }

    fn in_order(&self, predictions: &[PathBuf], list: &Path, kind: FileKind, sink: &dyn Sink) -> Result<Vec<PathBuf>> {
        let found = match kind {
            FileKind::Picture => read_list(list, sink)?,
            FileKind::Label => read_label_list(list, sink)?,
        };
        if found.len() == predictions.len() {
            let names: Vec<[&Path; 2]> = found.iter().zip(predictions).map(|(a, b)| [a.as_path(), b]).collect();
            name_note(&names).into_iter().for_each(|note| sink.event(Event::Note(note)));
            return Ok(found);
        }
        let (longer, shorter) = match found.len() > predictions.len() {
            true => (list.display(), self.source().display()),
            false => (self.source().display(), list.display()),
        };
        Err(Error::Config(format!(
            "{} names {} files, but there are {} predictions in {}; {longer} has entries without a partner in {shorter}",
            list.display(),
            found.len(),
            predictions.len(),
            self.source().display(),
        )))
    }

    fn source(&self) -> &Path {
        match &self.predictions {
            Predictions::File(path) | Predictions::List(path) | Predictions::Folder(path) => path,
        }
    }
}

/// The one file of the same stem as each prediction, in `folder` or beside the prediction.
fn by_stem(predictions: &[PathBuf], folder: Option<&Path>, kind: FileKind) -> Result<Vec<PathBuf>> {
    let mut folders: BTreeMap<PathBuf, BTreeMap<String, Vec<PathBuf>>> = BTreeMap::new();
    let mut found = Vec::with_capacity(predictions.len());
    let mut alone = Vec::new();
    for prediction in predictions {
        let place = folder.map_or_else(|| beside(prediction), Path::to_owned);
        if !folders.contains_key(&place) {
            folders.insert(place.clone(), files_by_stem(&place, kind)?);
        }
        let stem = prediction.file_stem().unwrap_or_default().to_string_lossy();
        let same = folders[&place].get(&*stem).into_iter().flatten();
        match same.filter(|path| *path != prediction).collect::<Vec<_>>()[..] {
            [] => alone.push((prediction, place)),
            [only] => found.push(only.clone()),
            [first, second, ..] => {
                return Err(Error::Config(format!(
                    "{} and {} have the same stem, so it is not clear which one belongs to {}; use lists instead",
                    first.display(),
                    second.display(),
                    prediction.display()
                )));
            }
        }
    }
    if alone.is_empty() { Ok(found) } else { Err(without_partner(&alone, predictions.len(), kind)) }
}

fn beside(prediction: &Path) -> PathBuf {
    match prediction.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.into(),
        _ => ".".into(),
    }
}

fn without_partner(alone: &[(&PathBuf, PathBuf)], all: usize, kind: FileKind) -> Error {
    let (what, flags) = match kind {
        FileKind::Picture => ("picture", "--images or --image-list"),
        FileKind::Label => ("label image", "--labels or --label-list"),
    };
    let named: Vec<String> = alone
        .iter()
        .take(MAX_NAMED)
        .map(|(prediction, place)| format!("{} (looked in {})", prediction.display(), place.display()))
        .collect();
    let more = if alone.len() > MAX_NAMED { ", ..." } else { "" };
    Error::Config(format!(
        "{} of {all} predictions have no {what} of the same stem: {}{more}; say where they are with {flags}",
        alone.len(),
        named.join(", ")
    ))
}
