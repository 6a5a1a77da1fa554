//! Writes that leave the old file or the new one, never half of one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Writes `path` through a temporary file in the same folder: `fill` writes, then the file is flushed to disk and
/// renamed over `path`. If anything fails, `path` is as it was.
pub fn write_atomically(path: &Path, fill: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>) -> Result<()> {
    write_through(path, |file| {
        let mut writer = BufWriter::with_capacity(1 << 18, file);
        fill(&mut writer)?;
        writer.flush()?;
        drop(writer);
        file.sync_all()
    })
}

/// [`write_atomically`] for bytes at hand.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, |out| out.write_all(bytes))
}

/// [`write_bytes`] without waiting for the disk, which takes longer than making a picture does. A program that is killed
/// still leaves the old file or the new one; only a power failure may cost the last few. For what is quick to make again.
pub fn write_bytes_unsynced(path: &Path, bytes: &[u8]) -> Result<()> {
    write_through(path, |mut file| file.write_all(bytes))
}

fn write_through(path: &Path, fill: impl FnOnce(&File) -> std::io::Result<()>) -> Result<()> {
    let failed = |cause| Error::write(path, cause);
    let folder = parent(path);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".segtool-").suffix(".tmp");
    // A temporary file is private by default; the result should obey the user's umask like any other file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.tempfile_in(folder).map_err(failed)?;
    fill(file.as_file()).map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

/// Says, before any work, whether a file could be written.
pub fn check_writable(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Error::content(path, "is a folder; give the name of a file"));
    }
    tempfile::tempfile_in(parent(path)).map(drop).map_err(|e| Error::write(path, e))
}

/// Creates a folder and the ones above it.
pub fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| Error::write(path, e))
}

/// The whole file as text.
pub fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|e| Error::read(path, e))
}

/// The whole file.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    if path.is_dir() {
        return Err(Error::content(path, "is a folder, not a file"));
    }
    fs::read(path).map_err(|e| Error::read(path, e))
}

/// Opens a file for reading, and says how long it is. Devices and pipes are refused: some of them have no end, others wait
/// for a writer that never comes.
pub fn open_file(path: &Path) -> Result<(File, u64)> {
    let failed = |e| Error::read(path, e);
    let found = fs::metadata(path).map_err(failed)?;
    if found.is_dir() {
        return Err(Error::content(path, "is a folder, not a file"));
    }
    if !found.is_file() {
        return Err(Error::content(
            path,
            "is no regular file but a device or a pipe; copy what it gives into a file first",
        ));
    }
    Ok((File::open(path).map_err(failed)?, found.len()))
}

/// Replaces the folder `target` by the finished folder `fresh` beside it. Killed in between, `target` may be missing,
/// but then the old one still stands under [`old_name`].
pub fn replace_folder(fresh: &Path, target: &Path) -> Result<()> {
    let old = old_name(target);
    let failed = |cause| Error::write(target, cause);
    if target.exists() {
        if old.exists() {
            fs::remove_dir_all(&old).map_err(failed)?;
        }
        fs::rename(target, &old).map_err(failed)?;
    }
    fs::rename(fresh, target).map_err(failed)?;
    if old.exists() {
        fs::remove_dir_all(&old).map_err(failed)?;
    }
    Ok(())
}

/// Where [`replace_folder`] keeps the previous folder while it works.
pub fn old_name(target: &Path) -> std::path::PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    name.push(".old");
    target.with_file_name(name)
}

/// Says which two inputs would be written to one place, where one of them would overwrite the other.
pub fn refuse_equal_outputs<'a>(outputs: impl IntoIterator<Item = (PathBuf, &'a Path)>) -> Result<()> {
    let mut seen: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    for (output, input) in outputs {
        if let Some(other) = seen.insert(output.clone(), input) {
            return Err(Error::Config(format!(
                "{} and {} would both be written as {}; write them to different folders, or rename one",
                other.display(),
                input.display(),
                output.display()
            )));
        }
    }
    Ok(())
}

/// The folder of `path`, `.` for a bare name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_bytes(&path, b"old").unwrap();
        let result = write_atomically(&path, |out| {
            out.write_all(b"half")?;
            Err(std::io::Error::other("stopped"))
        });
        assert!(matches!(result, Err(Error::Write { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (target, fresh) = (folder.path().join("last"), folder.path().join("fresh"));
        for content in ["one", "two"] {
            create_folder(&fresh).unwrap();
            write_bytes(&fresh.join("x"), content.as_bytes()).unwrap();
            replace_folder(&fresh, &target).unwrap();
            assert_eq!(read_text(&target.join("x")).unwrap(), content);
            assert!(!fresh.exists() && !old_name(&target).exists());
        }
    }
}
