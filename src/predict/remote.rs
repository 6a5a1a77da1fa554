//! A folder of results in a store.
//!
//! A folder on this machine stands for it: each object there is a file here of the same name and size, without its bytes, so
//! that what is checked and kept of folders is checked and kept of stores. Results are written here, sent, and emptied.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::journal::JOURNAL;
use super::listing::LIST;
use super::record::{RECORD, Record};
use super::shard::{Shard, own_name};
use crate::base::files::{create_folder, folder_of};
use crate::base::store;
use crate::base::{Error, Remedy, Result, locked};

/// How often the journal is sent: a run that is killed predicts again what was done since.
const JOURNAL_EVERY: Duration = Duration::from_secs(30);

/// A folder in a store, and the folder on this machine that stands for it.
#[derive(Debug)]
pub(super) struct Remote {
    url: PathBuf,
    /// Removed when it is dropped.
    folder: TempDir,
    shard: Option<Shard>,
    /// Keys of results that the record of this shard had.
    recorded: BTreeSet<String>,
    journal: Mutex<Sent>,
}

/// What of the journal goes into the object of this run.
#[derive(Debug)]
struct Sent {
    /// What the object held before.
    before: Vec<u8>,
    /// Where the lines of this run begin in the file, behind those of all objects.
    start: usize,
    last: Instant,
}

