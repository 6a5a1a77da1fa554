//! Writes that leave the old file or the new one, never half of one, and reads that take only what is meant to be read.

mod destination;
mod input;
mod leftovers;
mod process;

use std::collections::BTreeMap;
use std::fs::{self, DirEntry, File};
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::error::{Error, Result};
use super::store;

pub(crate) use destination::folder_of;
use destination::{Destination, destination, is_stream};
pub(crate) use input::{is_file, open_input};
pub(crate) use leftovers::holds_only;
pub use leftovers::{clear_leftovers, is_empty_folder, is_temporary};
pub(crate) use process::{ProcessId, host_name};

/// Most bytes of text that are taken from a pipe.
const MAX_PIPED: u64 = 64 << 20;

/// Writes `path` through a temporary file in the same folder: `fill` writes, then the file is flushed to disk and
/// renamed over `path`. If anything fails, `path` is as it was. Links are followed, and the file that is replaced keeps
/// its mode and owner. A pipe or device is written to as it stands.
pub fn write_atomically(path: &Path, fill: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>) -> Result<()> {
    let fill = |file: &File| {
        let mut writer = BufWriter::with_capacity(1 << 18, file);
        fill(&mut writer)?;
        writer.flush()
    };
    write_through(path, Flush::Wait, fill)
}

/// [`write_atomically`] for bytes at hand.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, |out| out.write_all(bytes))
}

/// [`write_bytes`] without waiting for the disk, which takes longer than making an image does. A program that is killed
/// still leaves the old file or the new one; only a power failure may cost the last few. For what is quick to make again.
pub fn write_bytes_unsynced(path: &Path, bytes: &[u8]) -> Result<()> {
    write_through(path, Flush::Skip, |mut file| file.write_all(bytes))
}

/// Whether a write waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flush {
    Wait,
    Skip,
}

fn write_through(path: &Path, flush: Flush, fill: impl FnOnce(&File) -> std::io::Result<()>) -> Result<()> {
    let failed = |cause| Error::write(path, cause);
    let (target, replaced) = match destination(path)? {
        // Whoever reads the program's own output may have had enough of it.
        Destination::Open(file) => match fill(&file) {
            Err(cause) if cause.kind() != ErrorKind::BrokenPipe => return Err(failed(cause)),
            _ => return Ok(()),
        },
        Destination::Stream => {
            let file = fs::OpenOptions::new().write(true).open(path).map_err(failed)?;
            return fill(&file).map_err(failed);
        }
        Destination::File { target, replaced } => (target, replaced),
    };
    let mut file = AtomicFile::beside(path, target, replaced)?;
    fill(file.file()).map_err(failed)?;
    file.commit_with(flush)
}

/// A file that takes its name when it is complete: until [`Self::commit`] what was there under the name stays, and
/// dropped before, it leaves nothing. For what is written bit by bit; see [`write_atomically`].
#[derive(Debug)]
pub(crate) struct AtomicFile {
    /// What errors call it, and where it goes.
    path: PathBuf,
    target: PathBuf,
    file: tempfile::NamedTempFile,
}

impl AtomicFile {
    /// # Errors
    ///
    /// If `path` is a pipe, a device or a folder, or nothing can be written beside it.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        match destination(path)? {
            Destination::File { target, replaced } => Self::beside(path, target, replaced),
            Destination::Stream | Destination::Open(_) => {
                Err(Error::content(path, "is a pipe or a device, but this is written out of order; name a file"))
            }
        }
    }

    fn beside(path: &Path, target: PathBuf, replaced: Option<fs::Metadata>) -> Result<Self> {
        let failed = |cause| Error::write(path, cause);
        let mut builder = tempfile::Builder::new();
        let prefix = leftovers::own_prefix();
        builder.prefix(&prefix).suffix(".tmp");
        // A temporary file is private by default; the result should obey the user's umask like any other file.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder_of(&target)).map_err(failed)?;
        if let Some(replaced) = replaced {
            keep_owner_and_mode(file.as_file(), &replaced).map_err(failed)?;
        }
        Ok(Self { path: path.to_path_buf(), target, file })
    }

    pub(crate) fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// What errors call it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the disk and gives the file its name.
    pub(crate) fn commit(self) -> Result<()> {
        self.commit_with(Flush::Wait)
    }

    fn commit_with(self, flush: Flush) -> Result<()> {
        let failed = |cause| Error::write(&self.path, cause);
        if flush == Flush::Wait {
            self.file.as_file().sync_all().map_err(failed)?;
        }
        fs::rename(self.file.path(), &self.target).map_err(failed)?;
        // Under its name there is nothing left to remove.
        let _ = self.file.into_temp_path().keep();
        Ok(())
    }
}

