//! Pictures with several masks each: a folder with one folder a picture, as the earthquake system and the Data Science
//! Bowl of 2018 have them.
//!
//! | file | content |
//! | --- | --- |
//! | `<root>/<id>/images/<name>` | the picture, the only one there |
//! | `<root>/<id>/masks/*` | its masks, one an object; none where it shows nothing |
//!
//! Masks are merged by maximum of their class indices: of values 0 and 255, by maximum of the values. What one mask
//! leaves without a label, the others say; where none says anything, there is no label. Without any mask, all is
//! background.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::{find_images, images_of};
use super::list::Pair;
use super::{Descriptor, load_labels};
use crate::error::{Error, Result, Size};
use crate::event::Sink;
use crate::label::{IGNORE, LabelMap};

/// Most faults that are listed.
const MAX_FAULTS: usize = 20;
/// Files that systems leave in folders, beside those whose names begin with a dot.
const LEFT_BY_SYSTEMS: [&str; 2] = ["thumbs.db", "desktop.ini"];

/// Where the labels of a picture are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Labels {
    /// In a label image.
    File(PathBuf),
    /// In masks that are merged.
    Masks(Vec<PathBuf>),
}

impl Labels {
    /// The files.
    pub fn files(&self) -> &[PathBuf] {
        match self {
            Self::File(file) => std::slice::from_ref(file),
            Self::Masks(files) => files,
        }
    }

    /// The same with other paths.
    pub fn map(self, path: impl Fn(PathBuf) -> Result<PathBuf>) -> Result<Self> {
        Ok(match self {
            Self::File(file) => Self::File(path(file)?),
            Self::Masks(files) => Self::Masks(files.into_iter().map(path).collect::<Result<_>>()?),
        })
    }

    /// What to call them: the label image, or the folder of the masks; nothing if there is no mask.
    pub fn name(&self) -> &Path {
        match self {
            Self::File(file) => file,
            Self::Masks(files) => files.first().and_then(|file| file.parent()).unwrap_or(Path::new("")),
        }
    }
}

impl From<PathBuf> for Labels {
    fn from(file: PathBuf) -> Self {
        Self::File(file)
    }
}

/// The classes of a pair's picture, which has that size.
pub fn load_pair_labels(pair: &Pair, size: Size, descriptor: &Descriptor) -> Result<LabelMap> {
    let mut merged: Option<LabelMap> = None;
    for file in pair.label.files() {
        let labels = load_labels(file, descriptor)?;
        check_size((&pair.image, size), (file, labels.size))?;
        merge(&mut merged, labels);
    }
    Ok(merged.unwrap_or_else(|| background(size)))
}

/// Refuses labels that differ in size from their picture.
pub fn check_size((image, size): (&Path, Size), (label, label_size): (&Path, Size)) -> Result<()> {
    if label_size == size {
        return Ok(());
    }
    let (first, second) = (image.into(), label.into());
    Err(Error::SizeMismatch { first, first_size: size, second, second_size: label_size })
}

/// Adds a mask to those before it, of the same size.
pub(super) fn merge(merged: &mut Option<LabelMap>, mask: LabelMap) {
    let Some(merged) = merged else {
        *merged = Some(mask);
        return;
    };
    for (class, &other) in merged.classes.iter_mut().zip(&mask.classes) {
        *class = match (*class, other) {
            (IGNORE, other) => other,
            (class, IGNORE) => class,
            (class, other) => class.max(other),
        };
    }
}

/// The labels of a picture without masks.
pub(super) fn background(size: Size) -> LabelMap {
    LabelMap { size, classes: vec![0; size.width * size.height] }
}

