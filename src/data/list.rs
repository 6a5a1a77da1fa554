//! Which files make up a data set.

use std::fs;
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::annotated::{annotation_files, ends_as_annotations, images_to_label, labels_of, pair_annotated};
use super::folder::{
    IMAGES, LABELS, files_below, find_images, find_labels, flat_or_below, has_ending, images_of, only_lossy, stem,
};
use super::pair::{Labels, Pair};
use super::pair_names::name_note;
use super::stems::{Endings, Tree, pair_trees};
use crate::base::error::plain_types;
use crate::base::event::Sink;
use crate::base::files::read_text;
use crate::base::store::is_url;
use crate::base::{Error, Result, require};

/// Reads a list: one path a line, blank lines and lines that begin with `#` left out, unless there is a file of that name.
/// A relative path is looked for beside the list, then in the working directory. Of an image and a label image in one line the image is taken, with a
/// note.
pub fn read_list(list: &Path, sink: &dyn Sink) -> Result<Vec<PathBuf>> {
    read_column(list, Column::First, sink)
}

/// As [`read_list`], but of an image and a label image in one line the label image is taken.
pub fn read_label_list(list: &Path, sink: &dyn Sink) -> Result<Vec<PathBuf>> {
    read_column(list, Column::Last, sink)
}

/// Pairs two lists line by line; names that do not match are noted. Where a list names an image and its label image in each
/// line, the one that is asked for is taken. Labels may be files of annotation tools, and so may the list be.
pub fn pair_lists(images: &Path, labels: &Path, sink: &dyn Sink) -> Result<Vec<Pair>> {
    if ends_as_annotations(labels) {
        return pair_annotated([images, labels], read_list(images, sink)?, &[labels.to_path_buf()], sink);
    }
    let (left, right) = (read_list(images, sink)?, read_label_list(labels, sink)?);
    if left.len() != right.len() {
        return Err(Error::lengths(images, [left.len(), right.len()], labels));
    }
    let pairs: Vec<Pair> = left.into_iter().zip(right).map(pair_of).collect::<Result<_>>()?;
    note_names(&pairs, sink);
    Ok(pairs)
}

fn pair_of((image, label): (PathBuf, PathBuf)) -> Result<Pair> {
    Ok(Pair { label: labels_of(&image, label)?, image })
}

/// Says so where names of images and label images do not match; a file of annotations has its own name.
fn note_names(pairs: &[Pair], sink: &dyn Sink) {
    let of_its_own = |pair: &&Pair| !matches!(pair.label, Labels::Annotated { .. });
    let names: Vec<[&Path; 2]> =
        pairs.iter().filter(of_its_own).map(|pair| [pair.image.as_path(), pair.label.name()]).collect();
    if let Some(note) = name_note(&names) {
        sink.note(note);
    }
}

/// Reads a list of an image and its label image in each line, separated by blanks, a tab, a comma or a semicolon. Names that
/// do not match are noted.
pub fn read_pairs(list: &Path, sink: &dyn Sink) -> Result<Vec<Pair>> {
    let pair = |(number, line)| match line {
        Line::Two(image, label) => pair_of((image, label)),
        Line::One(path) => Err(Error::content(
            list,
            format!(
                "line {number} names only one file, {}; name an image and its label image in each line, or also give a list of the label \
                 images",
                path.display()
            ),
        )),
    };
    let pairs: Vec<Pair> = read_lines(list)?.into_iter().map(pair).collect::<Result<_>>()?;
    note_names(&pairs, sink);
    Ok(pairs)
}

/// Which file is meant where a line names two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    First,
    Last,
}

fn read_column(list: &Path, column: Column, sink: &dyn Sink) -> Result<Vec<PathBuf>> {
    let lines = read_lines(list)?;
    let of_two = |(_, line): &&(usize, Line)| matches!(line, Line::Two(..));
    if let (Some((two, _)), Some((one, _))) = (lines.iter().find(of_two), lines.iter().find(|line| !of_two(line))) {
        return Err(Error::content(
            list,
            format!("line {two} names two files, but line {one} only one; name the same number of files in every line"),
        ));
    }
    if lines.iter().any(|line| of_two(&line)) {
        let which = if column == Column::First { "first" } else { "second" };
        let list = list.display();
        sink.note(format!("{list} names two files in each line; the {which} of the two is used"));
    }
    let path = |(_, line)| match (line, column) {
        (Line::One(path), _) | (Line::Two(path, _), Column::First) | (Line::Two(_, path), Column::Last) => path,
    };
    Ok(lines.into_iter().map(path).collect())
}

