//! Temporary files, by name: whose they are, and what killed programs left of them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use super::process::ProcessId;
use crate::base::{Error, Result, locked};

/// How names of temporary files and folders begin; the process that makes one follows.
const PREFIX: &str = ".segtool-";
/// After so long without a change, a file is left over, whoever made it.
const OLD: Duration = Duration::from_secs(24 * 3600);

/// How names of this process' temporary files begin.
pub(super) fn own_prefix() -> String {
    format!("{PREFIX}{}-", ProcessId::own())
}

/// Whether a file or folder of that name is a temporary one of this program.
pub fn is_temporary(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}

/// Whether there is nothing in a folder but temporary files. A folder that is not there is empty, too.
pub fn is_empty_folder(folder: &Path) -> Result<bool> {
    holds_only(folder, &[])
}

/// Whether there is nothing in a folder but temporary files and what has these names.
pub(crate) fn holds_only(folder: &Path, names: &[&str]) -> Result<bool> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(e) => return Err(Error::read(folder, e)),
    };
    for entry in entries {
        let name = entry.map_err(|e| Error::read(folder, e))?.file_name();
        if !is_temporary(&name) && !names.iter().any(|known| name == *known) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes temporary files that programs left when they were killed; `alone` says that no other computer writes there. What
/// cannot be removed stays: it is only in the way.
pub fn clear_leftovers(folder: &Path, alone: bool) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| is_temporary(&entry.file_name())) {
        if is_left_over(&entry, alone) {
            let path = entry.path();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let _ = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }
}

fn is_left_over(entry: &DirEntry, alone: bool) -> bool {
    let name = entry.file_name();
    let maker = name.to_str().and_then(|name| {
        // Behind the maker come random letters, with or without an ending.
        let (maker, _) = name.strip_prefix(PREFIX)?.rsplit_once('-')?;
        maker.parse::<ProcessId>().ok()
    });
    match maker.and_then(ProcessId::is_alive) {
        Some(alive) => !alive,
        None => {
            let modified = entry.metadata().and_then(|found| found.modified());
            alone || modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > OLD))
        }
    }
}

/// [`clear_leftovers`] in a folder that is about to be written to, once in the life of this process.
pub(super) fn clear_once(folder: &Path) {
    static CLEARED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if locked(&CLEARED).insert(folder.into()) {
        clear_leftovers(folder, false);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_dead_processes_left_is_cleared_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let own = ProcessId::own();
        let dead = ProcessId { start: own.start + 1, ..own };
        let elsewhere = ProcessId { machine: own.machine ^ 1, ..own };
        let name = |maker: ProcessId| format!("{PREFIX}{maker}-AbCdEf.tmp");
        let names = [name(own), name(dead), name(elsewhere), format!("{PREFIX}AbCdEf.tmp"), "image.tmp".into()];
        let left =
            || names.iter().filter(|name: &&String| folder.path().join(name).exists()).cloned().collect::<Vec<_>>();
        for name in &names {
            fs::write(folder.path().join(name), "half").unwrap();
        }
        let staged = folder.path().join(format!("{PREFIX}{dead}-folder"));
        fs::create_dir_all(staged.join("below")).unwrap();
        assert!(!is_empty_folder(folder.path()).unwrap());

        clear_leftovers(folder.path(), false);
        assert_eq!(left(), [&names[0], &names[2], &names[3], &names[4]].map(String::clone));
        assert!(!staged.exists());
        clear_leftovers(folder.path(), true);
        assert_eq!(left(), [&names[0], &names[4]].map(String::clone));
        fs::remove_file(folder.path().join("image.tmp")).unwrap();
        assert!(is_empty_folder(folder.path()).unwrap() && is_empty_folder(&staged).unwrap());
    }

    #[test]
    fn what_cannot_be_told_is_cleared_when_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".segtool-AbCdEf.tmp");
        let file = fs::File::create(&path).unwrap();
        clear_leftovers(folder.path(), false);
        assert!(path.exists());
        file.set_modified(std::time::SystemTime::now() - 2 * OLD).unwrap();
        clear_leftovers(folder.path(), false);
        assert!(!path.exists());
    }
}