/// Whether a name is that of such a file, of a run without shards or of any shard.
fn is_own(name: &str, of: &str) -> bool {
    let Some((stem, ending)) = of.split_once('.') else { return false };
    let middle = name.strip_prefix(stem).and_then(|rest| rest.strip_suffix(ending)?.strip_suffix('.'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_shard = |middle: &str| {
        middle
            .strip_prefix('-')
            .and_then(|rest| rest.split_once("-of-"))
            .is_some_and(|(i, n)| is_number(i) && is_number(n))
    };
    middle.is_some_and(|middle| middle.is_empty() || is_shard(middle))
}

impl Remote {
    /// Looks at what is there.
    ///
    /// # Errors
    ///
    /// If the store does not answer, or refuses.
    pub(super) fn open(url: &Path, shard: Option<Shard>) -> Result<Self> {
        if store::is_web(url) {
            let reason = "is on a web server, which takes no results; name a folder in a store (s3://, gs://, az://) \
                          or on this machine";
            return Err(Error::content(url, reason));
        }
        let mut listed = store::list(url, true)?;
        let folder = tempfile::Builder::new().prefix("segtool-").tempdir();
        let folder = folder.map_err(|cause| Error::write(std::env::temp_dir(), cause))?;
        listed.iter().try_for_each(|object| stand_in(&folder.path().join(&object.name), object.bytes))?;
        // The last that was written says how it is now.
        listed.sort_by_key(|object| object.modified);
        let journal = Mutex::new(Sent { before: Vec::new(), start: 0, last: Instant::now() });
        let mut remote = Self { url: url.into(), folder, shard, recorded: BTreeSet::new(), journal };
        let names =
            |of: &str| listed.iter().map(|object| object.name.clone()).filter(|name| is_own(name, of)).collect();
        let (records, journals): (Vec<String>, Vec<String>) = (names(RECORD), names(JOURNAL));
        remote.merge_records(&records)?;
        remote.merge_journals(&journals)?;
        Ok(remote)
    }

    /// The folder that stands for it.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a file of the folder is, or will be.
    pub(super) fn url(&self, name: &str) -> PathBuf {
        store::below(&self.url, name)
    }

    fn own_url(&self, name: &str) -> PathBuf {
        self.url(&own_name(name, self.shard))
    }

    /// A path in the folder as the URL that it stands for.
    pub(super) fn shown(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(self.folder()) {
            Ok(name) if name.as_os_str().is_empty() => self.url.clone(),
            Ok(name) => self.url(&name.to_string_lossy()),
            Err(_) => path.into(),
        }
    }

    /// An error with URLs for paths, but where this machine is at fault.
    pub(super) fn named(&self, error: Error) -> Error {
        let in_text = |text: String| {
            text.replace(&*self.folder().to_string_lossy(), self.url.to_string_lossy().trim_end_matches('/'))
        };
        match error {
            Error::Content { path, reason } => Error::content(self.shown(&path), in_text(reason)),
            Error::Occupied { path, reason, remedies } => {
                Error::Occupied { path: self.shown(&path), reason: in_text(reason), remedies }
            }
            Error::Pair { first, second, reason } => Error::Pair { first, second, reason: in_text(reason) },
            other => other,
        }
    }

    /// Refuses results in the place of inputs.
    pub(super) fn refuse_inputs<'n>(&self, inputs: &[PathBuf], names: impl Iterator<Item = &'n String>) -> Result<()> {
        let inputs: BTreeSet<&Path> = inputs.iter().map(PathBuf::as_path).collect();
        let mut urls = names.map(|name| self.url(name));
        let Some(url) = urls.find(|url| inputs.contains(url.as_path())) else { return Ok(()) };
        Err(Error::occupied(&url, "is also an input: the result would overwrite it", [Remedy::Another("output")]))
    }

    /// Whether a file of the folder lies beside one of these inputs.
    pub(super) fn is_beside(&self, name: &str, inputs: &BTreeSet<&Path>) -> bool {
        inputs.contains(folder_of(&self.url(name)))
    }

    /// One record of all.
    fn merge_records(&mut self, names: &[String]) -> Result<()> {
        let own = own_name(RECORD, self.shard);
        let (path, mut merged) = (self.folder().join(RECORD), Record::default());
        for name in names {
            store::download(&self.url(name), &path)?;
            // A damaged one stays in the place of all, and is refused or replaced as any is.
            let Ok(Some(record)) = Record::read(self.folder()) else { return Ok(()) };
            if *name == own {
                self.recorded = record.results.keys().cloned().collect();
            }
            merged.add(&record);
        }
        if names.is_empty() { Ok(()) } else { merged.write(self.folder()) }
    }

    /// One journal of all.
    fn merge_journals(&mut self, names: &[String]) -> Result<()> {
        let own = own_name(JOURNAL, self.shard);
        let (path, mut merged) = (self.folder().join(JOURNAL), Vec::new());
        let mut before = Vec::new();
        for name in names {
            store::download(&self.url(name), &path)?;
            let mut lines = fs::read(&path).map_err(|cause| Error::read(&path, cause))?;
            if lines.last().is_some_and(|last| *last != b'\n') {
                lines.push(b'\n');
            }
            merged.extend_from_slice(&lines);
            if *name == own {
                before = lines;
            }
        }
        let start = merged.len();
        self.journal = Mutex::new(Sent { before, start, last: Instant::now() });
        if names.is_empty() { Ok(()) } else { fs::write(&path, merged).map_err(|cause| Error::write(&path, cause)) }
    }

    /// Has the store follow what was removed and recorded here before the first result; `keys` are those of this run.
    pub(super) fn begin<'n>(
        &'n self,
        removed: impl Iterator<Item = &'n String>,
        keys: impl Iterator<Item = &'n String>,
    ) -> Result<()> {
        let removed = removed.filter(|name| ![LIST, JOURNAL].contains(&name.as_str())).map(|name| self.url(name));
        store::delete(&removed.chain([self.own_url(LIST)]).collect::<Vec<_>>())?;
        self.send_record(keys)?;
        self.send_journal(true)
    }

    /// Sends the files of an image, the label map last, and frees their room here.
    pub(super) fn send(&self, names: &[String]) -> Result<()> {
        let send = |name: &String| store::upload(&self.folder().join(name), &self.url(name));
        let (label_map, others) = names.split_first().map_or((None, &[][..]), |(first, rest)| (Some(first), rest));
        thread::scope(|scope| {
            let sending: Vec<_> = others.iter().map(|name| scope.spawn(move || send(name))).collect();
            sending.into_iter().try_for_each(|sent| sent.join().expect("a sending thread panicked"))
        })?;
        label_map.map_or(Ok(()), send)?;
        names.iter().try_for_each(|name| {
            let path = self.folder().join(name);
            let bytes = fs::metadata(&path).map_err(|cause| Error::read(&path, cause))?.len();
            stand_in(&path, bytes)
        })
    }

    /// Sends the lines of this run, behind those that its object had; unless `now`, not more often than needed.
    pub(super) fn send_journal(&self, now: bool) -> Result<()> {
        let mut sent = locked(&self.journal);
        if !now && sent.last.elapsed() < JOURNAL_EVERY {
            return Ok(());
        }
        let path = self.folder().join(JOURNAL);
        let whole = fs::read(&path).map_err(|cause| Error::read(&path, cause))?;
        if whole.len() < sent.start {
            // It was of unknown origin, and emptied.
            (sent.before, sent.start) = (Vec::new(), 0);
        }
        let lines = [sent.before.as_slice(), &whole[sent.start..]].concat();
        let apart = tempfile::NamedTempFile::new().map_err(|cause| Error::write(std::env::temp_dir(), cause))?;
        fs::write(apart.path(), lines).map_err(|cause| Error::write(apart.path(), cause))?;
        store::upload(apart.path(), &self.own_url(JOURNAL))?;
        sent.last = Instant::now();
        Ok(())
    }

    /// Sends the record: of a shard what it had, and its own results, for others write theirs at the same time.
    fn send_record<'n>(&'n self, keys: impl Iterator<Item = &'n String>) -> Result<()> {
        let Some(mut record) = Record::read(self.folder())? else { return Ok(()) };
        if self.shard.is_some() {
            let keys: BTreeSet<&str> = keys.chain(&self.recorded).map(String::as_str).collect();
            record.results.retain(|key, _| keys.contains(key.as_str()));
        }
        let apart = tempfile::tempdir().map_err(|cause| Error::write(std::env::temp_dir(), cause))?;
        record.write(apart.path())?;
        store::upload(&apart.path().join(RECORD), &self.own_url(RECORD))
    }

    /// Sends what is known at the end.
    pub(super) fn finish<'n>(&'n self, keys: impl Iterator<Item = &'n String>) -> Result<()> {
        self.send_journal(true)?;
        self.send_record(keys)?;
        let list = self.folder().join(LIST);
        if list.exists() { store::upload(&list, &self.own_url(LIST)) } else { Ok(()) }
    }
}

