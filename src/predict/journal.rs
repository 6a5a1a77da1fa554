//! `predictions.jsonl`: one line for each input, added when it is done, so that a set that was stopped goes on from there.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Instant, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::output::Outputs;
use super::record::Maker;
use crate::base::store;
use crate::base::{Error, Result, locked};
use crate::nn::model::checksum_of_text;

/// The file's name.
pub const JOURNAL: &str = "predictions.jsonl";
/// Digits of a checksum that tell weights and options apart.
const DIGITS: usize = 16;

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// All its files are written.
    Done,
    /// It could not be read or predicted; the rest went on.
    Skipped,
    /// A file of it could not be written, which ended the work.
    Failed,
}

/// What tells a file from an earlier or later one at the same place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Bytes of the input.
    pub input_bytes: u64,
    /// When it was last changed, in seconds since 1970 with nine decimals, as text: more digits than a JSON number keeps.
    pub input_modified: String,
}

impl Version {
    /// Of a file or an object as it is now; `None` where the system does not say.
    pub fn of(path: &Path) -> Option<Self> {
        if store::is_url(path) {
            let (input_bytes, input_modified) = store::version(path)?;
            return Some(Self { input_bytes, input_modified });
        }
        let found = fs::metadata(path).ok()?;
        let modified = found.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let input_modified = format!("{}.{:09}", modified.as_secs(), modified.subsec_nanos());
        Some(Self { input_bytes: found.len(), input_modified })
    }
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The image, as an absolute path.
    pub input: String,
    /// What became of it.
    pub state: State,
    /// Its files in the folder, with their sizes in bytes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, u64>,
    /// Seconds since the input before it was done: reading, computing and writing overlap.
    pub seconds: f64,
    /// Why there is no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Beginning of a checksum of the weights, the data set and all options.
    pub by: String,
    /// Which version of the image this is about, where the system told.
    #[serde(flatten)]
    pub version: Option<Version>,
}

/// What stands for weights and options in a line. Options are taken as they are debugged: one that is added later counts by
/// itself.
pub(super) fn signature(maker: &Maker, outputs: &Outputs) -> String {
    let text = format!("{}\n{}\n{}\n{outputs:?}", maker.weights, maker.dataset, maker.options);
    let mut digits = checksum_of_text(&text);
    digits.truncate(DIGITS);
    digits
}

/// The last line of each input in a folder's journal, by the input; none without a journal. What a killed process left of a
/// line is passed over.
pub fn read_journal(folder: &Path) -> Result<BTreeMap<String, Line>> {
    let path = folder.join(JOURNAL);
    match fs::read(&path) {
        Ok(bytes) => Ok(parse(&bytes)),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(cause) => Err(Error::read(&path, cause)),
    }
}

fn parse(bytes: &[u8]) -> BTreeMap<String, Line> {
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
    lines.map(|line| (line.input.clone(), line)).collect()
}

/// Adds lines to a journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// When the last line was added.
    last: Mutex<Instant>,
}

impl Journal {
    pub(super) fn new(folder: &Path) -> Self {
        Self { path: folder.join(JOURNAL), last: Mutex::new(Instant::now()) }
    }

    /// Adds a line, with the time since the one before. The file is opened for each: one that is gone with its folder is
    /// found out, and not written to any more.
    pub(super) fn add(&self, mut line: Line) -> Result<()> {
        let now = Instant::now();
        let before = std::mem::replace(&mut *locked(&self.last), now);
        line.seconds = (now.duration_since(before).as_secs_f64() * 1e3).round() / 1e3;
        let mut text = serde_json::to_vec(&line).map_err(|e| Error::failed("write a line of the journal", e))?;
        text.push(b'\n');
        self.append(&text).map_err(|cause| Error::write(&self.path, cause))
    }

    /// One write, at the end, after any that others are in the midst of. Behind what a killed process left of its line, a new
    /// line begins.
    fn append(&self, text: &[u8]) -> std::io::Result<()> {
        let mut file = OpenOptions::new().read(true).append(true).open(&self.path)?;
        // Not every file system has locks; an append is whole on most even without.
        let _ = file.lock();
        let mut last = [b'\n'];
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        if last == *b"\n" { file.write_all(text) } else { file.write_all(&[b"\n", text].concat()) }
    }
}

/// Holds other predictions into the same folder back while its record changes; nothing where the system cannot. The journal is
/// what is locked, for network file systems lock no folders.
#[derive(Debug)]
pub(super) struct Lock(Option<File>);

impl Lock {
    pub(super) fn hold(folder: &Path) -> Result<Self> {
        let path = folder.join(JOURNAL);
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = file.map_err(|cause| Error::write(&path, cause))?;
        Ok(Self(file.lock().is_ok().then_some(file)))
    }

    /// [`read_journal`] under the lock: some systems let nobody read what is locked but its holder.
    pub(super) fn journal(&self, folder: &Path) -> Result<BTreeMap<String, Line>> {
        let Some(mut file) = self.0.as_ref() else { return read_journal(folder) };
        let mut bytes = Vec::new();
        let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes));
        read.map(|_| parse(&bytes)).map_err(|cause| Error::read(folder.join(JOURNAL), cause))
    }

    /// Empties the journal.
    pub(super) fn clear(&self, folder: &Path) -> Result<()> {
        let path = folder.join(JOURNAL);
        OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(0)).map_err(|e| Error::write(&path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(input: &str, state: State) -> Line {
        let (files, version) = (BTreeMap::from([("a.npy".to_owned(), 9)]), Version::of(Path::new(".")));
        Line { input: input.into(), state, files, seconds: 0.0, reason: None, by: "0".into(), version }
    }

    #[test]
    fn the_last_line_counts_and_what_is_left_of_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read_journal(folder.path()).unwrap().is_empty());
        drop(Lock::hold(folder.path()).unwrap());
        let journal = Journal::new(folder.path());
        for state in [State::Failed, State::Done] {
            journal.add(line("a", state)).unwrap();
        }
        let path = folder.path().join(JOURNAL);
        let whole = fs::read(&path).unwrap();
        for cut in 1..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            journal.add(line("b", State::Skipped)).unwrap();
            let found = read_journal(folder.path()).unwrap();
            assert_eq!(found["b"].state, State::Skipped, "{cut}");
            let first = whole.iter().position(|byte| *byte == b'\n').unwrap();
            // Without its line feed a line is whole, too.
            let expected = [(first, None), (whole.len() - 1, Some(State::Failed)), (usize::MAX, Some(State::Done))];
            let expected = expected.iter().find(|(end, _)| cut < *end).unwrap().1;
            assert_eq!(found.get("a").map(|line| line.state), expected, "{cut}");
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.ends_with("}\n") && !text.contains("\n\n"), "{text}");
        }
    }

    #[test]
    fn a_journal_that_is_gone_is_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let said = Journal::new(folder.path()).add(line("a", State::Done)).unwrap_err().to_string();
        assert!(said.contains(JOURNAL) && !folder.path().join(JOURNAL).exists(), "{said}");
    }

    #[test]
    fn threads_and_processes_add_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        drop(Lock::hold(folder.path()).unwrap());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let folder = folder.path();
                scope.spawn(move || {
                    let journal = Journal::new(folder);
                    (0..50).for_each(|i| journal.add(line(&format!("{thread}-{i}"), State::Done)).unwrap());
                });
            }
        });
        assert_eq!(read_journal(folder.path()).unwrap().len(), 200);
        assert_eq!(fs::read_to_string(folder.path().join(JOURNAL)).unwrap().lines().count(), 200);
    }
}
