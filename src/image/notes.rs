//! What readers noticed about files that they read, gathered so that a batch is told once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::base::event::Sink;
use crate::base::locked;

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
                "{files} {images} {were} turned upright according to the orientation tag (such as {such}); `orientation` ignore \
                 keeps the stored pixel order"
            ),
            Self::SmallerPages => format!(
                "only the first page of {files} TIFF {images} was read (such as {such}); the smaller pages after it were \
                 skipped"
            ),
            Self::Other(sentence) if files == 1 => format!("{such}: {sentence}"),
            Self::Other(sentence) => format!("{files} files (such as {such}): {sentence}"),
        }
    }
}

#[derive(Debug, Default)]
struct Found {
    /// Files by what was noticed about them.
    files: BTreeMap<Kind, BTreeSet<PathBuf>>,
    /// What has been told already.
    told: Vec<Kind>,
}

static FOUND: Mutex<Found> = Mutex::new(Found { files: BTreeMap::new(), told: Vec::new() });

/// Notes a file.
pub(crate) fn add(kind: Kind, path: &Path) {
    let mut found = locked(&FOUND);
    if found.told.contains(&kind) {
        return;
    }
    found.files.entry(kind).or_default().insert(path.into());
}

/// Reports what was noticed since the last call, a note for each kind. A kind is reported once in the life of the process:
/// the same files are read again in every epoch.
pub fn report_notes(sink: &dyn Sink) {
    let mut found = locked(&FOUND);
    let files = std::mem::take(&mut found.files);
    found.told.extend(files.keys().cloned());
    drop(found);
    for (kind, files) in files {
        let first = files.first().map_or(Path::new(""), PathBuf::as_path);
        sink.note(kind.sentence(files.len(), first));
    }
}

/// Notes a sentence about a file, without its name; equal sentences become one note.
pub(crate) fn note_file(path: &Path, sentence: &str) {
    add(Kind::Other(sentence.to_owned()), path);
}