/// Puts a file of that size without bytes into a place; where a name cannot be that of a file here, no result has it.
fn stand_in(path: &Path, bytes: u64) -> Result<()> {
    let made = create_folder(folder_of(path)).and_then(|()| {
        let made = File::create(path).and_then(|file| file.set_len(bytes));
        made.map_err(|cause| Error::write(path, cause))
    });
    match made {
        Err(Error::Write { cause, .. }) if is_no_name(cause.kind()) => Ok(()),
        made => made,
    }
}

fn is_no_name(kind: ErrorKind) -> bool {
    use ErrorKind::{AlreadyExists, InvalidFilename, IsADirectory, NotADirectory};
    [InvalidFilename, NotADirectory, IsADirectory, AlreadyExists].contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_have_objects_of_their_own() {
        let shard = Some(Shard::new(3, 8).unwrap());
        assert_eq!(own_name(JOURNAL, shard), "predictions-3-of-8.jsonl");
        assert_eq!(own_name(RECORD, None), "predictions.json");
        for (name, of, expected) in [
            ("predictions.json", RECORD, true),
            ("predictions-3-of-8.json", RECORD, true),
            ("predictions-3-of-8.jsonl", RECORD, false),
            ("predictions-3-of-8.jsonl", JOURNAL, true),
            ("predictions-of-8.jsonl", JOURNAL, false),
            ("predictions-x-of-8.jsonl", JOURNAL, false),
            ("predictions2.json", RECORD, false),
            ("below/predictions.json", RECORD, false),
        ] {
            assert_eq!(is_own(name, of), expected, "{name} {of}");
        }
    }

    #[test]
    fn what_stands_for_an_object_has_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/a.npy");
        stand_in(&path, 1 << 40).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 40);
        // A name that is that of a folder, too, and one that is too long.
        stand_in(&folder.path().join("below"), 1).unwrap();
        stand_in(&path.join("b.npy"), 1).unwrap();
        stand_in(&folder.path().join("a".repeat(300)), 1).unwrap();
    }
}
