//! Which files make up a data set.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::masks::{Labels, pair_mask_folders};
use crate::error::{Error, Result};
use crate::files::read_text;

/// Most unmatched files that an error names.
const MAX_NAMED: usize = 20;

/// File names that count as pictures in a folder.
const PICTURES: [&str; 7] = ["jpg", "jpeg", "png", "tif", "tiff", "bmp", "webp"];

/// File names that count as label images in a folder.
const LABELS: [&str; 6] = ["png", "tif", "tiff", "bmp", "npy", "npz"];

/// File names of arrays.
const ARRAYS: [&str; 2] = ["npy", "npz"];

/// What ends the stems of probabilities that were written beside predictions.
const PROBABILITIES: [&str; 2] = ["_prob", "_probs"];

/// A picture and its labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pair {
    /// The picture.
    pub image: PathBuf,
    /// Its label image, or its masks.
    pub label: Labels,
}

/// Reads a list: one path a line, blank lines and lines that begin with `#` left out. A relative path is looked for
/// beside the list, then in the working directory.
pub fn read_list(list: &Path) -> Result<Vec<PathBuf>> {
    let text = read_text(list)?;
    // Windows editors begin a file with a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    let folder = list.parent().unwrap_or(Path::new(""));
    let entries: Vec<PathBuf> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let beside = folder.join(line);
            if !beside.exists() && Path::new(line).exists() { line.into() } else { beside }
        })
        .collect();
    if entries.is_empty() {
        return Err(Error::content(list, "the list names no file; it needs one path a line"));
    }
    Ok(entries)
}

/// Pairs two lists line by line.
pub fn pair_lists(images: &Path, labels: &Path) -> Result<Vec<Pair>> {
    let (left, right) = (read_list(images)?, read_list(labels)?);
    if left.len() != right.len() {
        let (longer, shorter) = if left.len() > right.len() { (images, labels) } else { (labels, images) };
        return Err(Error::Config(format!(
            "the lists differ in length: {} names {} files, {} names {}; {} has entries without a partner in {}",
            images.display(),
            left.len(),
            labels.display(),
            right.len(),
            longer.display(),
            shorter.display()
        )));
    }
    Ok(left.into_iter().zip(right).map(|(image, label)| Pair { image, label: label.into() }).collect())
}

/// Pairs two folders by file stem (`a.jpg` with `a.png`), in the order of the names; or two files.
pub fn pair_folders(images: &Path, labels: &Path) -> Result<Vec<Pair>> {
    for path in [images, labels] {
        fs::metadata(path).map_err(|e| Error::read(path, e))?;
    }
    if images.is_file() && labels.is_file() {
        return Ok(vec![Pair { image: images.into(), label: labels.to_path_buf().into() }]);
    }
    if images.is_file() != labels.is_file() {
        return Err(Error::Config(format!(
            "{} and {} must be two folders or two files",
            images.display(),
            labels.display()
        )));
    }
    pair_stems(images, labels, one_a_stem(find_images(images)?)?)
}

/// Pairs the predictions of a folder ([`find_predictions`]) with label images by file stem, in the order of the names.
pub fn pair_predictions(predictions: &Path, labels: &Path) -> Result<Vec<Pair>> {
    pair_stems(predictions, labels, one_a_stem(find_predictions(predictions)?)?)
}

/// Pairs the predictions of a folder ([`find_predictions`]) with the masks below `root` ([`pair_mask_folders`]) by the
/// pictures' file stems, in the order of the names.
pub fn pair_mask_predictions(predictions: &Path, root: &Path) -> Result<Vec<Pair>> {
    let pictures = pair_mask_folders(root)?;
    let mut masks: BTreeMap<PathBuf, Labels> =
        pictures.iter().map(|pair| (pair.image.clone(), pair.label.clone())).collect();
    let pictures = one_a_stem(pictures.into_iter().map(|pair| pair.image).collect())?;
    let pairs = match_stems([predictions, root], one_a_stem(find_predictions(predictions)?)?, pictures)?;
    let with_masks = |(image, picture)| Some(Pair { image, label: masks.remove(&picture)? });
    Ok(pairs.into_iter().filter_map(with_masks).collect())
}

fn pair_stems(images: &Path, labels: &Path, left: BTreeMap<String, PathBuf>) -> Result<Vec<Pair>> {
    let matched = match_stems([images, labels], left, by_stem(labels, &LABELS)?)?;
    Ok(matched.into_iter().map(|(image, label)| Pair { image, label: label.into() }).collect())
}

/// The files of two folders that have the same stems; all must have a partner.
fn match_stems(
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
        return Err(Error::Config(format!(
            "{} files of {} and {} have no partner of the same name: {}{more}",
            alone.len(),
            images.display(),
            labels.display(),
            named.join(", ")
        )));
    }
    Ok(pairs)
}

/// The pictures of a folder, in the order of their names. Arrays (.npy, .npz) are taken for pictures where there are no
/// others; beside pictures they are mostly predictions.
pub fn find_images(folder: &Path) -> Result<Vec<PathBuf>> {
    let pictures = pictures_of(folder)?;
    let found = if pictures.is_empty() { list_files(folder, &ARRAYS)? } else { pictures };
    not_empty(found, folder, &PICTURES)
}

/// The pictures of a folder, in the order of their names; there may be none.
pub(super) fn pictures_of(folder: &Path) -> Result<Vec<PathBuf>> {
    list_files(folder, &PICTURES)
}

/// The pictures of a folder and of the folders below it, in the order of their names. Links to folders are not followed.
pub fn find_images_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| Error::read(&folder, e))? {
            let entry = entry.map_err(|e| Error::read(&folder, e))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            } else if is_of(&entry.path(), &PICTURES) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    not_empty(found, folder, &PICTURES)
}