/// A line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    One(PathBuf),
    /// An image and its label image.
    Two(PathBuf, PathBuf),
}

/// The lines that name files, with their numbers, from 1.
fn read_lines(list: &Path) -> Result<Vec<(usize, Line)>> {
    let text = read_text(list)?;
    let folder = list.parent().unwrap_or(Path::new(""));
    if has_ending(list, &["odgt"]) {
        return read_odgt(list, &text, folder);
    }
    let parsed = text.lines().enumerate().filter_map(|(i, line)| Some((i + 1, parse_line(line, folder)?)));
    let lines: Vec<(usize, Line)> = parsed.collect();
    if lines.is_empty() {
        return Err(Error::content(list, "the list names no files; it needs one path per line"));
    }
    Ok(lines)
}

/// An image and its label image, as CSAIL's lists have them: an object of JSON a line.
#[derive(Deserialize)]
struct Odgt {
    fpath_img: String,
    fpath_segm: String,
}

fn read_odgt(list: &Path, text: &str, folder: &Path) -> Result<Vec<(usize, Line)>> {
    let place = |name: &str| find(name, folder).unwrap_or_else(|| folder.join(name));
    let line = |(i, line): (usize, &str)| {
        let pair: Odgt = serde_json::from_str(line).map_err(|e| {
            let reason = plain_types(&e.to_string());
            Error::content(list, format!("line {}: {reason}; it must be JSON with fpath_img and fpath_segm", i + 1))
        })?;
        Ok((i + 1, Line::Two(place(&pair.fpath_img), place(&pair.fpath_segm))))
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let lines: Vec<(usize, Line)> = lines.map(line).collect::<Result<_>>()?;
    if lines.is_empty() {
        return Err(Error::content(list, "the list names no files; it needs one object of JSON per line"));
    }
    Ok(lines)
}

/// One path if there is such a file, blanks and all; nothing of a blank line or a comment; else two paths, if there are both
/// or if both look like it.
fn parse_line(whole: &str, folder: &Path) -> Option<Line> {
    let found = |name: &str| find(name, folder);
    let line = whole.trim();
    if line.is_empty() {
        return None;
    }
    let whole = if whole.len() == line.len() { None } else { found(whole) };
    if let Some(path) = whole.or_else(|| found(line)).or_else(|| found(unquoted(line))) {
        return Some(Line::One(path));
    }
    if line.starts_with('#') {
        return None;
    }
    for (at, separator) in line.match_indices(['\t', ' ', ',', ';']) {
        let (left, right) = (line[..at].trim(), line[at + separator.len()..].trim());
        if let (Some(image), Some(label)) = (found(unquoted(left)), found(unquoted(right))) {
            return Some(Line::Two(image, label));
        }
    }
    let place = |name: &str| found(name).unwrap_or_else(|| folder.join(name));
    let mut names = line.split(['\t', ' ', ',', ';']).filter(|name| !name.is_empty()).map(unquoted);
    let is_file = |name: &str| [&IMAGES[..], &LABELS].iter().any(|endings| has_ending(Path::new(name), endings));
    Some(match (names.next(), names.next(), names.next()) {
        (Some(image), Some(label), None) if is_file(image) && is_file(label) => Line::Two(place(image), place(label)),
        _ => Line::One(place(unquoted(line))),
    })
}

/// The file beside the list, else in the working directory. Lists that were written on Windows may name it with `\`.
fn find(name: &str, folder: &Path) -> Option<PathBuf> {
    let there = |path: &PathBuf| fs::symlink_metadata(path).is_ok();
    let places = |name: &str| [folder.join(name), name.into()].into_iter().find(there);
    if name.is_empty() {
        return None;
    }
    // Whether there is such an object is found out in its turn. Two in a line are no name.
    if is_url(Path::new(name)) {
        return (name.matches("://").count() == 1).then(|| name.into());
    }
    places(name).or_else(|| name.contains('\\').then(|| places(&name.replace('\\', "/")))?)
}

/// Without the quotes that surround it, as "copy as path" of Windows writes them.
fn unquoted(name: &str) -> &str {
    let inner = |quote: char| name.strip_prefix(quote)?.strip_suffix(quote).filter(|inner| !inner.contains(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(name)
}

/// Pairs two folders by file stem (`a.jpg` with `a.png`), in the order of the names; or two files. Images and label images may
/// lie in folders below, which are then to be the same in both; and Cityscapes' and nnU-Net's endings are known. `labels` may also be a file
/// of an annotation tool, or a folder of such files: then images are paired by what these call them.
pub fn pair_folders(images: &Path, labels: &Path, sink: &dyn Sink) -> Result<Vec<Pair>> {
    for path in [images, labels] {
        fs::metadata(path).map_err(|e| Error::read(path, e))?;
    }
    let annotated = annotation_files(labels, Some(images))?;
    if !annotated.is_empty() {
        return pair_annotated([images, labels], images_to_label(images, sink)?, &annotated, sink);
    }
    if images.is_file() && labels.is_file() {
        return Ok(vec![Pair { image: images.into(), label: labels.to_path_buf().into() }]);
    }
    if images.is_file() != labels.is_file() {
        return Err(Error::pair(images, labels, "must be two folders or two files"));
    }
    let found = images_in(images, sink)?;
    if only_lossy(labels)? && !only_lossy(images)? {
        let reason = "seem to be swapped: the second holds only JPEG or WebP files, which cannot be \
                      label images, while the first holds files that can be; swap the two";
        return Err(Error::pair(images, labels, reason));
    }
    let label_files = labels_in(labels)?;
    let endings = Endings::of(&found, &label_files);
    pair_trees(Tree { root: images, files: found }, Tree { root: labels, files: label_files }, endings)
}

/// The files of a folder, or, if it holds none itself, those in the folders below it.
pub(crate) fn labels_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let found = flat_or_below(folder, &LABELS)?;
    // Says why there are none.
    if found.is_empty() { find_labels(folder) } else { Ok(found) }
}

pub(crate) fn images_in(folder: &Path, sink: &dyn Sink) -> Result<Vec<PathBuf>> {
    let flat = images_of(folder)?;
    let below = if flat.is_empty() { files_below(folder, &IMAGES, Some(sink))? } else { Vec::new() };
    if below.is_empty() { find_images(folder, sink) } else { Ok(below) }
}

/// Pairs `images/a.jpg` with `labels/a_mask.png` where the suffix is `_mask`; the two folders may be the same.
pub fn pair_suffixed(images: &Path, labels: &Path, suffix: &str, sink: &dyn Sink) -> Result<Vec<Pair>> {
    match_suffixed(Tree { root: images, files: images_in(images, sink)? }, labels, suffix)
}

/// What a suffix of label images is, where it is empty.
pub(crate) const LABEL_SUFFIX: &str = "what ends the names of label images, such as _mask";

/// Pairs files with the label images of a folder whose stems have the suffix behind them.
pub(super) fn match_suffixed(files: Tree<'_>, labels: &Path, suffix: &str) -> Result<Vec<Pair>> {
    require(!suffix.is_empty(), "label_suffix", "empty", LABEL_SUFFIX)?;
    let label_files = labels_in(labels)?.into_iter().filter(|path| stem(path).ends_with(suffix)).collect();
    pair_trees(files, Tree { root: labels, files: label_files }, Endings { image: "", label: suffix })
}

/// Sets a share of the pairs aside for validation, at least one, chosen by `seed`. Returns training, validation.
pub fn split_validation(mut pairs: Vec<Pair>, fraction: f64, seed: u64) -> Result<(Vec<Pair>, Vec<Pair>)> {
    require(fraction > 0.0 && fraction < 1.0, "val_fraction", fraction, "between 0 and 1")?;
    let count = ((pairs.len() as f64 * fraction).round() as usize).max(1);
    if count >= pairs.len() {
        let missing = format!("{} pairs are too few to set {fraction} of them aside for validation", pairs.len());
        return Err(Error::no_data(missing, "give separate validation images, or use a smaller `val_fraction`"));
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
        assert_eq!(read_list(&list, &|_| ()).unwrap(), [folder.path().join("a b.png"), PathBuf::from("/abs/c.png")]);
    }

    #[test]
    fn an_empty_list_and_lists_of_unequal_length_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let empty = write(folder.path(), "empty.txt", "# nothing\n");
        assert!(read_list(&empty, &|_| ()).unwrap_err().to_string().contains("names no files"));
        let (one, two) = (write(folder.path(), "1.txt", "a\n"), write(folder.path(), "2.txt", "a\nb\n"));
        assert_refused!(pair_lists(&one, &two, &|_| ()), "1 and 2 files", "2.txt has entries without a");
    }

    #[test]
    fn a_line_may_name_an_image_and_its_label_image() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a.png", "a_label.png", "b c.png", "b c.npy", "x, y.png"] {
            write(folder.path(), name, "");
        }
        for separator in [" ", "\t", ", ", ",", ";", "   "] {
            let text = format!("a.png{separator}a_label.png\n\"b c.png\"{separator}b c.npy\nno.png{separator}no.npy\n");
            let list = write(folder.path(), "pairs.txt", &text);
            let wanted = [("a.png", "a_label.png"), ("b c.png", "b c.npy"), ("no.png", "no.npy")];
            let wanted = wanted.map(|(image, label)| Pair { image: path(image), label: path(label).into() });
            assert_eq!(read_pairs(&list, &|_| ()).unwrap(), wanted, "{separator:?}");
            assert_eq!(pair_lists(&list, &list, &|_| ()).unwrap(), wanted, "{separator:?}");
            let notes = std::sync::Mutex::new(Vec::new());
            let images = read_list(&list, &|event| notes.lock().unwrap().push(format!("{event:?}"))).unwrap();
            assert_eq!(images, wanted.map(|pair| pair.image));
            assert!(
                notes.into_inner().unwrap()[0].contains("names two files in each line; the first of the two is used")
            );
        }
        let mixed = write(folder.path(), "mixed.txt", "a.png a_label.png\n# more\nb c.png\n");
        assert_refused!(read_list(&mixed, &|_| ()), "line 1 names two files, but line 3 only one");
        assert!(read_pairs(&mixed, &|_| ()).unwrap_err().to_string().contains("line 3 names only one file"));
    }

    #[test]
    fn paths_may_be_quoted_or_of_windows_and_blanks_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("m")).unwrap();
        for name in ["m/1.png", "m/2 2.png", "'q'.png", "a.png b.png", "a.png", "b.png"] {
            write(folder.path(), name, "");
        }
        let text = "\"m/1.png\"\n'm/2 2.png'\n'q'.png\nm\\1.png\na.png b.png\n\"gone 1.png\"\nm\\gone.png\n";
        let list = write(folder.path(), "list.txt", text);
        let wanted =
            ["m/1.png", "m/2 2.png", "'q'.png", "m/1.png", "a.png b.png", "gone 1.png", "m\\gone.png"].map(path);
        assert_eq!(read_list(&list, &|_| ()).unwrap(), wanted);
        let wide: Vec<u8> = "\u{feff}m/1.png\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        fs::write(&list, wide).unwrap();
        assert_eq!(read_list(&list, &|_| ()).unwrap(), [path("m/1.png")]);
    }

    #[test]
    fn names_may_begin_with_a_comment_sign_or_with_blanks() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["#1.png", " 2.png", "3.png ", "4.png"] {
            write(folder.path(), name, "");
        }
        let list =
            write(folder.path(), "list.txt", "# 4.png\n#1.png\n 2.png\n3.png \n \t\n  4.png\n#gone.png\n./#1.png\n");
        let found = read_list(&list, &|_| ()).unwrap();
        assert_eq!(found, ["#1.png", " 2.png", "3.png ", "4.png", "./#1.png"].map(|name| folder.path().join(name)));
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
        let pairs = pair_folders(&images, &labels, &|_| ()).unwrap();
        assert_eq!(pairs[1], Pair { image: images.join("b.jpg"), label: labels.join("b.png").into() });
        write(&labels, "c.png", "");
        assert!(pair_folders(&images, &labels, &|_| ()).unwrap_err().to_string().contains("c.png"));
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
