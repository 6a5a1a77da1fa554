//! What readers noticed about files that they read, gathered so that a batch is told once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::event::{Event, Sink};

/// What was noticed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The image was turned upright.
    Oriented,
    /// Further pages of a TIFF, smaller than the first, were left out.
    SmallerPages,
    /// Anything else: the sentence about one file, without its name.
    Other(String),
}

impl Kind {
    fn sentence(&self, files: usize, first: &Path) -> String {
        let such = first.display();
        let (images, were) = if files == 1 { ("image", "was") } else { ("images", "were") };
        match self {
            Self::Oriented => format!(
                "{files} {images} {were} turned upright as the orientation tag says, such as {such}; --orientation ignore \
                 takes the pixels as stored"
            ),
            Self::SmallerPages => format!(
                "{files} TIFF {images} {were} read without the smaller pages that follow the first, such as those of {such}"
            ),
            Self::Other(sentence) if files == 1 => format!("{such}: {sentence}"),
            Self::Other(sentence) => format!("{files} files, such as {such}: {sentence}"),
        }
    }
}

#[derive(Debug, Default)]
struct Found {
    /// Files, and the first of them by name.
    files: BTreeMap<Kind, (usize, PathBuf)>,
    /// What has been told already.
    told: Vec<Kind>,
}

static FOUND: Mutex<Found> = Mutex::new(Found { files: BTreeMap::new(), told: Vec::new() });

/// Notes a file.
pub(crate) fn add(kind: Kind, path: &Path) {
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if found.told.contains(&kind) {
        return;
    }
    let (files, first) = found.files.entry(kind).or_insert_with(|| (0, path.into()));
    *files += 1;
    if path < first.as_path() {
        *first = path.into();
    }
}

/// Reports what was noticed since the last call, a note for each kind. A kind is reported once in the life of the process:
/// the same files are read again in every epoch.
pub fn report_notes(sink: &dyn Sink) {
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let files = std::mem::take(&mut found.files);
    found.told.extend(files.keys().cloned());
    drop(found);
    for (kind, (files, first)) in files {
        sink.event(Event::Note(kind.sentence(files, &first)));
    }
}

/// Notes a sentence about a file, without its name; equal sentences become one note.
pub(crate) fn note_file(path: &Path, sentence: &str) {
    add(Kind::Other(sentence.to_owned()), path);
}