/// The predictions of a folder, in the order of their names: its .npy files, or label images where there are none. A
/// `<stem>_prob.npy` or `<stem>_probs.npy` beside a `<stem>.npy` is no prediction.
pub fn find_predictions(folder: &Path) -> Result<Vec<PathBuf>> {
    let arrays = list_files(folder, &["npy"])?;
    let found = if arrays.is_empty() { find_files(folder, &LABELS)? } else { arrays };
    let stems: BTreeSet<String> = found.iter().map(|path| stem(path)).collect();
    let is_probability = |path: &Path| {
        PROBABILITIES.iter().any(|end| stem(path).strip_suffix(end).is_some_and(|plain| stems.contains(plain)))
    };
    Ok(found.into_iter().filter(|path| !is_probability(path)).collect())
}

/// What a file of a folder may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A picture.
    Picture,
    /// A label image.
    Label,
}

/// The files of a folder that may be of a kind, by stem; there may be none.
pub fn files_by_stem(folder: &Path, kind: FileKind) -> Result<BTreeMap<String, Vec<PathBuf>>> {
    let extensions: &[&str] = match kind {
        FileKind::Picture => &PICTURES,
        FileKind::Label => &LABELS,
    };
    let mut stems: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in list_files(folder, extensions)? {
        stems.entry(stem(&path)).or_default().push(path);
    }
    Ok(stems)
}

fn find_files(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    not_empty(list_files(folder, extensions)?, folder, extensions)
}

fn not_empty(found: Vec<PathBuf>, folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    if found.is_empty() {
        return Err(Error::content(
            folder,
            format!("the folder holds no file of a known kind ({})", extensions.join(", ")),
        ));
    }
    Ok(found)
}

fn list_files(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::read(folder, e))? {
        let path = entry.map_err(|e| Error::read(folder, e))?.path();
        if is_of(&path, extensions) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn is_of(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|e| extensions.contains(&e.as_str())) && path.is_file()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn by_stem(folder: &Path, extensions: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    one_a_stem(find_files(folder, extensions)?)
}

fn one_a_stem(paths: Vec<PathBuf>) -> Result<BTreeMap<String, PathBuf>> {
    let mut stems = BTreeMap::new();
    for path in paths {
        if let Some(other) = stems.insert(stem(&path), path.clone()) {
            return Err(Error::Config(format!(
                "{} and {} have the same stem, so it is not clear which one to pair; use lists instead",
                other.display(),
                path.display()
            )));
        }
    }
    Ok(stems)
}

/// Sets a share of the pairs aside for validation, at least one, chosen by `seed`. Returns training, validation.
pub fn split_validation(mut pairs: Vec<Pair>, fraction: f64, seed: u64) -> Result<(Vec<Pair>, Vec<Pair>)> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(Error::Config(format!("--val-fraction must lie between 0 and 1, not {fraction}")));
    }
    let count = ((pairs.len() as f64 * fraction).round() as usize).max(1);
    if count >= pairs.len() {
        return Err(Error::Config(format!(
            "{} pairs are too few to set {fraction} of them aside for validation",
            pairs.len()
        )));
    }
    pairs.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut validation = pairs.split_off(pairs.len() - count);
    pairs.sort();
    validation.sort();
    Ok((pairs, validation))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_list_may_hold_comments_and_blank_lines() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a b.png", "");
        let list = write(folder.path(), "list.txt", "\u{feff}# images\n\na b.png\r\n  /abs/c.png  \n");
        assert_eq!(read_list(&list).unwrap(), [folder.path().join("a b.png"), PathBuf::from("/abs/c.png")]);
    }

    #[test]
    fn an_empty_list_and_lists_of_unequal_length_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let empty = write(folder.path(), "empty.txt", "# nothing\n");
        assert!(read_list(&empty).unwrap_err().to_string().contains("names no file"));
        let (one, two) = (write(folder.path(), "1.txt", "a\n"), write(folder.path(), "2.txt", "a\nb\n"));
        let message = pair_lists(&one, &two).unwrap_err().to_string();
        assert!(
            message.contains("names 1 files") && message.contains("2.txt has entries without a partner"),
            "{message}"
        );
    }

    #[test]
    fn folders_are_paired_by_stem() {
        let folder = tempfile::tempdir().unwrap();
        let (images, labels) = (folder.path().join("i"), folder.path().join("l"));
        fs::create_dir_all(&images).unwrap();
        fs::create_dir_all(&labels).unwrap();
        for name in ["b.jpg", "a.jpg", "notes.txt"] {
            write(&images, name, "");
        }
        for name in ["a.png", "b.png"] {
            write(&labels, name, "");
        }
        let pairs = pair_folders(&images, &labels).unwrap();
        assert_eq!(pairs[1], Pair { image: images.join("b.jpg"), label: labels.join("b.png").into() });
        write(&labels, "c.png", "");
        assert!(pair_folders(&images, &labels).unwrap_err().to_string().contains("c.png"));
    }

    #[test]
    fn the_split_is_seeded_and_complete() {
        let pairs: Vec<Pair> = (0..10)
            .map(|i| PathBuf::from(format!("{i}")))
            .map(|i| Pair { image: i.clone(), label: i.into() })
            .collect();
        let (train, validation) = split_validation(pairs.clone(), 0.2, 7).unwrap();
        assert_eq!((train.len(), validation.len()), (8, 2));
        assert_eq!(split_validation(pairs.clone(), 0.2, 7).unwrap(), (train.clone(), validation.clone()));
        let mut all = [train, validation].concat();
        all.sort();
        assert_eq!(all, pairs);
        assert!(split_validation(pairs, 1.5, 7).is_err());
    }
}