fn keep_owner_and_mode(file: &File, replaced: &fs::Metadata) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (replaced.uid(), replaced.gid()) {
            // Only root may give files away.
            let _ = std::os::unix::fs::fchown(file, Some(replaced.uid()), Some(replaced.gid()));
        }
    }
    file.set_permissions(replaced.permissions())
}

/// Says, before any work, whether a file could be written.
pub fn check_writable(path: &Path) -> Result<()> {
    match destination(path)? {
        Destination::File { target, .. } => {
            tempfile::tempfile_in(folder_of(&target)).map(drop).map_err(|e| Error::write(path, e))
        }
        Destination::Stream | Destination::Open(_) => Ok(()),
    }
}

/// Creates a folder and the ones above it. From one that is there, what killed programs left is removed.
pub fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| Error::write(path, e))?;
    leftovers::clear_once(path);
    Ok(())
}

/// Removes a file that may be there.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    gone(path, fs::remove_file(path))
}

/// Removes a folder that may be there, with all that is in it.
pub(crate) fn remove_folder(path: &Path) -> Result<()> {
    gone(path, fs::remove_dir_all(path))
}

fn gone(path: &Path, removed: std::io::Result<()>) -> Result<()> {
    removed.or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(Error::write(path, e)) })
}

/// What is in a folder.
pub(crate) fn entries(folder: &Path) -> Result<Vec<DirEntry>> {
    fs::read_dir(folder).and_then(Iterator::collect).map_err(|e| match e.kind() {
        ErrorKind::NotADirectory => {
            Error::content(folder, "is a file, but must be a folder; for single files, give lists")
        }
        _ => Error::read(folder, e),
    })
}

/// Whether something is there; unlike [`Path::exists`], it does not say no when the disk cannot be read.
pub(crate) fn is_there(path: &Path) -> Result<bool> {
    path.try_exists().or_else(|e| match e.kind() {
        ErrorKind::NotADirectory => Ok(false),
        _ => Err(Error::read(path, e)),
    })
}

/// The path that means the same in every folder, found without asking the disk; a URL does already.
pub fn absolute(path: &Path) -> PathBuf {
    if store::is_url(path) { path.into() } else { std::path::absolute(path).unwrap_or_else(|_| path.into()) }
}

/// Waits until the names in a folder are on the disk, where the file system can. That matters when the power fails.
pub(crate) fn sync_folder(path: &Path) {
    if let Ok(folder) = File::open(path) {
        let _ = folder.sync_all();
    }
}

/// Puts the file `from` in the place of `to` as well, under both names.
pub(crate) fn link_file(from: &Path, to: &Path) -> Result<()> {
    let temporary = folder_of(to).join(leftovers::own_prefix() + "link.tmp");
    remove_file(&temporary)?;
    // Not every file system has links.
    if fs::hard_link(from, &temporary).is_err() {
        return copy_file(from, to);
    }
    fs::rename(&temporary, to).map_err(|e| Error::write(to, e))?;
    // Nothing is renamed if it was in its place before.
    remove_file(&temporary)
}