/// The pictures of the id folders below `root` with their masks, in the order of the ids. The error lists the id folders
/// that do not hold what they should.
pub fn pair_mask_folders(root: &Path) -> Result<Vec<Pair>> {
    let ids = id_folders(root)?;
    if ids.is_empty() {
        return Err(Error::content(
            root,
            "the folder holds no folders; it needs one for each picture, with the picture in images/ and masks in masks/",
        ));
    }
    let total = ids.len();
    let (mut pairs, mut faults) = (Vec::with_capacity(total), Vec::new());
    for id in ids {
        match pair_of(&id) {
            Ok(pair) => pairs.push(pair),
            Err(fault) => faults.push(fault.to_string()),
        }
    }
    if faults.is_empty() {
        return Ok(pairs);
    }
    let total = faults.len();
    faults.truncate(MAX_FAULTS);
    Err(Error::Faults { faults, total, advice: None })
}

/// The pictures of a folder, or, if it holds none itself, those of its id folders (`<id>/images/*`).
pub fn find_images_or_ids(folder: &Path, sink: &dyn Sink) -> Result<Vec<PathBuf>> {
    let mut found = images_of(folder)?;
    if !found.is_empty() {
        return find_images(folder, sink);
    }
    for id in id_folders(folder)? {
        let images = id.join("images");
        if images.is_dir() {
            found.extend(images_of(&images)?);
        }
    }
    if found.is_empty() { find_images(folder, sink) } else { Ok(found) }
}

/// The folders in a folder but hidden ones, in the order of their names.
fn id_folders(root: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(root)?.into_iter().filter(|path| path.is_dir()).collect())
}

fn pair_of(id: &Path) -> Result<Pair> {
    let (images, masks) = (id.join("images"), id.join("masks"));
    if !images.is_dir() {
        return Err(Error::content(
            id,
            "has no folder images/ with its picture; add it, or move the folder elsewhere if it is no picture's",
        ));
    }
    let image = match images_of(&images)?.as_slice() {
        [image] => image.clone(),
        [] => return Err(Error::content(images, "holds no picture of a known kind; one is wanted")),
        [first, second, ..] => {
            return Err(Error::content(
                images,
                format!(
                    "holds {} and {}; one picture is wanted, so give each a folder of its own",
                    file_name(first),
                    file_name(second)
                ),
            ));
        }
    };
    if !masks.is_dir() {
        return Err(Error::content(
            id,
            "has no folder masks/; add the picture's masks, or an empty folder if all of it is background",
        ));
    }
    // Whatever lies there is meant as a mask: one that cannot be read must not pass for background.
    let masks = entries(&masks)?.into_iter().filter(|path| !path.is_dir()).collect();
    Ok(Pair { image, label: Labels::Masks(masks) })
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::read(folder, e))? {
        let path = entry.map_err(|e| Error::read(folder, e))?.path();
        let name = file_name(&path).to_lowercase();
        if !name.starts_with('.') && !LEFT_BY_SYSTEMS.contains(&name.as_str()) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_merged_by_maximum_and_a_label_beats_none() {
        let size = Size { width: 5, height: 1 };
        let mut merged = None;
        for classes in [[0, 0, 1, IGNORE, IGNORE], [0, 2, 0, IGNORE, 0], [0, 1, IGNORE, IGNORE, IGNORE]] {
            merge(&mut merged, LabelMap { size, classes: classes.to_vec() });
        }
        assert_eq!(merged.unwrap().classes, [0, 2, 1, IGNORE, 0]);
    }

    #[test]
    fn a_single_label_image_is_written_as_its_path() {
        let pair = |label| Pair { image: "a.jpg".into(), label };
        for (labels, text) in [
            (Labels::File("a.png".into()), r#"{"image":"a.jpg","label":"a.png"}"#),
            (Labels::Masks(vec!["b.png".into(), "c.png".into()]), r#"{"image":"a.jpg","label":["b.png","c.png"]}"#),
            (Labels::Masks(Vec::new()), r#"{"image":"a.jpg","label":[]}"#),
        ] {
            let pair = pair(labels);
            assert_eq!(serde_json::to_string(&pair).unwrap(), text);
            assert_eq!(serde_json::from_str::<Pair>(text).unwrap(), pair);
        }
    }
}
