//! One process a run folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Run, replace, utc};
use crate::base::files::{ProcessId, clear_leftovers, create_folder, host_name};
use crate::base::{Error, Result};

/// Lies in a run folder while a process writes to it.
pub(super) const LOCK: &str = ".segtool.lock";
/// Waits for another process that takes or leaves the lock at this moment.
const TRIES: usize = 20;
/// What most who lock a folder do.
const TRAINED: &str = "trained";
const PAUSE: Duration = Duration::from_millis(25);

/// A run folder that no other process trains in while this lives. The system releases it when the process dies.
#[derive(Debug)]
pub struct RunLock {
    folder: PathBuf,
    /// Holds the lock.
    file: File,
    /// Whether the folder was made for it.
    new: bool,
}

/// Who holds a lock, as its file says.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    process: u32,
    host: String,
    since: String,
    /// [`ProcessId`], as text.
    identity: String,
    /// What it does with the folder, as a participle.
    #[serde(default = "trained")]
    work: String,
}

fn trained() -> String {
    TRAINED.into()
}

impl Holder {
    fn own(work: &str) -> Self {
        let own = ProcessId::own();
        let (process, host, since) = (own.number, host_name(), utc(SystemTime::now()));
        Self { process, host, since, identity: own.to_string(), work: work.into() }
    }

    fn read(mut file: &File) -> Option<Self> {
        let mut text = String::new();
        file.rewind().ok()?;
        file.take(4096).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    fn is_alive(&self) -> Option<bool> {
        self.identity.parse().ok().and_then(ProcessId::is_alive)
    }

    fn words(&self) -> String {
        let Self { process, host, since, work, .. } = self;
        let place = if *host == host_name() { String::new() } else { format!(" on {host}") };
        format!("is being {work} by process {process}{place} (since {since})")
    }
}

impl RunLock {
    /// Locks a folder for a new run; a run that is there already is an error unless `overwrite` is set.
    ///
    /// # Errors
    ///
    /// Those of [`Run::check_target`], and an error if another process holds the lock.
    pub fn claim(folder: &Path, overwrite: bool) -> Result<Self> {
        // What is no run is left as it is, and whether a run may be replaced can change until it is locked.
        Run::check_target(folder, true)?;
        let lock = Self::acquire(folder)?;
        Run::check_target(folder, overwrite)?;
        Ok(lock)
    }

    /// Locks a folder, which is made if it is not there, and ends what killed programs left half done in it.
    ///
    /// # Errors
    ///
    /// [`Error::Content`] with the process that has it, and [`Error::Write`] if the folder cannot be written to.
    pub fn acquire(folder: &Path) -> Result<Self> {
        Self::acquire_for(folder, TRAINED)
    }

    /// [`Self::acquire`] for other work than a training: a participle such as `labelled`, for whoever finds it locked.
    pub(crate) fn acquire_for(folder: &Path, work: &str) -> Result<Self> {
        let new = !folder.exists();
        create_folder(folder)?;
        let lock = Self { folder: folder.into(), file: lock_file(folder, work)?, new };
        lock.sign(work);
        replace::settle(folder)?;
        clear_leftovers(folder, true);
        Ok(lock)
    }

    /// Whether another process holds the lock of a folder. Changes nothing there.
    pub(crate) fn is_held(folder: &Path) -> bool {
        let Ok(file) = File::open(folder.join(LOCK)) else { return false };
        match file.try_lock_shared() {
            Ok(()) => false,
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(_)) => Holder::read(&file).is_some_and(|holder| holder.is_alive() != Some(false)),
        }
    }

    /// Refuses the lock of another folder.
    pub(crate) fn check_folder(&self, folder: &Path) -> Result<()> {
        let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.into());
        if whole(&self.folder) == whole(folder) {
            return Ok(());
        }
        Err(Error::conflict("lock", format!("belongs to {}, not to {}", self.folder.display(), folder.display())))
    }

    /// Says in the file who has it. That it cannot be written, as on a full disk, does not matter where locks work.
    fn sign(&self, work: &str) {
        let text = serde_json::to_string(&Holder::own(work)).unwrap_or_default();
        let mut file = &self.file;
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        let path = self.folder.join(LOCK);
        if is_at(&self.file, &path) {
            let _ = fs::remove_file(path);
        }
        if self.new {
            // Fails where something is in it, as it should.
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

fn lock_file(folder: &Path, work: &str) -> Result<File> {
    let path = folder.join(LOCK);
    let failed = |e| Error::write(&path, e);
    for _ in 0..TRIES {
        let opened = OpenOptions::new().create(true).read(true).write(true).truncate(false).open(&path);
        let file = match opened {
            Ok(file) => file,
            // The folder went with the process that had made it.
            Err(e) if e.kind() == ErrorKind::NotFound => {
                create_folder(folder)?;
                continue;
            }
            Err(e) => return Err(failed(e)),
        };
        match file.try_lock() {
            Ok(()) if is_at(&file, &path) => return Ok(file),
            // Another process removed it as it ended.
            Ok(()) => {}
            // One who is not alive was killed before, and the one who locks has not signed yet.
            Err(TryLockError::WouldBlock) => {
                match Holder::read(&file).filter(|holder| holder.is_alive() != Some(false)) {
                    Some(holder) => return Err(Error::content(folder, holder.words() + ADVICE)),
                    None => sleep(PAUSE),
                }
            }
            Err(TryLockError::Error(_)) => return lock_by_name(folder, file, work),
        }
    }
    Err(Error::content(folder, format!("is being {work} by another process{ADVICE}")))
}

const ADVICE: &str = "; wait until it ends, or choose another folder";

/// On file systems without locks: what the file says counts, and whether that process still runs.
fn lock_by_name(folder: &Path, file: File, work: &str) -> Result<File> {
    let path = folder.join(LOCK);
    let failed = |e| Error::write(&path, e);
    let refused = |holder: &Holder| {
        let advice = match holder.is_alive() {
            Some(_) => ADVICE.to_owned(),
            None => format!("; if it no longer runs, delete {}", path.display()),
        };
        Error::content(folder, holder.words() + &advice)
    };
    if let Some(holder) = Holder::read(&file).filter(|holder| holder.is_alive() != Some(false)) {
        return Err(refused(&holder));
    }
    let own = serde_json::to_string(&Holder::own(work)).map_err(|e| Error::content(&path, e))?;
    fs::write(&path, &own).map_err(failed)?;
    // Whoever takes it at the same moment writes, too, and the last one has it.
    sleep(2 * PAUSE);
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(failed)?;
    match Holder::read(&file) {
        Some(holder) if holder.identity == ProcessId::own().to_string() => Ok(file),
        Some(holder) => Err(refused(&holder)),
        None => Err(Error::content(folder, format!("is being {work} by another process{ADVICE}"))),
    }
}

/// Whether an open file is the one of that name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |found: fs::Metadata| (found.dev(), found.ino());
    file.metadata().ok().map(identity).is_some_and(|own| fs::metadata(path).ok().map(identity) == Some(own))
}

#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> bool {
    path.exists()
}