/// Copies a file in the place of another, which stays as it is until all is there.
pub(crate) fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let mut source = File::open(from).map_err(|e| Error::read(from, e))?;
    write_atomically(to, |out| std::io::copy(&mut source, out).map(drop))
}

/// The whole file as text, without a byte order mark. UTF-16 with one is understood, too. The file may be a pipe, as of
/// a shell's `<(...)`.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = match fs::metadata(path) {
        Ok(metadata) if is_stream(&metadata) => read_piped(path)?,
        _ => read_bytes(path)?,
    };
    decode_text(bytes).map_err(|reason| Error::content(path, reason))
}

/// What is said of inputs that would be waited for, or have no end.
const NOT_REGULAR: &str = "is a pipe, socket or device, not a regular file; save its contents to a file first";

/// The whole file, which must be a regular one or in memory, or the whole object.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    if let Some(held) = store::held(path) {
        return Ok(held.as_ref().to_vec());
    }
    if store::is_url(path) {
        return store::read(path);
    }
    let mut bytes = Vec::new();
    open_file(path)?.0.read_to_end(&mut bytes).map_err(|e| Error::read(path, e))?;
    Ok(bytes)
}

fn read_piped(path: &Path) -> Result<Vec<u8>> {
    let failed = |cause| Error::read(path, cause);
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_PIPED + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_PIPED {
        return Err(Error::content(path, "gives more than 64 MiB; save its contents to a file first"));
    }
    Ok(bytes)
}

/// UTF-8, or UTF-16 with a byte order mark.
fn decode_text(bytes: Vec<u8>) -> Result<String, String> {
    let wide = |to_word: fn([u8; 2]) -> u16, bytes: &[u8]| {
        let (words, rest) = bytes.as_chunks::<2>();
        let words: Vec<u16> = words.iter().map(|&pair| to_word(pair)).collect();
        String::from_utf16(&words)
            .ok()
            .filter(|_| rest.is_empty())
            .ok_or_else(|| "begins like UTF-16 but is damaged; save it as UTF-8".to_string())
    };
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => return wide(u16::from_le_bytes, rest),
        [0xfe, 0xff, rest @ ..] => return wide(u16::from_be_bytes, rest),
        [first, 0, third, 0, ..] | [0, first, 0, third, ..] if *first != 0 && *third != 0 => {
            return Err("is UTF-16; save it as UTF-8".into());
        }
        _ => {}
    }
    let mut text = String::from_utf8(bytes).map_err(|fault| {
        let (at, bytes) = (fault.utf8_error().valid_up_to(), fault.as_bytes());
        let line = bytes[..at].iter().filter(|&&byte| byte == b'\n').count() + 1;
        format!("line {line} holds byte 0x{:02x}, which is not UTF-8; save it as UTF-8", bytes[at])
    })?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
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
        return Err(Error::content(path, NOT_REGULAR));
    }
    Ok((File::open(path).map_err(failed)?, found.len()))
}

