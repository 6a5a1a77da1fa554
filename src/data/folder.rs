//! Which files of a folder count as images and as label images.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::base::event::Sink;
use crate::base::files::entries;
use crate::base::{Error, Result};
use crate::image::image_inside;

/// Endings of images.
pub(super) const IMAGES: [&str; 21] = [
    "jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "tif", "tiff", "bmp", "dib", "gif", "webp", "pgm", "ppm",
    "pbm", "pnm", "jp2", "j2k", "j2c", "jpx",
];

/// Endings of label images.
pub(super) const LABELS: [&str; 14] =
    ["png", "tif", "tiff", "bmp", "dib", "gif", "pgm", "ppm", "pbm", "pnm", "jp2", "j2k", "npy", "npz"];

/// Endings of arrays.
pub(super) const ARRAYS: [&str; 2] = ["npy", "npz"];

/// Endings of formats that change label values.
const LOSSY: [&str; 6] = ["jpg", "jpeg", "jpe", "jfif", "mpo", "webp"];

/// What ends the stems of files that were written beside predictions.
const BESIDE: [&str; 5] = ["_prob", "_probs", "_color", "_overlay", "_proportions"];

/// Most files of other endings in a folder that are looked into.
const MAX_LOOKED_INTO: usize = 100;

/// The images of a folder, in the order of their names. Images that are left out for their ending are noted. Arrays (.npy,
/// .npz) are taken for images where there are no others; beside images they are mostly predictions.
pub fn find_images(folder: &Path, sink: &dyn Sink) -> Result<Vec<PathBuf>> {
    let listing = Listing::of(folder, &IMAGES)?;
    listing.note_others(folder, sink);
    let found = if listing.found.is_empty() { Listing::of(folder, &ARRAYS)?.found } else { listing.found };
    not_empty(found, folder, &IMAGES)
}

/// The images of a folder, in the order of their names; there may be none.
pub(super) fn images_of(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(Listing::of(folder, &IMAGES)?.found)
}

/// The images of a folder and of the folders below it, in the order of their names. Links to folders are not followed,
/// and hidden folders are left out.
pub fn find_images_below(folder: &Path, sink: &dyn Sink) -> Result<Vec<PathBuf>> {
    not_empty(files_below(folder, &IMAGES, Some(sink))?, folder, &IMAGES)
}

/// The files of some endings in a folder and in the folders below it, in the order of their names; there may be none.
/// Images that are left out for their ending are noted if there is a sink.
pub(super) fn files_below(folder: &Path, extensions: &[&str], sink: Option<&dyn Sink>) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let listing = Listing::of(&folder, extensions)?;
        sink.into_iter().for_each(|sink| listing.note_others(&folder, sink));
        found.extend(listing.found);
        folders.extend(listing.folders);
    }
    found.sort();
    Ok(found)
}

/// The files of some endings in a folder or, if there are none, in the folders below it, in the order of their names.
pub(super) fn flat_or_below(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let flat = Listing::of(folder, extensions)?.found;
    if flat.is_empty() { files_below(folder, extensions, None) } else { Ok(flat) }
}

/// The predictions of a folder, in the order of their names: its .npy files and .tif files of other stems, or all label
/// images where there are no .npy files. What `segtool predict` writes beside a label map of that stem is no prediction:
/// `<stem>_prob.npy`, `<stem>_color.png` and the like, and a `<stem>.png` beside a `<stem>.tif`.
pub fn find_predictions(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = find_labels(folder)?;
    let stems: BTreeSet<String> = found.iter().map(|path| stem(path)).collect();
    let is_beside =
        |path: &Path| BESIDE.iter().any(|end| stem(path).strip_suffix(end).is_some_and(|plain| stems.contains(plain)));
    found.retain(|path| !is_beside(path));
    let stems_of = |ending: &str| -> BTreeSet<String> {
        found.iter().filter(|path| has_ending(path, &[ending])).map(|path| stem(path)).collect()
    };
    let (arrays, tiffs) = (stems_of("npy"), stems_of("tif"));
    found.retain(|path| match (has_ending(path, &["npy"]), has_ending(path, &["tif"])) {
        (true, _) => true,
        (_, true) => !arrays.contains(&stem(path)),
        _ => arrays.is_empty() && !(has_ending(path, &["png"]) && tiffs.contains(&stem(path))),
    });
    Ok(found)
}

/// Whether a folder holds images, but none in a format that keeps label values.
pub(super) fn only_lossy(folder: &Path) -> Result<bool> {
    Ok(Listing::of(folder, &LABELS)?.found.is_empty() && !Listing::of(folder, &LOSSY)?.found.is_empty())
}

/// The label images of a folder, in the order of their names.
pub fn find_labels(folder: &Path) -> Result<Vec<PathBuf>> {
    let found = Listing::of(folder, &LABELS)?.found;
    if let (true, Some(lossy)) = (found.is_empty(), Listing::of(folder, &LOSSY)?.found.first()) {
        let reason = format!(
            "the folder holds no label images, only files such as {}, whose compression changes values at edges; save \
                 the label images as PNG or TIFF",
            name(lossy)
        );
        return Err(Error::content(folder, reason));
    }
    not_empty(found, folder, &LABELS)
}

