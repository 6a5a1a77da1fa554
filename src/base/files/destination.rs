//! Where writes go.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::base::{Error, Result};

/// Most links that are followed from one to the next, as on Linux.
const MAX_LINKS: usize = 40;

/// Where a write goes.
pub(super) enum Destination {
    /// To a regular file, behind all links, which replaces the one of that metadata.
    File { target: PathBuf, replaced: Option<fs::Metadata> },
    /// To a pipe or device, which a file must not take the place of.
    Stream,
    /// To the program's own output, where it goes on.
    Open(File),
}

pub(super) fn destination(path: &Path) -> Result<Destination> {
    let failed = |cause| Error::write(path, cause);
    if let Some(file) = own_output(path).map_err(failed)? {
        return Ok(Destination::Open(file));
    }
    let replaced = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(Error::content(path, "is a folder; give the name of a file"));
        }
        Ok(metadata) if metadata.is_file() => Some(metadata),
        Ok(metadata) if is_stream(&metadata) => return Ok(Destination::Stream),
        Ok(_) => return Err(Error::content(path, "is neither a file nor a pipe; give the name of a file")),
        Err(_) => None,
    };
    Ok(Destination::File { target: behind_links(path).map_err(failed)?, replaced })
}

/// What `path` points to in the end; it need not exist.
fn behind_links(path: &Path) -> std::io::Result<PathBuf> {
    let mut target = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&target) {
            Ok(next) => target = folder_of(&target).join(next),
            Err(_) => return Ok(target),
        }
    }
    Err(std::io::Error::other("too many symbolic links, perhaps in a loop"))
}

/// Standard output or error, if `path` names it. Opened once more, a file behind it would be written over from its start.
#[cfg(unix)]
fn own_output(path: &Path) -> std::io::Result<Option<File>> {
    use std::os::fd::AsFd;
    let owned = match path.to_str() {
        Some("/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1") => std::io::stdout().as_fd().try_clone_to_owned()?,
        Some("/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2") => std::io::stderr().as_fd().try_clone_to_owned()?,
        _ => return Ok(None),
    };
    Ok(Some(owned.into()))
}

#[cfg(not(unix))]
fn own_output(_path: &Path) -> std::io::Result<Option<File>> {
    Ok(None)
}

/// Whether bytes can be read or written one after the other, as in a pipe, a terminal or /dev/null.
#[cfg(unix)]
pub(super) fn is_stream(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    kind.is_fifo() || kind.is_char_device()
}

#[cfg(not(unix))]
pub(super) fn is_stream(_metadata: &fs::Metadata) -> bool {
    false
}

/// The folder of `path`, `.` for a bare name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