/// Says which two inputs would be written to one place, where one of them would overwrite the other.
pub fn refuse_equal_outputs<'a>(outputs: impl IntoIterator<Item = (PathBuf, &'a Path)>) -> Result<()> {
    let mut seen: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    for (output, input) in outputs {
        if let Some(other) = seen.insert(output.clone(), input) {
            let output = output.display();
            let reason = format!("would both be written as {output}; write them to different folders, or rename one");
            return Err(Error::pair(other, input, reason));
        }
    }
    Ok(())
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
    fn text_may_be_utf_16_and_what_is_not_text_is_told_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.txt");
        let wide = |to_bytes: fn(u16) -> [u8; 2]| "\u{feff}é.png\r\n".encode_utf16().flat_map(to_bytes).collect();
        let texts: [Vec<u8>; 4] = [
            wide(u16::to_le_bytes),
            wide(u16::to_be_bytes),
            "\u{feff}é.png\r\n".as_bytes().to_vec(),
            "é.png\r\n".as_bytes().to_vec(),
        ];
        for bytes in texts {
            fs::write(&path, &bytes).unwrap();
            assert_eq!(read_text(&path).unwrap(), "é.png\r\n", "{bytes:?}");
        }
        for (bytes, reason) in [
            (&b"a\0.\0p\0"[..], "is UTF-16; save it as UTF-8"),
            (b"\0a\0.\0p", "is UTF-16; save it as UTF-8"),
            (b"\xff\xfea\0.", "begins like UTF-16 but is damaged; save it as UTF-8"),
            (b"a.png\nb.png\nf\xfcr.png\n", "line 3 holds byte 0xfc, which is not UTF-8; save it as UTF-8"),
        ] {
            fs::write(&path, bytes).unwrap();
            assert!(read_text(&path).unwrap_err().to_string().ends_with(reason), "{bytes:?}");
        }
    }

    #[cfg(unix)]
    mod unix {
        use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
        use std::thread;

        use super::*;

        fn fifo(folder: &Path) -> PathBuf {
            let path = folder.join("pipe");
            assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
            path
        }

        #[test]
        fn a_pipe_is_written_to_and_stays_a_pipe() {
            let folder = tempfile::tempdir().unwrap();
            let path = fifo(folder.path());
            check_writable(&path).unwrap();
            thread::scope(|scope| {
                let reader = scope.spawn(|| fs::read(&path).unwrap());
                write_bytes(&path, b"counts").unwrap();
                assert_eq!(reader.join().unwrap(), b"counts");
            });
            assert!(fs::symlink_metadata(&path).unwrap().file_type().is_fifo());
        }

        #[test]
        fn text_comes_from_pipes_and_other_content_does_not() {
            let folder = tempfile::tempdir().unwrap();
            let path = fifo(folder.path());
            thread::scope(|scope| {
                scope.spawn(|| fs::write(&path, "a.png\n").unwrap());
                assert_eq!(read_text(&path).unwrap(), "a.png\n");
            });
            assert!(read_bytes(&path).unwrap_err().to_string().contains("is a pipe, socket or device"));
        }

        #[test]
        fn links_are_followed_and_those_that_dangle_get_their_target() {
            let folder = tempfile::tempdir().unwrap();
            let (disk, link) = (folder.path().join("disk"), folder.path().join("link.json"));
            create_folder(&disk).unwrap();
            symlink("disk/second.json", &link).unwrap();
            symlink("real.json", disk.join("second.json")).unwrap();
            for content in ["new", "newer"] {
                check_writable(&link).unwrap();
                write_bytes(&link, content.as_bytes()).unwrap();
                assert_eq!(read_text(&disk.join("real.json")).unwrap(), content);
                assert_eq!(fs::read_dir(&disk).unwrap().count(), 2);
                assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            }
            let turning = folder.path().join("turning");
            symlink(&turning, &turning).unwrap();
            assert!(write_bytes(&turning, b"x").unwrap_err().to_string().contains("too many symbolic links"));
        }

        #[test]
        fn a_file_that_is_replaced_keeps_its_mode() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("private.json");
            fs::write(&path, "old").unwrap();
            for mode in [0o600, 0o640, 0o444] {
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                write_bytes(&path, b"new").unwrap();
                assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode);
            }
            assert_eq!(read_text(&path).unwrap(), "new");
        }

        #[test]
        fn standard_output_is_not_replaced() {
            for name in ["/dev/stdout", "/dev/fd/2", "/proc/self/fd/1"] {
                assert!(matches!(destination(Path::new(name)).unwrap(), Destination::Open(_)), "{name}");
            }
        }
    }

    #[test]
    fn a_file_is_put_in_two_places_and_again_in_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        write_bytes(&to, b"old").unwrap();
        write_bytes(&from, b"new").unwrap();
        for put in [link_file, link_file, copy_file] {
            put(&from, &to).unwrap();
            assert_eq!(read_text(&to).unwrap() + &read_text(&from).unwrap(), "newnew");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        }
    }
}