/// Whether a file may be a label image by its ending; others are lists.
pub fn ends_as_label_image(path: &Path) -> bool {
    has_ending(path, &LABELS)
}

/// What a file of a folder may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// An image.
    Image,
    /// A label image.
    Label,
}

/// The files of a folder that may be of a kind, by stem; there may be none.
pub fn files_by_stem(folder: &Path, kind: FileKind) -> Result<BTreeMap<String, Vec<PathBuf>>> {
    let extensions: &[&str] = match kind {
        FileKind::Image => &IMAGES,
        FileKind::Label => &LABELS,
    };
    let mut stems: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in Listing::of(folder, extensions)?.found {
        stems.entry(stem(&path)).or_default().push(path);
    }
    Ok(stems)
}

/// What a folder holds, but hidden files, each in the order of the names.
struct Listing {
    /// Of the endings that are wanted. Links that lead nowhere are among them: to leave them out in silence would hide
    /// that a disk is not there.
    found: Vec<PathBuf>,
    others: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Listing {
    fn of(folder: &Path, extensions: &[&str]) -> Result<Self> {
        let mut listing = Self { found: Vec::new(), others: Vec::new(), folders: Vec::new() };
        for entry in entries(folder)? {
            let (path, kind) = (entry.path(), entry.file_type());
            // macOS writes ._a.jpg beside a.jpg on disks of other systems.
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
                listing.folders.push(path);
            } else if kind.as_ref().is_ok_and(fs::FileType::is_symlink) && path.is_dir() {
                // Not followed.
            } else if has_ending(&path, extensions) {
                listing.found.push(path);
            } else {
                listing.others.push(path);
            }
        }
        listing.found.sort();
        listing.others.sort();
        Ok(listing)
    }

    /// Says once what images are left out for their ending.
    fn note_others(&self, folder: &Path, sink: &dyn Sink) {
        let inside = |path: &PathBuf| Some((name(path), path.is_file().then(|| image_inside(path))??));
        let images: Vec<(String, String)> = self.others.iter().take(MAX_LOOKED_INTO).filter_map(inside).collect();
        if let Some((first, what)) = images.first() {
            let files = if images.len() == 1 { "file was" } else { "files were" };
            let (count, folder) = (images.len(), folder.display());
            sink.note(format!("{count} {files} left out of {folder}: {first} is {what}"));
        }
    }
}

fn not_empty(found: Vec<PathBuf>, folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    if found.is_empty() {
        let reason = format!("the folder holds no file of a known kind ({})", extensions.join(", "));
        return Err(Error::content(folder, reason));
    }
    Ok(found)
}

/// Whether the name ends so, in capitals or not.
pub(super) fn has_ending(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|e| extensions.contains(&e.as_str()))
}

pub(super) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::base::event::Event;

    const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0";

    /// What is found, by name, and what is said.
    fn found(folder: &Path) -> (Vec<String>, Vec<String>) {
        let notes = Mutex::new(Vec::new());
        let sink = |event| {
            if let Event::Note(text) = event {
                notes.lock().unwrap().push(text);
            }
        };
        let found = find_images(folder, &sink).unwrap();
        (found.iter().map(|path| name(path)).collect(), notes.into_inner().unwrap())
    }

    #[test]
    fn every_ending_of_an_image_counts_and_hidden_files_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["a.JPG", "b.jfif", "c.jpe", "d.Tiff", "e.gif", "f.pgm"];
        for name in names.iter().chain(&["._a.JPG", ".hidden.png", "notes.txt", "table.csv"]) {
            fs::write(folder.path().join(name), JPEG.split_at(if name.ends_with("txt") { 0 } else { 11 }).0).unwrap();
        }
        fs::write(folder.path().join("table.csv"), "a,b").unwrap();
        fs::create_dir(folder.path().join("folder.png")).unwrap();
        assert_eq!(found(folder.path()), (names.map(String::from).to_vec(), vec![]));
    }

    #[test]
    fn images_of_other_endings_are_noted_once() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [("a.png", JPEG), ("b.xyz", JPEG), ("c.heic", b"\0\0\0\x18ftypheic"), ("d.txt", b"JPEG")]
        {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let place = folder.path().display();
        let note = format!("2 files were left out of {place}: b.xyz is a JPG image by its content; rename it");
        assert_eq!(found(folder.path()), (vec!["a.png".into()], vec![note]));
        fs::remove_file(folder.path().join("b.xyz")).unwrap();
        let (_, notes) = found(folder.path());
        assert!(notes[0].contains("1 file was left out") && notes[0].contains("c.heic is a HEIC image; convert it"));
    }

    #[cfg(unix)]
    #[test]
    fn links_that_lead_nowhere_are_inputs() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/not/mounted/c.jpg", folder.path().join("c.jpg")).unwrap();
        assert_eq!(found(folder.path()).0, ["c.jpg"]);
    }

    #[test]
    fn a_label_folder_of_jpegs_says_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.JPEG"), JPEG).unwrap();
        for message in [find_labels(folder.path()), find_predictions(folder.path())].map(|found| found.unwrap_err()) {
            let message = message.to_string();
            assert!(message.contains("a.JPEG, whose compression changes values"), "{message}");
        }
        fs::write(folder.path().join("a.png"), "").unwrap();
        assert_eq!(find_labels(folder.path()).unwrap(), [folder.path().join("a.png")]);
    }
}
